"""What the four ingest stages share: find the inputs, work through them unit by unit, end in a store.

A stage says what its sources are, how many make a unit, and which function turns a unit into a shard; this
module keeps the promises of every stage: it continues where it was, refuses other settings, isolates bad
inputs, applies labels and filters, shows progress, and never rewrites a finished shard.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from esad.pipeline.ingest.anonymous import anonymous_job, anonymous_labels, anonymous_site, names_withheld
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.workers import process_here
from esad.pipeline.settings.config import OF_LABELS, first_difference
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.lock import writing_to
from esad.pipeline.stage.outcome import Outcome, items_of
from esad.pipeline.stage.progress import progress, say
from esad.preprocessing.gate.refusals import NOWHERE, leads_nowhere
from esad.preprocessing.splits.labels import (
    apply_labels,
    classes_alone,
    normal_class_words,
    read_labels,
    with_site,
)
from esad.preprocessing.splits.where import no_match
from esad.preprocessing.store.contents import check_same_items
from esad.preprocessing.store.durable import empty_folder, is_barely_begun
from esad.preprocessing.store.integrity import inputs_digest
from esad.preprocessing.store.opening import REMEDY
from esad.preprocessing.store.reading import read_array, read_list, read_object
from esad.preprocessing.store.store import (
    Parts,
    Unit,
    finalise,
    fingerprint,
    finished_units,
    remove_temporaries,
    shard_path,
    write_failures,
    write_json,
    write_unit,
)

if TYPE_CHECKING:
    import numpy as np

    from esad.pipeline.stage.cluster import Cluster

APPLIED_LAST = ("where", *OF_LABELS)
SITES_NAMED = 10


def _plan(root: Path, job: Job, sources: pd.DataFrame) -> list[Unit]:
    """All units of the store, old ones first: a source keeps its unit; new, changed and once-refused ones get new units."""
    path = root / "parts" / "units.json"
    stated = read_list(path, REMEDY) if path.exists() else []
    known = [Unit(number, tuple(names)) for number, names in enumerate(stated)]
    finished = set(finished_units(root))
    again = _to_do_again(job, sources)
    waiting = {name for unit in known if unit.number not in finished for name in unit.sources}
    done = {name for unit in known if unit.number in finished for name in unit.sources} - again
    fresh = [name for name in job.sources if name not in done and name not in waiting]
    for start in range(0, len(fresh), job.unit_size):
        known.append(Unit(len(known), tuple(fresh[start : start + job.unit_size])))
    write_json(path, [list(unit.sources) for unit in known])
    return known


def _to_do_again(job: Job, table: pd.DataFrame) -> set[str]:
    """Sources that were refused, or whose file is another one than when it was read; the latter are said."""
    refused = set(table.loc[table["state"] == "refused", "source"])
    done = table[(table["state"] == "done") & table["source"].isin(set(job.sources))]
    changed = {
        name
        for name, before in done[["source", "fingerprint"]].itertuples(index=False)
        if not job.is_as_before(name, before)
    }
    if changed:
        say(
            f"{len(changed)} inputs have changed since they were read and are read again (first: {min(changed)})."
        )
    return refused | changed


def _process_all(
    root: Path, units: Sequence[Unit], job: Job, workers: int, cluster: Cluster | None
) -> Iterator[Unit]:
    """Process the units, on a cluster or on this machine; yields each as it is finished, or refused as a whole."""
    if cluster is not None:
        from esad.pipeline.ingest.cluster import process_on

        ending = process_on(cluster, root, units, job.process, job.archive, job.packages)
    else:
        ending = process_here(root, units, job.process, workers)
    for unit, given_up in ending:
        if given_up:
            rows = [refused_row(job.archive, name, given_up) for name in unit.sources]
            write_unit(root, unit, None, pd.DataFrame({"source": [], "place": []}), pd.DataFrame(rows))
        yield unit


def _check_settings(root: Path, job: Job, force: bool) -> None:
    """Refuse to mix settings in one store; with `force` what is there is removed.

    Labels and `--where` change no pixel: they may change until the store is finished, and after it `force` applies
    new ones to the items that are there.
    """
    path = root / "parts" / "settings.json"
    occupied = root.exists() and not is_barely_begun(root)
    if occupied and not path.exists():
        if not force:
            raise EsadError(
                f"{root}: exists and is not a store of this stage; choose another --out, or --force to replace it."
            )
        if not (root / "store.json").exists():
            raise EsadError(
                f"{root}: --force replaces stores only, and this folder is none; remove it yourself or choose another --out."
            )
    wanted = json.loads(json.dumps({"stage": job.stage, "settings": job.settings}))
    finished = (root / "store.json").exists()
    gave_items = any(shard_path(root, number).exists() for number in finished_units(root))
    if path.exists() and not finished and not gave_items:
        force = True  # an earlier call gave no item: nothing is lost by starting anew with better settings
    if path.exists():
        before = _stated(path, force)
        difference = first_difference(_of_pixels(before), _of_pixels(wanted))
        if difference and not force:
            raise EsadError(
                f"{root}: made with other settings ({difference}). Choose another --out, or --force to replace it."
            )
        relabelled = None if difference else first_difference(before, wanted)
        if relabelled and finished and not force:
            raise EsadError(
                f"{root}: made with other labels or another --where ({relabelled}). Choose another --out, or --force to "
                "apply these: no input is read again."
            )
        occupied = occupied and not relabelled
    if occupied and force:
        empty_folder(root, "parts/settings.json", ["store.json", "parts/sources-*.parquet"])
    remove_temporaries(root)
    write_json(path, wanted)


def _stated(path: Path, force: bool) -> dict[str, Any]:
    """Stage and settings of a store as it was begun; with `force` a damaged file says nothing, so that all is replaced."""
    try:
        return read_object(path, REMEDY, {"stage": str, "settings": dict})
    except EsadError:
        if not force:
            raise
        return {"stage": None, "settings": {}}


def _of_pixels(stated: dict[str, Any]) -> dict[str, Any]:
    """Stage and settings without those that are applied to finished items."""
    settings = {name: value for name, value in stated["settings"].items() if name not in APPLIED_LAST}
    return {**stated, "settings": settings}


def _refused_row(source: str, path: Path, reason: str) -> dict[str, Any]:
    size = path.stat().st_size if path.is_file() else 0
    if leads_nowhere(path):
        reason = f"{path.name}: {NOWHERE}"
    return {
        "source": source,
        "state": "refused",
        "reason": reason,
        "attempts": 1,
        "items": 0,
        "bytes": size,
        "fingerprint": "",
    }


def source_row(archive: Path, source: str, items: int, **more: Any) -> dict[str, Any]:
    """The row of a source that was done, for `write_unit`; `more` are the kind's own columns."""
    path = archive / source
    return {
        "source": source, "state": "done", "reason": None, "attempts": 1, "items": items,
        "bytes": path.stat().st_size, "fingerprint": fingerprint(path), **more,
    }  # fmt: skip


