"""Which figures are drawn of which runs, and why some are not."""

from __future__ import annotations

from collections.abc import Sequence

from esad.pipeline.drawing.code_figure import tsne_drawing
from esad.pipeline.drawing.codes import code_maps
from esad.pipeline.drawing.curve_figure import lambda_drawings
from esad.pipeline.drawing.curves import SETTINGS, check_across, run_rows, why_no_curve
from esad.pipeline.drawing.example_figure import example_drawing
from esad.pipeline.drawing.examples import all_examples
from esad.pipeline.drawing.style import Drawing
from esad.pipeline.drawing.subjects import Subject, not_scored
from esad.pipeline.settings.config import nearest
from esad.pipeline.stage.errors import EsadError, UsageError

KINDS = ("lambda", "tsne", "examples")
MOST_RUNS = 12
"""Runs with maps of codes and examples: a picture of more is no longer seen at once."""


def checked_kinds(only: Sequence[str], across: Sequence[str]) -> tuple[str, ...]:
    """The kinds that `only` names, in the order of KINDS; () for all that there is. UsageError for one that is unknown."""
    for name in only:
        if name not in KINDS:
            raise UsageError(
                f"--only {name}: expected {', '.join(KINDS)}; did you mean {nearest(name, KINDS)!r}?"
            )
    check_across(across)
    return tuple(kind for kind in KINDS if kind in only)


def all_drawings(
    subjects: Sequence[Subject],
    kinds: Sequence[str],
    across: Sequence[str],
    items: int,
    examples: int,
    seed: int,
    device: str | None,
) -> tuple[list[Drawing], list[str], int]:
    """(the drawings, what is left out and why, of how many of these lines scores are the cure); of the runs of a sweep curves
    alone, unless no run was named.

    EsadError where nothing can be drawn, or one of `kinds`; UsageError for more than MOST_RUNS named runs to draw codes or
    examples of.
    """
    named = [subject for subject in subjects if not subject.cell]
    wanted = kinds or (KINDS if named else KINDS[:1])
    of_runs = named or list(subjects)
    if set(wanted) - {"lambda"} and len(of_runs) > MOST_RUNS:
        raise UsageError(
            f"{len(of_runs)} runs: maps of codes and examples are drawn of at most {MOST_RUNS}. Name fewer, or take --only lambda."
        )
    drawings: list[Drawing] = []
    left_out: list[str] = []
    for kind in wanted:
        if kind == "lambda":
            found, missing = _curves(subjects, across, asked="lambda" in kinds or len(named) < len(subjects))
        elif kind == "tsne":
            maps, missing = code_maps(of_runs, items, seed, device)
            found = [tsne_drawing(maps, items, seed)] if maps else []
        else:
            shown, missing = all_examples(of_runs, examples, device)
            found = [example_drawing(each) for each in shown]
        if kind in kinds and not found:
            raise EsadError(f"--only {kind}: nothing to draw. {missing[0]}.")
        drawings += found
        left_out += [line for line in missing if line not in left_out]
    if not drawings:
        raise EsadError(f"Nothing to draw. {left_out[0]}.")
    unscored = not_scored(subjects)
    return drawings, left_out, sum(line in unscored for line in left_out)


def _curves(
    subjects: Sequence[Subject], across: Sequence[str], asked: bool
) -> tuple[list[Drawing], list[str]]:
    """The lambda curves; without them why, where they were `asked` for or the runs differ in one of SETTINGS."""
    rows = run_rows(subjects, across)
    found = lambda_drawings(rows)
    differ = any(len({row[name] for row in rows}) > 1 for name in SETTINGS)
    if found:
        return found, not_scored(subjects)
    if asked or differ:
        return [], [*not_scored(subjects), why_no_curve(rows)]
    return [], []
