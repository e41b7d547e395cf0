"""The part of the data that a table is of, by the names of its folders and its file: `split=train/`, `train/`, `train.csv`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from esad.preprocessing.images import split_and_below
from esad.preprocessing.natural.idx import split_of_name
from esad.preprocessing.splits.labels import split_of_folder
from esad.preprocessing.splits.two_values import CLASS_WORDS, fold

NUMBERED = re.compile(r"(.*[^\s_\d-])[\s_-]*\d+(?:[\s_-]*of[\s_-]*\d+)?")
"""Behind a name, the number of one of several files: `train-00000-of-00001`, `test_2`."""
BETWEEN_WORDS = re.compile(r"[\s_+-]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""`KDDTrain+` and `kdd_train` are of the same two words."""
CONTRADICTS = "contradicts"
"""In place of a part, where folder and file name two."""


def parts_by_name(sources: Sequence[str]) -> dict[str, str]:
    """Source -> train, validation, test or CONTRADICTS, of those whose folders or files are called after a part.

    A file is called so as folders are (`train`, `Training_Set`), or beside one of another part that is called alike: `a_train` and
    `a_test`, but not `stress_test` alone. Empty where all names say one part: a table that is called `train` may be all that there is.
    """
    paths = {source: PurePosixPath(source) for source in sources}
    alike: dict[tuple[PurePosixPath, str, bool], set[str]] = {}
    for path in paths.values():
        for rest, first, part in _around(path):
            alike.setdefault((path.parent, rest, first), set()).add(part)
    found, named = {}, set()
    for source, path in paths.items():
        of_file = split_of_folder(_bare(path)) or next(
            (part for rest, first, part in _around(path) if len(alike[path.parent, rest, first]) > 1), None
        )
        of_folder = split_and_below(source)[0]
        if of_folder or of_file:
            named |= {of_folder, of_file} - {None}
            both = of_folder and of_file and of_folder != of_file
            found[source] = CONTRADICTS if both else str(of_folder or of_file)
    return found if len(named) > 1 else {}


def told_of_names(sources: Sequence[str], parts: dict[str, str], named: bool) -> list[str]:
    """What to say of names that may be meant as a part or a class and are not read; which ones they are where `named`."""
    told = []
    unread = [source for source in sources if source not in parts and split_of_name(source)]
    if unread and len(sources) > 1:
        which = f" ({unread[0]})" if named else ""
        told.append(
            f"{len(unread)} tables have a part such as 'test' in their names{which} and are read as of none: call them 'train' and 'test', "
            "or say it in a column 'split'."
        )
    folders = {
        part for source in sources for part in PurePosixPath(source).parts[:-1] if fold(part) in CLASS_WORDS
    }
    if folders:
        told.append(f"folders such as {min(folders)!r} say nothing of tables: their labels are a column.")
    return told


def _bare(path: PurePosixPath) -> str:
    """The name of a file without its endings and without the number behind it."""
    name = path.name.partition(".")[0]
    numbered = NUMBERED.fullmatch(name)
    return numbered[1] if numbered else name


def _around(path: PurePosixPath) -> list[tuple[str, bool, str]]:
    """(the rest of a file's name, whether the part stands before it, the part), where a part stands before or behind other words."""
    words = [word.casefold() for word in BETWEEN_WORDS.split(_bare(path)) if word]
    ends = [
        *((words[count:], True, "_".join(words[:count])) for count in (1, 2)),
        *((words[:-count], False, "_".join(words[-count:])) for count in (1, 2)),
    ]
    named = [(" ".join(rest), first, split_of_folder(name)) for rest, first, name in ends if rest]
    return [(rest, first, part) for rest, first, part in named if part]
