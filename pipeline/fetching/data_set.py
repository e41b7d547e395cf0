"""A data set's files in a folder, with what must be known of them beside."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from esad.data_manifests.loader import DataManifest, load_manifest, manifest_names
from esad.pipeline.fetching.download import ENDING, download
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.lock import writing_to
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress, say, show_table
from esad.preprocessing.gate.limits import in_bytes
from esad.preprocessing.natural.sets import CLASS_FILE

ABOUT = "ABOUT.txt"
"""Beside the files: what they are, whose, under which licence, and whose checksums they were held against."""


def offered() -> dict[str, DataManifest]:
    """The data sets that can be fetched, by name."""
    found = {name: load_manifest(name) for name in manifest_names()}
    return {name: manifest for name, manifest in found.items() if manifest.downloads}


def list_sets() -> Outcome:
    """Say which data sets there are, how large they are and their licences."""
    sets = offered()
    rows = [(name, in_bytes(size_of(each)), each.title, each.licence) for name, each in sets.items()]
    show_table(("name", "size", "what it is", "licence"), rows)
    summary = {name: {"bytes": size_of(each), "licence": each.licence} for name, each in sets.items()}
    return Outcome(
        Path("."), f"{len(sets)} data sets can be fetched: esad fetch NAME --out FOLDER.", summary=summary
    )


def size_of(manifest: DataManifest) -> int:
    """Bytes of all its downloads."""
    return sum(file.size for file in manifest.downloads.values())


def fetch_set(name: str, out: Path, replace: bool = False) -> Outcome:
    """Bring all files of the data set `name` to the folder `out`; what is there already is checked and stays.

    UsageError for a name that is not offered, or where `out` is a file; EsadError where there is no room for it, and what
    `download` raises: files that were finished before stay.
    """
    sets = offered()
    if name not in sets:
        raise UsageError(f"{name!r}: no such data set can be fetched; there are {', '.join(sets)}.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder.")
    manifest, total = sets[name], size_of(sets[name])
    say(f"{manifest.title}, of {manifest.source}. Licence: {manifest.licence}")
    with writing_to(out):
        return _fetched(name, manifest, total, out, replace)


def _fetched(name: str, manifest: DataManifest, total: int, out: Path, replace: bool) -> Outcome:
    """The files, and what is beside them."""
    _check_room(manifest, out)
    fetched, done = 0, 0
    with progress(f"fetch {name}", len(manifest.downloads), total) as bar:
        for file_name, file in manifest.downloads.items():

            def advance(count: int, file_name: str = file_name) -> None:
                nonlocal done
                done += count
                bar.advance(0, f"{file_name}: {in_bytes(done)} of {in_bytes(total)}", weight=count)

            fetched += download(file, out / file_name, advance, replace)
            bar.advance(1, weight=0)
    _write_beside(manifest, out)
    verb = "Fetched" if fetched else "Left alone (fetched before)"
    count = len(manifest.downloads)
    message = (
        f"{verb} {name}: {count} {'file' if count == 1 else 'files'} of {in_bytes(total)} in {out}, checked against their published "
        f"checksums. Licence: {manifest.licence.rstrip('.')}. See {out / ABOUT}."
    )
    store = out.with_name(f"{out.name}-store")
    following = shlex.join(["esad", "images", str(out), "--out", str(store)])
    summary = {
        "name": name,
        "files": list(manifest.downloads),
        "bytes": total,
        "licence": manifest.licence,
        "fetched": fetched,
    }
    return Outcome(out, message, following if manifest.kind == "images" else "", summary=summary)


def _check_room(manifest: DataManifest, out: Path) -> None:
    there = sum(
        path.stat().st_size
        for name in manifest.downloads
        for path in (out / name, out / f"{name}{ENDING}")
        if path.is_file()
    )
    needed, free = size_of(manifest) - there, shutil.disk_usage(out).free
    if needed > free:
        raise EsadError(f"{out}: {in_bytes(needed)} are needed, and {in_bytes(free)} are free there.")


def _write_beside(manifest: DataManifest, out: Path) -> None:
    """What the files are, and the names of their classes where they have numbers alone."""
    from esad.preprocessing.store.writing import write_text

    if manifest.classes:
        write_text(out / CLASS_FILE, "\n".join(manifest.classes) + "\n")
    lines = [
        manifest.title,
        f"Source: {manifest.source}",
        f"Licence: {manifest.licence}",
        "",
        "To cite:",
        *manifest.citations,
    ]
    lines += ["", *(f"Caution: {caution}" for caution in manifest.cautions), "Files:"]
    for name, file in manifest.downloads.items():
        sums = [f"{kind} {value}" for kind, value in (("md5", file.md5), ("sha256", file.sha256)) if value]
        lines.append(
            f"{name}: {file.size} bytes, {', '.join(sums)}, stated by {file.stated_by}; {file.urls[0]}"
        )
    write_text(out / ABOUT, "\n".join(lines) + "\n")
