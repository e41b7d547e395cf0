"""Which files an ingest stage reads, and which of their items are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.progress import say
from esad.preprocessing.gate.refusals import leads_nowhere

MOST_ENDINGS = 6


def find_sources(
    inputs: Sequence[Path],
    accepts: Callable[[Path], bool],
    out: Path | None = None,
    one_source: Callable[[Path], bool] = lambda _: False,
    named: bool = True,
) -> tuple[Path, list[str]]:
    """The archive (one folder) and the inputs' paths relative to it, sorted.

    A folder is searched in depth for files that `accepts`; hidden ones and what lies in `out`, the store to be
    written, are left out. A file that was named is always taken, so that its fault is reported, and so is a link to
    nothing whose name is accepted: it is refused where it is read. A folder that is `one_source` is taken as a whole, and not
    searched. What is left out is said, by its path where `named`, else counted: it may hold a name. Paths are relative to the
    one folder given, else to
    the deepest folder that holds all inputs. Raises UsageError for a missing input, EsadError for folders without any
    input.
    """
    missing = [path for path in inputs if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]}: no such file or folder.")
    resolved = [path.resolve() for path in inputs]
    parents = [path if path.is_dir() and not one_source(path) else path.parent for path in resolved]
    archive = parents[0]
    while not all(parent.is_relative_to(archive) for parent in parents):
        archive = archive.parent
    found: set[str] = set()
    passed: Counter[str] = Counter()
    links: list[tuple[Path, str]] = []
    written = out.resolve() if out is not None else None
    for path in resolved:
        if path.is_file() or one_source(path):
            found.add(path.relative_to(archive).as_posix())
            continue
        for candidate, whole in _below(path, written, one_source, links):
            if not whole and not _accepted(candidate, accepts):
                passed[candidate.suffix.lower() or "without an ending"] += 1
            elif not leads_nowhere(candidate) and not candidate.resolve().is_relative_to(archive):
                links.append((candidate, f"it is a link to a place outside {archive}."))
            else:
                found.add(candidate.relative_to(archive).as_posix())
    for path, why in links if named else ():
        say(f"{path}: left out, {why}")
    if links and not named:
        say(f"{len(links)} links to folders or to places outside the archive are left out.")
    if passed:
        endings = ", ".join(f"{count} {ending}" for ending, count in passed.most_common(MOST_ENDINGS))
        more = ", ..." if len(passed) > MOST_ENDINGS else ""
        say(f"{passed.total()} other files are passed over by their endings: {endings}{more}.")
    if not found:
        names = ", ".join(str(path) for path in inputs)
        raise EsadError(f"{names}: nothing in it that this stage reads. Check the path and the file endings.")
    return archive, sorted(found)


def _below(
    folder: Path,
    written: Path | None,
    one_source: Callable[[Path], bool],
    links: list[tuple[Path, str]],
) -> Iterator[tuple[Path, bool]]:
    """Files and links to nothing below `folder`, False, and folders that are `one_source`, True; not hidden ones, nor what lies in
    `written`.

    Links to folders are not followed, and join `links`.
    """
    taken: Path | None = None
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        inside = (taken is not None and path.is_relative_to(taken)) or (
            written is not None and path.is_relative_to(written)
        )
        if hidden or inside:
            continue
        if path.is_symlink() and path.is_dir():
            links.append(
                (path, "it is a link to a folder, and those are not followed. Name the folder itself, too.")
            )
        elif one_source(path):
            taken = path
            yield path, True
        elif path.is_file() or leads_nowhere(path):
            yield path, False


def _accepted(path: Path, accepts: Callable[[Path], bool]) -> bool:
    try:
        return accepts(path)
    except FileNotFoundError:  # a link to nothing, whose name does not say what it is
        return False


def by_stem(sources: Iterable[str]) -> dict[str, list[str]]:
    """Lower-case stem -> the sources that have it, in their order."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(Path(source).stem.lower(), []).append(source)
    return found


def parse_kinds(option: str, pairs: Iterable[str], kinds: Collection[str], example: str) -> dict[str, str]:
    """`["good=normal"]` -> {"good": "normal"}; UsageError, naming the option, for another form, a kind that is none, or
    one name (in any case) of two kinds."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, kind = (part.strip() for part in pair.rpartition("="))
        if not equals or not name or kind not in kinds:
            raise UsageError(
                f"{option} {pair!r}: expected NAME=KIND with KIND one of {', '.join(kinds)}, for example {example}."
            )
        before = next((one for one in found if one.lower() == name.lower()), name)
        if found.setdefault(before, kind) != kind:
            raise UsageError(
                f"{option}: {name!r} stands twice, as {found[before]} and as {kind}; give one of them."
            )
    return found


def parse_where(pairs: Iterable[str]) -> dict[str, str]:
    """`["view=AP"]` -> {"view": "AP"}; UsageError where there is no `=`."""
    where = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--where {pair!r}: expected column=value, for example view=AP.")
        where[name.strip()] = value.strip()
    return where
