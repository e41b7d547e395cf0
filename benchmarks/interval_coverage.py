"""How often 95 % intervals hold the true figure, and whether p-values of normals are what they say: by simulation.

    python benchmarks/interval_coverage.py [--quick] [--json FILE]
    python benchmarks/interval_coverage.py --smoke

Scores are normal, anomalies shifted so that the true AUC is 0.6, 0.85 or 0.97; or half of the anomalies look like normals (`mixed`).
Items of a group (patient, slide) share a part `alike` of their variance. Of each design so many samples are drawn:

auc, precision   share of intervals of AUC and of average precision that hold the true one, and how wide they are in the mean
percentiles      the same of AUC by percentiles of resampled groups, as it was before
share            of the rate of false alarms, true 1 %, 5 % and 20 %, of normals in groups
froc             of the FROC score, of slides with lesions of which a true share is found at each rate of false positives
p_values         share of new normals with a p-value of at most 0.01, 0.05 and 0.1: at most that, and that where 1 / level divides n + 1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from command import of_size, parsed, parser, write_json
from scipy.stats import norm

from esad.pipeline.evaluation.measures.froc import NOT_FOUND, SlideHits, froc, froc_interval
from esad.pipeline.evaluation.measures.intervals import Intervals, bootstrap_draws, intervals_by_code
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.thresholds.conformal import p_values
from esad.pipeline.thresholds.false_alarms import share_interval

Pair = tuple[float, float]


@dataclass(frozen=True)
class Design:
    """Groups of anomalies, of normals and of both, of `each` items, a quarter of those of both being anomalies.

    `large` is one group more, of so many anomalies and normals.
    """

    anomalies: int
    normals: int
    both: int
    each: int
    alike: float
    mixed: bool = False
    large: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """In words, as the table has it."""
        kinds = {"anomalous": self.anomalies, "normal": self.normals, "of both": self.both}
        groups = " + ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        of = f"groups of {self.each}, alike {self.alike:g}" if self.each > 1 else "items"
        more = f", one of {self.large[0]} and {self.large[1]}" if sum(self.large) else ""
        return f"{groups} {of}{', mixed' if self.mixed else ''}{more}"

    @property
    def areas(self) -> tuple[float, ...]:
        """The true AUCs; where half of the anomalies look like normals it is at most 0.75."""
        return (0.6, 0.7) if self.mixed else (0.6, 0.85, 0.97)

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and group codes (N,)."""
        own = np.repeat(np.r_[np.ones(self.anomalies, int), np.zeros(self.normals, int)], self.each)
        shared = np.tile(np.arange(self.each) < self.each // 4, self.both).astype(int)
        count = self.anomalies + self.normals + self.both
        codes = np.r_[np.repeat(np.arange(count), self.each), np.full(sum(self.large), count)]
        return np.r_[own, shared, np.repeat([1, 0], self.large)], codes

    def shift(self, area: float) -> float:
        """By how much anomalies are higher, in standard deviations, for a true AUC of `area`."""
        return float(norm.ppf(2 * area - 0.5 if self.mixed else area)) * np.sqrt(2)

    def draw(
        self, labels: np.ndarray, codes: np.ndarray, shift: float, numbers: np.random.Generator
    ) -> np.ndarray:
        """Scores (N,)."""
        scores = np.sqrt(self.alike) * numbers.normal(size=codes.max() + 1)[codes]
        scores += np.sqrt(1 - self.alike) * numbers.normal(size=len(codes))
        moved = labels * (numbers.random(len(labels)) < 0.5) if self.mixed else labels
        return scores + shift * moved

    def precision(self, shift: float, anomalies: float) -> float:
        """The true average precision where a share `anomalies` of items are such."""
        at = np.linspace(-8, 14, 100_001)
        false, true = norm.sf(at), norm.sf(at - shift)
        true = (true + false) / 2 if self.mixed else true
        found = anomalies * true / np.maximum(anomalies * true + (1 - anomalies) * false, 1e-300)
        return float(-np.trapezoid(found, true))


DESIGNS = (
    Design(10, 40, 0, 1, 0), Design(25, 100, 0, 1, 0), Design(100, 400, 0, 1, 0), Design(50, 200, 0, 1, 0, mixed=True),
    Design(10, 40, 0, 5, 0.5), Design(30, 90, 0, 5, 0.5), Design(0, 0, 10, 20, 0.3), Design(0, 0, 40, 20, 0.3),
    Design(10, 20, 20, 8, 0.3),
    Design(0, 0, 20, 8, 0.5, large=(40, 0)), Design(5, 40, 0, 8, 0.5, large=(40, 40)), Design(6, 0, 2, 8, 0.5, large=(0, 200)),
)  # fmt: skip
GROUPS = ((30, 10), (200, 5), (1000, 1))
"""How many, and of how many items: of rates of false alarms."""


def held(intervals: list[Pair | None], true: float) -> tuple[float, float]:
    """(Share of intervals that hold the true figure, their mean width); those that are none do not count."""
    known = np.array([pair for pair in intervals if pair is not None])
    return float(((known[:, 0] <= true) & (true <= known[:, 1])).mean()), float(np.ptp(known, axis=1).mean())


def by_percentiles(scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, draws: int) -> Pair | None:
    """AUC's interval as it was: the 2.5th and 97.5th percentile over resampled groups."""
    found = []
    for counts in bootstrap_draws(int(codes.max()) + 1, draws, 0):
        rows = np.repeat(np.arange(len(codes)), counts[codes])
        found.append(auc(scores[rows], labels[rows]))
    known = [area for area in found if area is not None]
    return (float(np.percentile(known, 2.5)), float(np.percentile(known, 97.5))) if known else None


def of_areas(design: Design, area: float, samples: int, compared: int, draws: int) -> dict[str, float | str]:
    """One line of the table of AUC and average precision."""
    numbers = np.random.default_rng([int(1000 * area), design.each, design.anomalies])
    labels, codes = design.labels()
    shift = design.shift(area)
    found: list[Intervals] = []
    before: list[Pair | None] = []
    for number in range(samples):
        scores = design.draw(labels, codes, shift, numbers)
        found.append(intervals_by_code(scores, labels, codes, draws, number))
        if number < compared:
            before.append(by_percentiles(scores, labels, codes, draws))
    areas, width = held([each.auc for each in found], area)
    precisions, _ = held(
        [each.average_precision for each in found], design.precision(shift, float(labels.mean()))
    )
    return {
        "design": design.name, "true": area, "auc": areas, "width": width, "precision": precisions,
        "percentiles": held(before, area)[0],
    }  # fmt: skip


def of_shares(groups: int, each: int, true: float, samples: int) -> dict[str, float | str]:
    """Of a rate of false alarms, items of a group sharing half of their variance."""
    numbers, codes, found = np.random.default_rng(groups), np.repeat(np.arange(groups), each), []
    for _ in range(samples):
        values = np.sqrt(0.5) * (numbers.normal(size=groups)[codes] + numbers.normal(size=len(codes)))
        found.append(share_interval(values > norm.isf(true), codes))
    name = f"{groups} groups of {each}"
    return {"design": name, "true": true, "share": held(found, true)[0], "width": held(found, true)[1]}


def of_froc(slides: int, samples: int, draws: int) -> dict[str, float | str]:
    """Slides with one to four lesions, half of all slides; the true score is that of 4,000 slides."""

    def drawn(count: int, numbers: np.random.Generator) -> list[SlideHits]:
        out = []
        for number in range(count):
            ease, lesions = numbers.normal(), int(numbers.integers(1, 5)) if number % 2 else 0
            hits = numbers.normal(1.5 + ease, 1, lesions)
            hits[numbers.random(lesions) < 0.2] = NOT_FOUND
            out.append(SlideHits(hits, numbers.normal(size=8)))
        return out

    true = froc(drawn(4000, np.random.default_rng(9))).score
    numbers = np.random.default_rng(slides)
    found = [froc_interval(drawn(slides, numbers), np.arange(slides), draws) for _ in range(samples)]
    share, width = held(found, true)
    return {"design": f"{slides} slides", "true": true, "froc": share, "width": width}


def of_p_values(references: int, samples: int) -> dict[str, float]:
    """Share of new normals at or below each level, a new reference set each time."""
    numbers = np.random.default_rng(references)
    p = np.array(
        [p_values(numbers.normal(size=1), numbers.normal(size=references))[0] for _ in range(samples)]
    )
    return {
        "references": references,
        **{f"at_{level:g}": float((p <= level).mean()) for level in (0.01, 0.05, 0.1)},
    }


def shown(rows: list[dict[str, float | str]] | list[dict[str, float]]) -> None:
    """A line for each row."""
    for row in rows:
        print(
            "  ".join(
                f"{key} {value:.3f}" if isinstance(value, float) else str(value) for key, value in row.items()
            )
        )


def main() -> None:
    """The tables, and JSON where asked for."""
    given = parsed(parser(__doc__, quick="a fifth of the samples"))
    samples, compared, draws = of_size(given, (2000, 400, 200), (400, 100, 100), (20, 4, 20))
    designs, most = (DESIGNS, 3) if not given.smoke else (DESIGNS[1:2], 1)
    tables: dict[str, Callable[[], list]] = {
        "areas": lambda: [of_areas(design, area, samples, compared, draws) for design in designs for area in design.areas[:most]],
        "shares": lambda: [of_shares(*groups, true, samples) for groups in GROUPS for true in (0.01, 0.05, 0.2)],
        "froc": lambda: [of_froc(slides, max(samples // 5, 5), draws) for slides in (20, 60)],
        "p_values": lambda: [of_p_values(references, 20 * samples) for references in (19, 50, 99, 999)],
    }  # fmt: skip
    found = {}
    for name, make in tables.items():
        print(f"\n{name}")
        found[name] = make()
        shown(found[name])
    write_json(given.json, found)


if __name__ == "__main__":
    main()
