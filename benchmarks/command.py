"""What the scripts of this folder share: their options, three sizes of work, a table beside targets, JSON."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

from threadpoolctl import threadpool_limits

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NO_DATA = Path(os.devnull)
"""A path below which there is never a file."""
Size = TypeVar("Size")
Repeats = Mapping[str, Sequence[float]]
"""Name of a figure -> its values, one for each repeat."""


def parser(description: str, quick: str | None = None, data: bool = False) -> argparse.ArgumentParser:
    """Options of a script: --smoke and --json; `quick` says what --quick leaves out; `data` adds --data."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if quick:
        options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument(
        "--smoke", action="store_true",
        help="everything once, at the smallest size and on made-up data: seconds; shows that it runs, measures nothing",
    )  # fmt: skip
    if data:
        options.add_argument("--data", type=Path, default=DATA, help=f"folder of real data [{DATA}]")
    options.add_argument("--json", type=Path, help="write the figures to this file, too")
    return options


def parsed(options: argparse.ArgumentParser) -> argparse.Namespace:
    """What was given; with --smoke real data is out of reach, and work has one thread: several fight on a busy machine."""
    given = options.parse_args()
    if given.smoke:
        options.format_help()  # raises where a help text is wrong
        print("smoke: the smallest size, on made-up data; the figures measure nothing")
        given.data = NO_DATA
        threadpool_limits(1)
    return given


def of_size(given: argparse.Namespace, full: Size, quick: Size, smoke: Size) -> Size:
    """The one of three sizes of work that was asked for."""
    if given.smoke:
        return smoke
    return quick if given.quick else full


def print_beside_targets(found: Mapping[str, float], targets: Mapping[str, str]) -> None:
    """A line for each figure that has a target."""
    print()
    for name, target in targets.items():
        print(f"{name:<32}{found[name]:>12.6g}   target {target}")


def print_repeats(found: Repeats, targets: Mapping[str, str]) -> None:
    """A line for each figure that has a target: lowest, median and highest of its repeats."""
    print(f"\n{'':<32}{'lowest':>10}{'median':>10}{'highest':>10}")
    for name, target in targets.items():
        values = found[name]
        three = "".join(f"{value:>10.4g}" for value in (min(values), median(values), max(values)))
        print(f"{name:<32}{three}   target {target}")


def of_repeats(found: Repeats) -> dict[str, object]:
    """The medians by name, and under `lowest` and `highest` the others, for `write_json`."""
    medians: dict[str, object] = {name: median(values) for name, values in found.items()}
    lowest = {name: min(values) for name, values in found.items()}
    return medians | {"lowest": lowest, "highest": {name: max(values) for name, values in found.items()}}


def write_json(path: Path | None, found: object) -> None:
    """The figures as JSON, where a file was named."""
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
