"""Options that several stages have, as types for their commands; and options made of the settings themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Inputs = Annotated[list[Path], typer.Argument(help="Files or folders.", show_default=False)]
Out = Annotated[
    Path,
    typer.Option("--out", help="Folder to write. If it exists and its settings agree, the work continues."),
]
COMMON = "Options of several stages"
"""The head that these options stand under in a command's help, below its own."""


def _common(name: str, text: str, **limits: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel=COMMON, **limits)


Labels = Annotated[
    Path | None,
    _common("--labels", "CSV: source or item_id, label (0/1), optional split, group, site, semi_label."),
]
Site = Annotated[
    str | None,
    _common(
        "--site",
        "Scanner, hospital or centre of all items of which neither --labels nor a column says another.",
    ),
]
Like = Annotated[Path | None, _common("--like", "Take the settings that shape the items from this RUN.")]
FalseAlarms = Annotated[
    float | None,
    typer.Option(
        "--false-alarms", min=1e-6, max=0.5, help="Share of normal items above the threshold (default 0.01)."
    ),
]
By = Annotated[
    str | None,
    typer.Option("--by", help="Thresholds by view, site or source: each has its own normals."),
]
PerGroup = Annotated[
    bool | None,
    typer.Option(
        "--per-group/--per-item", help="One reference score per group (patient, slide): its highest."
    ),
]
Force = Annotated[bool, _common("--force", "Replace what is there.")]
Resume = Annotated[
    bool, _common("--resume", "Continue where it was left. This is the default; the option only says so.")
]
Anonymous = Annotated[
    bool, _common("--anonymous", "Hash file names, too; the list of names is kept beside the group key.")
]
GroupKey = Annotated[
    Path | None, _common("--group-key", "Key of the hashes of patients and names; made if absent.")
]
Where = Annotated[list[str] | None, _common("--where", "Keep rows with column=value, for example view=AP.")]
Set = Annotated[
    list[str] | None, _common("--set", "Any setting, as NAME=VALUE (docs: reference, settings); repeatable.")
]
Workers = Annotated[int | None, _common("--workers", "Processes that work side by side.", min=1)]
Scheduler = Annotated[
    str | None,
    _common(
        "--scheduler",
        "Address of a Dask scheduler, for example tcp://127.0.0.1:8786: its workers do the work.",
    ),
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        "--mlflow", help="Follow the training in MLflow: http://HOST:PORT, file:FOLDER or sqlite:///FILE."
    ),
]
Json = Annotated[bool, _common("--json", "Print one JSON object on stdout.")]
Device = Annotated[str | None, _common("--device", "Where to compute: auto, cpu, cuda or cuda:N.")]

CITATION = re.compile(r" ?\([^()]*\.md#[^()]*\)")
"""A page that a setting's text cites: of no use in a command's help."""

Stage = TypeVar("Stage", bound=Callable[..., Any])


def settings_as_options(model: type[BaseModel], *names: str) -> Callable[[Stage], Stage]:
    """Give a command an option for each of the settings `names` of `model`; it gets the stated ones as the dict `given`.

    Name, kind, choices, default and help of an option are those of the setting, so that they are written once. An option
    that is not given is not in `given`. Values are checked where settings are: in the model.
    """
    made = {name: (_option(name, model.model_fields[name]), None) for name in names}

    def stated(**values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value not in (None, [])}

    return lambda command: _expanded(command, "given", made, stated)


def fields_as_options(group: type, place: str) -> Callable[[Stage], Stage]:
    """Give a command an option for each field of the dataclass `group`; it gets them as one object, its argument `place`."""
    hints = get_type_hints(group, include_extras=True)
    made = {
        field.name: (
            hints[field.name],
            inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(group)
    }
    return lambda command: _expanded(command, place, made, group)


def _expanded(
    command: Stage, place: str, made: dict[str, tuple[Any, Any]], build: Callable[..., Any]
) -> Stage:
    """`command` whose argument `place` is built of the options `made` (name -> annotation and default)."""
    hints = get_type_hints(command, include_extras=True)
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        wanted = made if name == place else {name: (hints[name], parameter.default)}
        for each, (annotation, default) in wanted.items():
            parameters[each] = inspect.Parameter(
                each, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )

    def expanded(**values: Any) -> Any:
        return command(**{place: build(**{name: values.pop(name) for name in made})}, **values)

    expanded.__name__, expanded.__doc__, expanded.__module__ = (
        command.__name__,
        command.__doc__,
        command.__module__,
    )
    expanded.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    expanded.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return cast(Stage, expanded)


def _option(name: str, field: FieldInfo) -> Any:
    """The type of a command's option for a setting: its first sentence as help, its choices and its default behind it."""
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not type(None)]
    choices = [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    kind = str if choices else kinds[0]
    told = CITATION.sub("", " ".join((field.description or "").split())).split(". ")[0].rstrip(".")
    told = told.replace("null = ", "without: ")
    default = field.default
    if default not in (None, PydanticUndefined):
        told += f" (default {default:g})" if isinstance(default, float) else f" (default {default})"
    least = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{told}.",
        metavar="|".join(choices) or None,
        min=least,  # type: ignore[arg-type]
    )
    return Annotated[kind | None, option]


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
