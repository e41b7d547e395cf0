"""The table of epochs that grows on stderr while a model trains: rows in a terminal, now and then a line in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from models.esad import GROUPS
from pipeline.progress import LOG_EVERY_SECONDS, say


class EpochTable:
    """Means of the terms since the last row, those by group side by side, figures of the latent codes, and the time."""

    def __init__(self, title: str) -> None:
        self.title, self._header, self._spoken = title, list[str](), float("-inf")

    def add(
        self,
        phase: str,
        epoch: float,
        epochs: float,
        means: Mapping[str, float],
        figures: Mapping[str, float],
        seconds: float,
    ) -> None:
        """A row for `epoch` of `epochs` of `phase`; `seconds` since the row before.

        In a log at most a line every LOG_EVERY_SECONDS, and one for the end of a phase.
        """
        place = f"{epoch:.4g}/{epochs:.4g}"
        terms = {"loss": number(means["loss"]), **_by_group(means), **_latent(figures)}
        if sys.stderr.isatty():
            self._row({"phase": phase, "epoch": place, **terms, "s": f"{seconds:.0f}"})
        elif epoch == epochs or time.monotonic() - self._spoken >= LOG_EVERY_SECONDS:
            self._spoken = time.monotonic()
            told = "; ".join(f"{' '.join(name.split())} {value}" for name, value in terms.items())
            say(f"{self.title}: {phase} epoch {place}: {told}; {seconds:.0f} s")

    def _row(self, cells: dict[str, str]) -> None:
        """Print the row, below a header where the columns are new."""
        from rich.console import Console
        from rich.table import Table

        fresh = list(cells) != self._header
        self._header = list(cells)
        table = Table(box=None, show_header=fresh, padding=(0, 2, 0, 0))
        for name, value in cells.items():
            width = max(9, len(value), *(len(line) for line in name.split("\n")))
            table.add_column(name, width=width, no_wrap=True)
        table.add_row(*cells.values())
        Console(stderr=True).print(table)


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"


def _by_group(means: Mapping[str, float]) -> dict[str, str]:
    """`reconstruction\\nunlabelled / anomaly` -> `0.01 / 0.2`, for every term that has groups; then the others."""
    cells: dict[str, str] = {}
    bases = dict.fromkeys(
        name.removesuffix(f"_{group}") for name in means for group in GROUPS if name.endswith(f"_{group}")
    )
    for base in bases:
        groups = [group for group in GROUPS if f"{base}_{group}" in means]
        values = " / ".join(number(means[f"{base}_{group}"]) for group in groups)
        cells[f"{base.replace('_', ' ')}\n{' / '.join(groups)}"] = values
    named = {f"{base}_{group}" for base in bases for group in GROUPS}
    others = [name for name in means if name not in named and name != "loss" and name not in bases]
    if not bases:
        return {name.replace("_", " "): number(means[name]) for name in others}
    return {**cells, **{name.replace("_", " "): number(means[name]) for name in others if name != "norm"}}


def _latent(figures: Mapping[str, float]) -> dict[str, str]:
    """Mean squares and ranks of the codes, a column of each."""
    cells = {}
    for figure, title in (("mean_square", "mean square"), ("rank", "rank")):
        values = {
            name.removesuffix(f"_{figure}"): value for name, value in figures.items() if name.endswith(figure)
        }
        if values:
            cells[f"{title}\n{' / '.join(values)}"] = " / ".join(number(value) for value in values.values())
    return cells
