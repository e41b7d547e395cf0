"""The commands of `esad` as Markdown, made from the program itself."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

from setting_tables import row, words_of_type
from typer.main import get_command

from esad.pipeline.cli.app import app


def commands() -> str:
    """A section for each command, with its arguments and options."""
    listed: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    return "\n".join(_section(name, command) for name, command in listed.items())


def _section(name: str, command: Any) -> str:
    parameters = sorted(command.params, key=_is_option)  # arguments first
    usage = " ".join(["esad", name, *filter(None, map(_usage, parameters))])
    return "\n".join(
        [
            f"## esad {name}\n",
            " ".join((command.help or "").split()),
            f"\n```text\n{usage}\n```\n",
            row("argument or option", "value", "default", "meaning"),
            "|---|---|---|---|",
            *map(_parameter, parameters),
            "",
        ]
    )


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _usage(parameter: Any) -> str:
    """What of a parameter stands in the usage line: arguments and needed options."""
    if _is_option(parameter):
        return f"{parameter.opts[0]} {_value(parameter)}" if parameter.required else ""
    name = parameter.name.upper() + ("…" if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _value(parameter: Any) -> str:
    """What a parameter takes, in words; nothing for a flag."""
    if _is_option(parameter) and parameter.is_flag:
        return ""
    if parameter.metavar:
        return " or ".join(f"`{choice}`" for choice in parameter.metavar.split("|"))
    kind = parameter.type_descriptor.annotation
    return words_of_type(get_args(kind)[0] if get_origin(kind) is list else kind)


def _parameter(parameter: Any) -> str:
    names = (
        [*parameter.opts, *parameter.secondary_opts] if _is_option(parameter) else [parameter.name.upper()]
    )
    told, default = _apart(" ".join((parameter.help or "").split()))
    if parameter.required:
        default = "needed"
    elif parameter.default not in (None, False):
        default = f"`{parameter.default}`"
    several = (
        " (repeatable)" if _is_option(parameter) and parameter.multiple and "repeatable" not in told else ""
    )
    return row(", ".join(f"`{name}`" for name in names), _value(parameter) + several, default, told)


def _apart(told: str) -> tuple[str, str]:
    """`"Side in pixels (default 64)."` -> its text and the default; `[the run's own]` at the end is one, too."""
    found = re.search(r" (?:\(default (.+?)\)|\[([^\]]+)\])\.$", told)
    if not found:
        return told, ""
    return f"{told[: found.start()]}.", f"`{found[1]}`" if found[1] else found[2]
