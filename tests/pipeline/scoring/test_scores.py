"""Percentiles among a finite number of normals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.scoring.scores import above_normals, final_scores


def table(scores) -> pd.DataFrame:
    values = np.asarray(scores, dtype=float)
    names = [f"{place}" for place in range(len(values))]
    return pd.DataFrame({"item_id": names, "eq9": values, "reconstruction": values, "norm": values})


def test_the_percentile_is_that_of_a_finite_sample_and_never_one():
    normals = final_scores(table(range(9)), table(range(9)), "eq9")
    found = final_scores(table([-1, 4, 4.5, 100]), normals, "eq9")["percentile"]
    at_least_as_high = np.array([9, 5, 4, 0])
    assert found.to_numpy() == pytest.approx(1 - (1 + at_least_as_high) / (1 + 9))
    assert found.max() == 0.9


def test_a_new_normal_item_is_above_a_percentile_no_more_often_than_it_says():
    numbers = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        drawn = numbers.normal(size=20)
        normals = final_scores(table(drawn[:19]), table(drawn[:19]), "eq9")
        hits.append(final_scores(table(drawn[19:]), normals, "eq9")["percentile"].iloc[0] >= 0.9)
    assert np.mean(hits) == pytest.approx(0.1, abs=0.045)


def test_words_round_down():
    assert above_normals(0.9999) == "above 99.9 % of normals"
    assert above_normals(0.8) == "above 80 % of normals"
    assert above_normals(0.999) == "above 99.9 % of normals"
