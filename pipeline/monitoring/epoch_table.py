"""The table of epochs that grows on stderr while a model trains: rows in a terminal, now and then a line in a log."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterable, Mapping

from esad.pipeline.stage.progress import LOG_EVERY_SECONDS, LOG_WIDTH, say

GROUPS = ("unlabelled", "normal", "anomaly")
"""The groups of `esad.models.methods.esad.GROUPS`: suffixes of the terms that are means over one of them."""


class EpochTable:
    """Means of the terms since the last row, those by group side by side, ranks of the latent codes, and the time."""

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
        ranks = {
            name.removesuffix("_rank"): value for name, value in figures.items() if name.endswith("_rank")
        }
        place = f"{epoch:.4g}/{epochs:.4g}"
        terms = {("loss", ""): _number(means["loss"]), **_by_group(means)}
        if ranks:
            terms["rank", " / ".join(ranks)] = _numbers(ranks.values())
        if "explained" in figures:
            terms["explained", "model / PCA"] = _numbers([figures["explained"], figures["explained_pca"]])
        if "validation_auc" in figures:
            terms["validation", "AUC / AP"] = _numbers([figures["validation_auc"], figures["validation_ap"]])
        if sys.stderr.isatty():
            self._row({("phase", ""): phase, ("epoch", ""): place, **terms, ("s", ""): f"{seconds:.0f}"})
        elif epoch == epochs or time.monotonic() - self._spoken >= LOG_EVERY_SECONDS:
            self._spoken = time.monotonic()
            told = "; ".join(f"{' '.join(name).strip()} {value}" for name, value in terms.items())
            say(f"{self.title}: {phase} epoch {place}: {told}; {seconds:.0f} s")

    def _row(self, cells: dict[tuple[str, str], str]) -> None:
        """Print the row, below a header where the columns are new."""
        from rich.console import Console
        from rich.table import Table

        header = ["\n".join(name) for name in cells]
        table = Table(box=None, show_header=header != self._header, padding=(0, 2, 0, 0))
        self._header = header
        for name in cells:
            table.add_column("\n".join(name), width=max(15 if " / " in name[1] else 9, *map(len, name)))
        table.add_row(*cells.values())
        console = Console(file=io.StringIO(), width=LOG_WIDTH)
        with console.capture() as capture:
            console.print(table)
        say(capture.get())  # by sys.stderr, which rich keeps above its progress bar


def _number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"


def _numbers(values: Iterable[float]) -> str:
    return " / ".join(_number(value) for value in values)


def _by_group(means: Mapping[str, float]) -> dict[tuple[str, str], str]:
    """(`reconstruction`, `unlabelled / anomaly`) -> `0.01 / 0.2` for every term that has groups; without any, all."""
    cells: dict[tuple[str, str], str] = {}
    bases = dict.fromkeys(
        name.removesuffix(f"_{group}") for name in means for group in GROUPS if name.endswith(f"_{group}")
    )
    for base in bases:
        groups = [group for group in GROUPS if f"{base}_{group}" in means]
        values = _numbers(means[f"{base}_{group}"] for group in groups)
        cells[base.replace("_", " "), " / ".join(groups)] = values
    if not bases:
        return {
            (name.replace("_", " "), ""): _number(value) for name, value in means.items() if name != "loss"
        }
    return cells
