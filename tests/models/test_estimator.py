"""The estimator as a user meets it: scikit-learn's contract, signs of y and of scores, thresholds, odd tables."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from benchmarks.anomaly_tables import TUNING, semi_supervised_split
from esad import ESAD
from tests import ROOT

QUICK = {"steps": 40, "members": 2}


def table(
    rows: int = 200, anomalies: int = 20, columns: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Correlated normals, then anomalies off their plane; y is 0, and -1 for the last quarter of the anomalies."""
    numbers = np.random.default_rng(seed)
    into = np.random.default_rng(1).normal(size=(2, columns))
    X = numbers.normal(size=(rows, 2)) @ into + 0.2 * numbers.normal(size=(rows, columns))
    X[rows - anomalies :] += numbers.choice([-2.0, 2.0], (anomalies, columns))
    y = np.zeros(rows)
    y[rows - anomalies // 4 :] = -1
    return X, y


@parametrize_with_checks([ESAD(steps=10, members=2)])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_importing_the_package_imports_no_torch():
    command = "import sys, esad; assert 'torch' not in sys.modules; from esad import ESAD; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True, cwd=ROOT)


def test_signs_of_scores_and_of_y():
    X, y = table()
    model = ESAD(random_state=0, **QUICK).fit(X, y)
    score = model.anomaly_score(X)
    assert roc_auc_score(np.arange(200) >= 180, score) > 0.9
    assert np.array_equal(model.score_samples(X), -score)
    assert np.array_equal(model.predict(X) == -1, model.decision_function(X) < 0)
    doubled = ESAD(random_state=0, **QUICK).fit(X, 2 * y)  # the sign alone counts
    labelled = ESAD(random_state=0, **QUICK).fit(
        X, np.where(y < 0, y, 1)
    )  # labelled normals train as unlabelled do
    for other in (doubled, labelled):
        assert np.array_equal(other.anomaly_score(X), score)
    assert not np.allclose(ESAD(random_state=0, **QUICK).fit(X).anomaly_score(X), score)


def test_scores_follow_from_random_state_and_leave_torchs_numbers_alone():
    X, y = table()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (ESAD(random_state=seed, **QUICK).fit(X, y).anomaly_score(X) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(first, second)
    assert not np.allclose(first, other)


def test_the_threshold_is_a_quantile_of_normals_not_trained_on():
    """As many new normals are called anomalies as asked for, give or take what 1,000 of them can tell."""
    X, _ = table(1000, 0)
    model = ESAD(normal_quantile=0.9, random_state=0, steps=300).fit(X)
    new = table(1000, 0, seed=9)[0]
    assert np.mean(model.predict(new) == -1) == pytest.approx(0.1, abs=0.04)
    for quantile in (0.8, 0.98):
        threshold = np.quantile(model.normal_scores_, quantile)
        assert np.mean(model.anomaly_score(new) > threshold) == pytest.approx(1 - quantile, abs=0.04)


def test_data_frames_pipelines_grids_and_parallel_jobs():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = ESAD(random_state=0, **QUICK)
    fitted = clone(model).fit(frame, pd.Series(y))
    assert list(fitted.feature_names_in_) == list("abcde")
    assert np.array_equal(fitted.anomaly_score(frame), clone(model).fit(X, y).anomaly_score(X))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[list("edcba")])
    pipeline = make_pipeline(StandardScaler(), model)
    mixed = np.random.default_rng(0).permutation(200)
    labels = np.where(mixed >= 180, -1, 1)
    search = GridSearchCV(pipeline, {"esad__lambda1": [0.1, 1.0]}, scoring="roc_auc", cv=2, n_jobs=2)
    search.fit(X[mixed], labels)
    assert search.best_score_ > 0.9
    assert pipeline.fit(X, y).predict(X).shape == (200,)


@pytest.mark.parametrize(
    ("name", "X", "y"),
    [
        ("three rows", np.arange(6.0).reshape(3, 2), None),
        ("a single column", np.arange(40.0)[:, None], None),
        ("constant columns", np.c_[np.ones(50), np.arange(50.0), np.zeros(50)], None),
        ("all rows alike", np.ones((60, 3)), None),
        ("duplicates", np.repeat(np.arange(6.0).reshape(3, 2), 20, 0), None),
        ("all labelled", np.arange(80.0).reshape(40, 2), np.r_[np.ones(36), -np.ones(4)]),
        ("more anomalies than normals", np.arange(80.0).reshape(40, 2), np.r_[np.ones(4), -np.ones(36)]),
        ("far from zero", 1e9 + np.random.default_rng(0).normal(size=(60, 3)), None),
        ("huge", 1e200 * np.random.default_rng(0).normal(size=(60, 3)), None),
        ("more columns than rows", np.random.default_rng(0).normal(size=(30, 120)), None),
    ],
)
def test_odd_tables_give_finite_scores(name, X, y):
    scores = ESAD(random_state=0, steps=10).fit(X, y).anomaly_score(X)
    assert np.isfinite(scores).all(), name
    if name == "far from zero":
        centred = ESAD(random_state=0, steps=10).fit(X - 1e9).anomaly_score(X - 1e9)
        assert np.corrcoef(scores, centred)[0, 1] > 0.999


@pytest.mark.parametrize(
    ("change", "y", "message"),
    [
        ({}, np.r_[0, -np.ones(199)], "1 of 200 samples are not labelled anomalies"),
        ({"members": 0}, None, "members = 0"),
        ({"steps": 1}, None, "steps = 1"),
        ({"normal_quantile": 1.0}, None, r"normal_quantile = 1\.0"),
    ],
)
def test_what_cannot_be_fitted_is_said(change, y, message):
    with pytest.raises(ValueError, match=message):
        ESAD(**change).fit(table()[0], y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_and_infinite_values_are_refused(bad):
    X, y = table()
    X[3, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        ESAD(**QUICK).fit(X, y)


def test_readmes_example_runs():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(
        code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import ESAD" in code
    )
    namespace: dict[str, object] = {}
    exec(block, namespace)
    assert namespace["auc"] > 0.9  # type: ignore[operator]


@pytest.mark.parametrize("name", ["blobs, cluster, 300 x 20", "classes, 400 x 12"])
def test_better_than_isolation_forest_without_a_setting_touched(name):
    """One labelled anomaly, the others hidden among the unlabelled (benchmarks/estimator.py has all tables)."""
    X, y, X_test, label = semi_supervised_split(*TUNING[name](0), 0)
    ours = roc_auc_score(label, ESAD(random_state=0).fit(X, y).anomaly_score(X_test))
    theirs = roc_auc_score(label, -IsolationForest(random_state=0).fit(X).score_samples(X_test))
    assert ours > theirs + 0.05
