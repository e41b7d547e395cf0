"""Every entry of our own JSON and YAML files taken away, and replaced by values of other kinds, one at a time.

    python -m tests.trust.entries [--only scores/metrics.json-slides …] [--part 0/1]

Where `tests.trust.fuzz` draws what to damage, this leaves nothing out: each mutant goes through every stage that reads
the file. Ends with status 1 where there was a fault.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.trust.own_folders import OF_RUNS, OF_SCORES, OF_SLIDES, SLIDES, prepare, run_drive, subjects
from tests.trust.trial import Subject, attempt

GONE = "(gone)"
VALUES = (GONE, None, "x", -1, 0.5, [], {})
FORMS = {
    ".json": (json.loads, lambda tree: json.dumps(tree).encode()),
    ".yaml": (yaml.safe_load, lambda tree: yaml.safe_dump(tree).encode()),
}


def entries(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry of a tree of mappings and lists; of lists the first entry alone."""
    keys = list(tree) if isinstance(tree, dict) else [0] if isinstance(tree, list) and tree else []
    for key in keys:
        yield (*above, key)
        yield from entries(tree[key], (*above, key))


def mutants(content: bytes, suffix: str) -> Iterator[tuple[str, bytes]]:
    """(what was done, the file then) of every entry and value that changes something."""
    read, written = FORMS[suffix]
    tree = read(content)
    for path in entries(tree):
        for value in VALUES:
            box = copy.deepcopy(tree)
            at = box
            for key in path[:-1]:
                at = at[key]
            if value == GONE:
                del at[path[-1]]
            else:
                at[path[-1]] = value
            if box != tree:
                yield f"{'.'.join(map(str, path))} = {value}", written(box)


def drives(subject: Subject) -> list[str]:
    """The stages that read the file of this subject."""
    if subject.name.startswith("scores/"):
        return list(OF_SLIDES if subject.name.endswith(SLIDES) else OF_SCORES)
    return (
        [stage for stage in OF_RUNS if stage != "like"]
        if subject.name.startswith("run/")
        else ["score", "audit"]
    )


def main() -> int:
    """Run, and print a line for each fault."""
    reading = argparse.ArgumentParser()
    reading.add_argument("--only", nargs="*", default=["*"])
    reading.add_argument("--stages", nargs="*", default=[])
    reading.add_argument("--part", default="0/1")
    given = reading.parse_args()
    part, parts = map(int, given.part.split("/"))
    faults = done = 0
    with tempfile.TemporaryDirectory(prefix="esad-entries-") as name:
        folder = Path(name)
        prepare(folder / "own")
        (folder / "work").mkdir()
        for subject in subjects(folder / "own"):
            suffix = Path(subject.file).suffix
            if suffix not in FORMS or not any(fnmatch(subject.name, word) for word in given.only):
                continue
            content = (subject.folder / subject.file).read_bytes()
            found = 0
            for number, (what, mutant) in enumerate(mutants(content, suffix)):
                if number % parts != part:
                    continue
                for stage in given.stages or drives(subject):
                    driven = replace(
                        subject, drive=partial(run_drive, stages=(stage,)), writes=("new", "run")
                    )
                    ending = attempt(driven, 0, folder / "work", mutant)
                    done += 1
                    if ending.kind == "fault":
                        found += 1
                        sys.stdout.write(f"FAULT {subject.name} {stage}: {what}: {ending.told[-700:]}\n")
            faults += found
            sys.stdout.write(f"{subject.name}: {found} faults, {done} inputs so far.\n")
            sys.stdout.flush()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