def refused_row(archive: Path, source: str, reason: object) -> dict[str, Any]:
    """The row of a source that was refused, for `write_unit`; the reason is what the person will read."""
    return _refused_row(source, archive / source, str(reason))


def _filtered(items: pd.DataFrame, where: dict[str, str]) -> pd.DataFrame:
    for name, value in where.items():
        if name not in items:
            known = ", ".join(items.columns)
            raise UsageError(f"--where {name}={value}: there is no column {name!r}; the columns are {known}.")
        items = items[items[name].astype("string") == value]
    return items.reset_index(drop=True)


def run_job(job: Job, options: IngestOptions) -> Outcome:
    """Bring the store at `options.out` to what `job` asks for; returns what the command line reports.

    Raises EsadError where all inputs were refused (after writing `failures.csv`), or the settings differ; UsageError
    where there is no cluster at `options.scheduler`, or its workers do not see the same folders.
    """
    from esad.pipeline.stage.cluster import perhaps_connected

    _check_apart(job, options.out)
    with writing_to(options.out), perhaps_connected(options.scheduler, options.out) as cluster:
        return _run_job(job, options, cluster)


def _check_apart(job: Job, root: Path) -> None:
    """UsageError for an output that is a file, or holds the inputs."""
    if job.archive.is_relative_to(root.resolve()) or root.is_file():
        raise UsageError(f"--out {root}: must be a new folder that holds none of the inputs.")


