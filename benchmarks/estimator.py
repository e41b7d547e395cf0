"""The estimator without a setting touched beside isolation forest, on tables that scikit-learn ships or makes.

    python benchmarks/estimator.py [--quick] [--half report|tuning] [--only WORD ...] [--json FILE]

AUC in % on test rows, mean and spread of three seeds. 5 % of the training anomalies are labelled (at least one), the
others hide among the unlabelled; isolation forest, which cannot use labels, trains on the same rows. The estimator's
defaults were chosen on the tuning half (and on ODDS's sets); the reporting half was never looked at for that.
`--quick` takes the first seed and the tables of at most 2000 rows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import numpy as np
from anomaly_tables import REPORT, TUNING, Table, semi_supervised_split
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from esad import ESAD


def one_table(table: Table, seed: int) -> tuple[float, float, float]:
    """AUC of ESAD and of isolation forest, and the seconds that ESAD's fit took."""
    rows, y, test, label = semi_supervised_split(*table, seed)
    start = perf_counter()
    model = ESAD(random_state=seed).fit(rows, y)
    seconds = perf_counter() - start
    forest = IsolationForest(random_state=seed).fit(rows)
    scores = (model.anomaly_score(test), -forest.score_samples(test))
    return roc_auc_score(label, scores[0]), roc_auc_score(label, scores[1]), seconds


def main() -> None:
    """Parse the options, print a line per table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=["report", "tuning"], default="report")
    parser.add_argument("--quick", action="store_true", help="one seed, tables of at most 2000 rows")
    parser.add_argument("--only", action="append", help="tables with this word in their name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tables = REPORT if options.half == "report" else TUNING
    results: dict[str, dict[str, float]] = {}
    print(f"{'table':<30}{'rows':>7}{'ESAD':>15}{'isolation forest':>20}{'seconds':>9}")
    for name, make in tables.items():
        if options.only and not any(word in name for word in options.only):
            continue
        if options.quick and len(make(0)[1]) > 2000:
            continue
        found = np.array([one_table(make(seed), seed) for seed in range(1 if options.quick else 3)])
        (ours, theirs, seconds), (spread, their_spread, _) = found.mean(0), found.std(0)
        results[name] = {"esad": 100 * ours, "isolation_forest": 100 * theirs, "seconds": seconds}
        print(
            f"{name:<30}{len(make(0)[1]):>7}{100 * ours:>8.1f} +- {100 * spread:<4.1f}"
            f"{100 * theirs:>12.1f} +- {100 * their_spread:<4.1f}{seconds:>9.1f}",
            flush=True,
        )
    better = sum(value["esad"] > value["isolation_forest"] for value in results.values())
    print(f"\nESAD is ahead on {better} of {len(results)} tables.")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
