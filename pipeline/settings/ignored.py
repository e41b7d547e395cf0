"""Settings that a person states and that change nothing: said as a warning, or as an error where all would rest on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import RunSettings, TileSettings, resolve
from esad.pipeline.settings.presets import preset_layers
from esad.pipeline.stage.errors import UsageError

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store

DataRule = tuple[tuple[str, ...], Callable[[RunSettings, str], bool], str]
DATA_RULES: tuple[DataRule, ...] = (
    (("data.crop", "data.flip"), lambda _, kind: kind == "table", "rows of a table are neither cropped nor mirrored"),
    (
        ("data.gamma_l",),
        lambda settings, _: settings.data.labelled == "all",
        "data.labelled = all uses every labelled anomaly",
    ),
    (
        ("data.copies_together",),
        lambda settings, _: settings.data.split == "published",
        "data.split = published draws rows one by one",
    ),
)  # fmt: skip
"""(settings, where they have no effect, why), beside those of the model in `esad.models.ignored_settings`."""


def ignored_in_run(settings: RunSettings, kind: str) -> dict[str, str]:
    """Dotted name of each setting of a run on a store of `kind` that changes nothing -> why."""
    from esad.models.ignored_settings import ignored_settings

    found = ignored_settings(settings, kind != "table")
    for names, applies, why in DATA_RULES:
        if applies(settings, kind):
            found |= dict.fromkeys(names, why)
    return found


def warnings_of_run(
    settings: RunSettings, store: Store, preset: str | None, overrides: Sequence[Mapping[str, Any]]
) -> list[str]:
    """A line for each setting that `overrides` change from what the run would have without them, to no effect."""
    plain = resolve(RunSettings, *preset_layers(store, preset, [{"method": settings.method}]))
    before, after = (dict(_flat(each.model_dump())) for each in (plain, settings))
    return [
        f"warning: {name} = {after[name]} has no effect: {why}."
        for name, why in ignored_in_run(settings, store.kind).items()
        if before.get(name) != after.get(name)
    ]


def refuse_ignored(combinations: Sequence[RunSettings], kind: str, swept: Sequence[str]) -> None:
    """UsageError where a setting that is swept changes nothing in any combination: its cells would all be the same."""
    ignored = [ignored_in_run(settings, kind) for settings in combinations]
    for name in swept:
        if all(name in each for each in ignored):
            raise UsageError(f"--over {name}: it has no effect: {ignored[0][name]}.")


def warnings_of_tiles(settings: TileSettings, listed: bool, outlined: bool) -> list[str]:
    """A line for each setting of `esad tile` that differs from its default and changes nothing.

    `listed`: published tile lists say which tiles there are; `outlined`: there are outlines.
    """
    stated = settings.model_dump()
    default = TileSettings().model_dump()
    ruled = listed or settings.protocol is not None
    by_rule = "the published set says which tiles there are"
    rules: list[tuple[tuple[str, ...], bool, str]] = [
        (
            ("stain_target", "stain_scope"),
            settings.stain == "none",
            "stain = none leaves colours as they are",
        ),
        (("step", "min_tissue"), ruled, by_rule),
        (("min_sharpness",), ruled, by_rule),
        (("mpp", "magnification"), settings.protocol is not None, "the protocol says the scale"),
        (("protocol_seed",), settings.protocol is None or listed, "only a protocol's own rule draws tiles"),
        (
            ("labels",),
            not outlined and not ruled,
            "labels.min_fraction belongs to outlines, and there are none",
        ),
    ]
    return [
        f"warning: {name} = {stated[name]} has no effect: {why}."
        for names, applies, why in rules
        if applies
        for name in names
        if stated[name] != default[name]
    ]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict) and name != "where":
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