def _bytes(job: Job, unit: Unit) -> int:
    """Size of a unit's files, for the ETA; at least 1, which members of a zip count."""
    paths = [job.archive / name for name in unit.sources]
    return sum(path.stat().st_size if path.is_file() else 0 for path in paths) or 1


def _run_job(job: Job, options: IngestOptions, cluster: Cluster | None) -> Outcome:
    root = options.out
    labels = read_labels(options.labels) if options.labels else None
    if options.anonymous:
        job = anonymous_job(job, options.group_key)
        labels = anonymous_labels(labels, job, options.group_key) if labels is not None else None
    site = (
        anonymous_site(options.site, options.group_key)
        if options.site and options.anonymous
        else options.site
    )
    stated = labels.to_csv(index=False) if labels is not None else None
    wanted = {**job.settings, "where": options.where, "labels_file": _digest(stated), "site": site}
    job = Job(**{**job.__dict__, "settings": wanted})
    _check_settings(root, job, options.force)
    finished_before = (root / "store.json").exists()
    for warning in job.warnings:
        say(warning)
    parts = Parts(root)
    units = _plan(root, job, parts.sources())
    finished = set(finished_units(root))
    pending = [job.to_read(unit) for unit in units if unit.number not in finished]
    sizes = {unit.number: _bytes(job, unit) for unit in pending}
    count = sum(len(unit.sources) for unit in pending)
    with progress(f"{job.stage} {root.name}", count, sum(sizes.values())) as bar, names_withheld(job):
        for unit in _process_all(root, pending, job, options.workers, cluster):
            bar.advance(len(unit.sources), weight=sizes[unit.number])
    return _finish(parts, job, options, labels, bool(pending) or not finished_before)


def _digest(text: str | None) -> str | None:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16] if text is not None else None


def _labelled(items: pd.DataFrame, labels: pd.DataFrame, name: str) -> pd.DataFrame:
    """`items` with the `labels` of the file `name`; those that match no item are said. UsageError where none does."""
    found, unmatched = apply_labels(items, labels)
    told = (
        f"{name}: {len(unmatched)} of {len(labels)} labels match no item (first: {unmatched[0]}"
        if unmatched
        else ""
    )
    if len(unmatched) == len(labels):
        raise UsageError(f"{told}; a source here is called {items['source'].iloc[0]}).")
    if unmatched:
        say(f"{told}).")
    return found


def _shard(root: Path, number: int) -> np.ndarray:
    """The items of a shard, mapped into memory; EsadError where it is damaged."""
    return read_array(shard_path(root, number), REMEDY, mapped=True)


def _one_shape(root: Path, items: pd.DataFrame) -> tuple[int, ...]:
    """The shape of one item, which all shards share; EsadError naming two sources where they do not."""
    firsts = items.drop_duplicates("shard")
    shapes = [_shard(root, int(number)).shape[1:] for number in firsts["shard"]]
    for source, shape in zip(firsts["source"], shapes, strict=True):
        if shape != shapes[0]:
            one, other = (" x ".join(map(str, sizes)) for sizes in (shapes[0], shape))
            raise EsadError(
                f"{firsts['source'].iloc[0]} holds items of {one}, {source} of {other}: a store has one shape. "
                "Make separate stores, or bring pictures to one size with --size N."
            )
    return shapes[0]


def _say_lost(lost: pd.Series) -> None:
    """Say which inputs were read once and are refused now (source -> the items that it then gave)."""
    for name, count in lost.head(5).items():
        say(f"{name}: was read before and is refused now; its {count} items are left out.")
    if len(lost) > 5:
        say(
            f"{len(lost) - 5} more inputs were read before and are refused now; their {lost[5:].sum()} items are left out."
        )


