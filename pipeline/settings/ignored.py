"""Settings that a person states and that change nothing: said as a warning, or as an error where all would rest on them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esad.models.settings import ShallowSettings
from esad.pipeline.settings.config import (
    ImageSettings,
    RadiographSettings,
    RunSettings,
    TileSettings,
    resolve,
)
from esad.pipeline.settings.presets import preset_layers
from esad.pipeline.stage.errors import UsageError
from esad.preprocessing.splits.labels import classes_alone, normal_class_words
from esad.preprocessing.store.kinds import ROWS

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store


def _fits_at_once(settings: RunSettings) -> bool:
    """Whether the method is solved in closed form on items as they are, without an autoencoder trained before."""
    own = getattr(settings, settings.method, None)
    return isinstance(own, ShallowSettings) and own.input == "raw"


DataRule = tuple[tuple[str, ...], Callable[[RunSettings, str], bool], str]
DATA_RULES: tuple[DataRule, ...] = (
    (("data.crop", "data.flip"), lambda _, kind: kind in ROWS, "rows of a table are neither cropped nor mirrored, nor are vectors"),
    (
        ("data.gamma_l",),
        lambda settings, _: settings.data.labelled != "ratio",
        "data.labelled says which anomalies are labelled",
    ),
    (
        ("checkpoint_seconds",),
        lambda settings, _: _fits_at_once(settings),
        "a fit in one step has no checkpoints",
    ),
    (
        ("selection.min_gain",),
        lambda settings, _: settings.selection.early_stop is None,
        "selection.early_stop = null: training ends with its last step",
    ),
    (
        ("selection.by",),
        lambda settings, _: settings.selection.early_stop is None and settings.selection.weights == "last",
        "neither selection.weights nor selection.early_stop asks for a figure",
    ),
    (
        ("data.copies_together",),
        lambda settings, _: settings.data.split == "published",
        "data.split = published draws rows one by one",
    ),
    (
        ("data.site", "data.validation_site"),
        lambda settings, _: settings.data.split != "leave-site-out",
        "data.split is not leave-site-out",
    ),
    (
        ("data.validation_share",),
        lambda settings, _: settings.data.split == "leave-site-out" and bool(settings.data.validation_site),
        "data.validation_site validates",
    ),
    (
        ("data.test_share",),
        lambda settings, _: settings.data.split == "leave-site-out",
        "data.split = leave-site-out: all labelled items of data.site test",
    ),
)  # fmt: skip
"""(settings, where they have no effect, why), beside those of the model in `esad.models.ignored_settings`."""


def ignored_in_run(settings: RunSettings, kind: str) -> dict[str, str]:
    """Dotted name of each setting of a run on a store of `kind` that changes nothing -> why."""
    from esad.models.ignored_settings import ignored_settings

    found = ignored_settings(settings, kind not in ROWS)
    for names, applies, why in DATA_RULES:
        if applies(settings, kind):
            found |= dict.fromkeys(names, why)
    return found


def warnings_of_run(
    settings: RunSettings, store: Store, preset: str | None, overrides: Sequence[Mapping[str, Any]]
) -> list[str]:
    """A line for each setting that `overrides` change from what the run would have without them, to no effect, and one where
    no setting says which of the store's classes are normal."""
    ignored = {**ignored_in_run(settings, store.kind), **_stated_by_store(store)}
    form: dict[str, str] = {} if "network.form" in ignored else {"network.form": settings.network.form}
    if settings.method == "anogan":  # its two games have budgets of their own
        form["anogan.search"] = settings.anogan.search
    plain = resolve(RunSettings, *preset_layers(store, preset, [{"method": settings.method, **form}]))
    before, after = (dict(_flat(each.model_dump())) for each in (plain, settings))
    return [
        f"warning: {name} = {after[name]} has no effect: {why}."
        for name, why in ignored.items()
        if after.get(name) is not None and before.get(name) != after[name]
    ] + _classes_without_meaning(settings, store)


def _classes_without_meaning(settings: RunSettings, store: Store) -> list[str]:
    """What to say where the items have classes and no labels, and nothing tells which classes are normal."""
    names = classes_alone(store.manifest)
    if settings.data.normal_classes is not None or len(names) < 2:
        return []
    return [
        f"warning: the store has {len(names)} classes and no labels, and data.normal_classes does not say which are normal: all "
        f"items count as unlabelled, as mostly normal ones, and there will be no AUC. For example: {shlex.join(normal_class_words(names))}"
    ]


def _stated_by_store(store: Store) -> dict[str, str]:
    """Settings of the split that a store's own parts leave nothing to."""
    stated = store.manifest["split"]
    found = {}
    if stated.notna().all():
        found["data.test_share"] = "the store states the part of every item"
    if (stated == "validation").any():
        found["data.validation_share"] = "the store states which items validate"
    return found


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
    stated, default = settings.model_dump(exclude_defaults=True), TileSettings().model_dump()
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
        (("labels",), listed, "the published lists say the labels"),
        (
            ("labels",),
            not outlined and not ruled,
            "labels belong to outlines, and there are none",
        ),
    ]
    return _lines(rules, stated, default)


def warnings_of_radiographs(settings: RadiographSettings) -> list[str]:
    """The same of `esad radiographs`."""
    drawn = settings.protocol in {"nih-ap", "nih-pa"}
    rules = [(("protocol_seed",), not drawn, "only nih-ap and nih-pa draw labelled anomalies")]
    return _lines(rules, settings.model_dump(), RadiographSettings().model_dump())


def warnings_of_images(settings: ImageSettings, in_folders: bool) -> list[str]:
    """The same of `esad images`; `in_folders`: pictures whose labels and parts are the names of their folders."""
    rules = [(("label", "group", "split", "site_column"), in_folders, "pictures in folders have no columns")]
    return _lines(rules, settings.model_dump(), ImageSettings().model_dump())


def _lines(
    rules: Sequence[tuple[tuple[str, ...], bool, str]], stated: Mapping[str, Any], default: Mapping[str, Any]
) -> list[str]:
    """A line for each name of an applying rule whose value is stated and not the default."""
    return [
        f"warning: {name} = {stated[name]} has no effect: {why}."
        for names, applies, why in rules
        if applies
        for name in names
        if stated.get(name) not in (default[name], None)
    ]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict) and name != "where":
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
