"""JSON of ours whose entries are of another kind is told by its entry and value; what stages write, and older ones wrote, passes."""

from __future__ import annotations

import pytest

from esad.pipeline.evaluation.metrics_shape import Metrics
from esad.pipeline.runs.shapes import Explanation, Marker, Provenance, check_shape
from esad.preprocessing.errors import EsadError

SETS = [{"name": "", "normals": 7, "threshold": 0.5, "level": 0.125, "rate_bounds": [0.0, 0.4]}]
RULE = {
    "by": None,
    "level": 0.01,
    "per_group": False,
    "groups": 2,
    "held_out": True,
    "fewest_normals": 99,
    "sets": SETS,
}
EXPLAINED = {
    "components": 4,
    "items": 7,
    "held_out": True,
    "model": 0.5,
    "model_interval": [0.4, 0.6],
    "pca": 0.9,
    "pca_interval": None,
}
PROVENANCE = {
    "steps": 3,
    "versions": {"torch": "2"},
    "reconstruction": EXPLAINED,
    "labelled_classes": {"a": 3},
}
FIGURES = {
    "items": 3, "auc": None, "auc_interval": None, "average_precision": None, "average_precision_interval": None,
    "normal": 2, "anomaly": 1, "groups": 2,
}  # fmt: skip
METRICS = {
    **FIGURES, "kind": "table", "evaluated": "all", "by": {"view": {"AP": FIGURES}}, "scores": {}, "localisation": None, "slides": None,
    "alarms": {"rule": None, "achieved": None, "by": {}, "splits": None, "likeness": None},
}  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "content"),
    [(Marker, {"thresholds": RULE}), (Marker, {}), (Provenance, PROVENANCE), (Metrics, METRICS), (Explanation, {"medians": [None, 1]})],
)  # fmt: skip
def test_what_stages_write_passes(tmp_path, shape, content):
    check_shape(tmp_path / "a.json", content, shape, "make it anew.")


@pytest.mark.parametrize(
    ("shape", "content", "told"),
    [
        (Marker, {"thresholds": {**RULE, "sets": []}}, r"thresholds\.sets = \[\]"),
        (Marker, {"thresholds": {**RULE, "level": "0.01"}}, r"thresholds\.level = '0.01', expected a valid number"),
        (Marker, {"thresholds": {**RULE, "level": 7}}, r"thresholds\.level = 7, expected less than 1"),
        (Marker, {"thresholds": {**RULE, "sets": ["a"]}}, r"thresholds\.sets\.0 = 'a'"),
        (Marker, {"thresholds": {key: value for key, value in RULE.items() if key != "by"}}, r"'thresholds\.by' is missing"),
        (Marker, {"normals": True}, "normals = True"),
        (Marker, {"normals": None}, "normals = None"),
        (Marker, {"labels": {"outline_classes": {"a": 1}}}, r"labels\.outline_classes\.a = 1, expected 'anomaly'"),
        (Marker, {"items": -1}, "items = -1"),
        (Provenance, {**PROVENANCE, "reconstruction": {**EXPLAINED, "model": [1]}}, r"reconstruction\.model = \[1\]"),
        (Provenance, {**PROVENANCE, "labelled_classes": {"a": -2}}, r"labelled_classes\.a = -2"),
        (Metrics, {**METRICS, "by": {"view": "AP"}}, r"by\.view = 'AP'"),
        (Metrics, {**METRICS, "normal": None}, "normal = None"),
        (Metrics, {**METRICS, "scores": {"eq9": {}}}, r"'scores\.eq9\.auc' is missing"),
        (Metrics, {**METRICS, "auc": 1.5}, "auc = 1.5, expected less than or equal to 1"),
        (Metrics, {**METRICS, "auc_interval": [0.5]}, r"auc_interval = \[0.5\]"),
        (Explanation, {"medians": ["x"]}, r"medians\.0 = 'x'"),
    ],
)  # fmt: skip
def test_an_entry_of_another_kind_is_named_with_its_value(tmp_path, shape, content, told):
    with pytest.raises(EsadError, match=rf"a\.json: is damaged \(.*{told}.*make it anew"):
        check_shape(tmp_path / "a.json", content, shape, "make it anew.")