def _finish(
    parts: Parts, job: Job, options: IngestOptions, labels: pd.DataFrame | None, worked: bool
) -> Outcome:
    """Join the parts, apply labels and filters, write the tables and `store.json`; `worked` if anything is new."""
    root = options.out
    remove_temporaries(root)  # of processes that died while others went on
    sources = parts.sources()
    sources = sources[sources["source"].isin(set(job.sources))]
    refused = sources[sources["state"] == "refused"]
    for name, reason in refused[["source", "reason"]].head(5).itertuples(index=False):
        say(f"refused {name}: {reason}")
    lost = parts.lost()
    _say_lost(lost[lost.index.isin(set(refused["source"]))])
    items = parts.items()
    gone = sorted(set(items["source"].unique()) - set(job.sources))
    if gone:
        say(f"{len(gone)} inputs of an earlier call are no longer there and are left out (first: {gone[0]}).")
        items = items[~items["source"].isin(set(gone))].reset_index(drop=True)
    if items.empty:
        write_failures(root, sources)
        told = refused["reason"] if len(refused) else sources["reason"].dropna()
        reasons = told.iloc[0] if len(told) else "the inputs hold no items."
        table = " See failures.csv." if len(refused) else ""
        raise EsadError(f"{root}: none of {len(sources)} inputs gave an item; first reason: {reasons}{table}")
    if job.finish is not None:
        items = job.finish(items, sources)
    if labels is not None:
        check_same_items(labels, items, sources, partial(_shard, root), f"{options.labels}")
        items = _labelled(items, labels, f"{options.labels}")
    items = with_site(items, job.settings["site"])
    before, items = items, _filtered(items, options.where)
    if items.empty:
        raise EsadError(f"{root}: --where {options.where} leaves no item.{no_match(before, options.where)}")
    shape = _one_shape(root, items)
    description = {
        "kind": job.kind,
        "stage": job.stage,
        "shape": list(shape),
        "dtype": job.dtype,
        "settings": job.settings,
        "items": len(items),
        "inputs": inputs_digest(sources),
        "versions": {name: version(name) for name in job.packages},
    }
    finalise(root, items, description, sources)
    counts = {
        "items": len(items),
        "sources": len(sources),
        "normal": int((items["label"] == 0).sum()),
        "anomaly": int((items["label"] == 1).sum()),
        "unknown": int(items["label"].isna().sum()),
    }
    verb = "Wrote" if worked else "Left alone (finished before)"
    gave = int((sources["items"] > 0).sum())
    message = (
        f"{verb} {root}: {counts['items']} {items_of(job.kind)} from {gave} of {len(sources)} inputs "
        f"({_labels_told(items, counts)})."
    )
    if len(refused):
        message += f" {len(refused)} refused, see {root / 'failures.csv'}."
    command = _next_command(root, items, options.like)
    return Outcome(root, message + sites_told(items), shlex.join(command), len(refused), counts)


def _next_command(root: Path, items: pd.DataFrame, like: Path | None) -> list[str]:
    """What to do with the store: score it by the run that it is made like, or train on it."""
    if like is not None:
        return ["esad", "score", str(like), str(root)]
    classes = classes_alone(items)
    command = ["esad", "train", str(root), "--out", str(root.with_name(f"{root.name}-run"))]
    return command + (normal_class_words(classes) if classes else [])


def sites_told(items: pd.DataFrame) -> str:
    """How many items are of each site, and how many do not say theirs, for the stage's last line; empty where no item does."""
    if "site" not in items:
        return ""
    counts = items["site"].value_counts(dropna=False).sort_index(na_position="last")
    named = [f"{name} {count}" for name, count in counts.items() if not pd.isna(name)]
    more = f" and {len(named) - SITES_NAMED} more" if len(named) > SITES_NAMED else ""
    unsaid = int(items["site"].isna().sum())
    missing = f"; not said: {unsaid}" if unsaid else ""
    return f" Sites: {', '.join(named[:SITES_NAMED])}{more}{missing}."


def _labels_told(items: pd.DataFrame, counts: dict[str, int]) -> str:
    """What is known of the items, for the stage's last line."""
    classes = classes_alone(items)
    if not classes:
        known = f"{counts['normal']} normal, {counts['anomaly']} anomaly"
        unknown = items[items["label"].isna()]
        of_class = int(unknown["class_name"].notna().sum()) if "class_name" in unknown else 0
        if of_class:
            known += f", {of_class} known by their class alone"
        rest = len(unknown) - of_class
        return known if of_class and not rest else f"{known}, {rest} without label"
    unnamed = int(items["class_name"].isna().sum())
    without = f", {unnamed} without a class" if unnamed else ""
    return f"{len(classes)} classes{without}; training is told which are normal"
