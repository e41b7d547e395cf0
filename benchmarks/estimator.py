"""The estimator without a setting touched beside isolation forest, on tables that scikit-learn ships or makes.

    python benchmarks/estimator.py [--quick] [--smoke] [--half report|tuning] [--only WORD ...] [--json FILE]

AUC in % on test rows, mean and spread of three seeds. 5 % of the training anomalies are labelled (at least one), the
others are among the unlabelled rows; isolation forest, which cannot use labels, trains on the same rows. The estimator's
defaults were chosen on the tuning half (and on the ODDS sets); the reporting half was never looked at for that.
"""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
from anomaly_tables import REPORT, TUNING, Table, semi_supervised_split
from command import of_size, parsed, parser, write_json
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from esad import ESAD


def one_table(table: Table, seed: int, steps: int | None) -> tuple[float, float, float]:
    """AUC of ESAD and of isolation forest, and the seconds that ESAD's fit took; `steps`: None for the estimator's own."""
    rows, y, test, label = semi_supervised_split(*table, seed)
    start = perf_counter()
    model = ESAD(random_state=seed, steps=steps).fit(rows, y)
    seconds = perf_counter() - start
    forest = IsolationForest(random_state=seed).fit(rows)
    scores = (model.anomaly_score(test), -forest.score_samples(test))
    return roc_auc_score(label, scores[0]), roc_auc_score(label, scores[1]), seconds


def main() -> None:
    """Parse the options, print a line per table."""
    options = parser(__doc__, quick="one seed, tables of at most 2000 rows")
    options.add_argument("--half", choices=["report", "tuning"], default="report")
    options.add_argument("--only", action="append", help="tables with this word in their name")
    given = parsed(options)
    most = of_size(given, full=math.inf, quick=2000, smoke=150)
    seeds = of_size(given, full=3, quick=1, smoke=1)
    tables = REPORT if given.half == "report" else TUNING
    if given.smoke:  # all are made, the smallest are used
        tables = {**TUNING, **REPORT}
    results: dict[str, dict[str, float]] = {}
    print(f"{'table':<30}{'rows':>7}{'ESAD':>15}{'isolation forest':>20}{'seconds':>9}")
    for name, make in tables.items():
        if given.only and not any(word in name for word in given.only):
            continue
        rows = len(make(0)[1])
        if rows > most:
            continue
        steps = 10 if given.smoke else None
        found = np.array([one_table(make(seed), seed, steps) for seed in range(seeds)])
        (ours, theirs, seconds), (spread, their_spread, _) = found.mean(0), found.std(0)
        results[name] = {"esad": 100 * ours, "isolation_forest": 100 * theirs, "seconds": seconds}
        print(
            f"{name:<30}{rows:>7}{100 * ours:>8.1f} +- {100 * spread:<4.1f}"
            f"{100 * theirs:>12.1f} +- {100 * their_spread:<4.1f}{seconds:>9.1f}",
            flush=True,
        )
    better = sum(value["esad"] > value["isolation_forest"] for value in results.values())
    print(f"\nESAD is ahead on {better} of {len(results)} tables.")
    write_json(given.json, results)


if __name__ == "__main__":
    main()
