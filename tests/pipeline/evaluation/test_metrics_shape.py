"""metrics.json is whole or refused: an entry that a page or a sentence reads is never found missing while it is written."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.evaluation.metrics_shape import Metrics
from esad.pipeline.runs.shapes import check_shape
from esad.preprocessing.errors import EsadError
from tests.pipeline.evaluation.test_alarms import COUNT, scored_elsewhere
from tests.pipeline.evaluation.test_slide_figures import CELLS, IN_A, OUTSIDE, A, B
from tests.pipeline.slide_scores_folder import scores_folder, tiles_of, write_boxes
from tests.trust.entries import entries

OPTIONAL = {
    "by.site", "note", "overlap", "score", "intervals", "without_meaning", "seen", "relabelled",
    "alarms.rule.groups", "alarms.rule.fewest_normals", "alarms.rule.sets", "slides.by_slide", "slides.labels",
    "slides.suspicious_inside", "slides.suspicious_on_normal", "slides.unscored_outlines",
}  # fmt: skip
"""Entries that no page needs, or that it does without."""
ANY = {
    "by.site", "scores", "alarms.by", "alarms.by.site", "alarms.likeness.by", "alarms.likeness.by.site", "alarms.likeness.terms",
    "slides.auc", "slides.froc.left_out",
}  # fmt: skip
"""Mappings whose names are free: one name fewer is no damage."""


def of_sites(folder: Path) -> Path:
    """Scores of labelled items of two sites."""
    label = np.where(np.arange(COUNT) % 3 == 2, 1, 0)
    return scored_elsewhere(folder, label=label, by="site")[0] / "scores" / "store"


def of_slides(folder: Path) -> Path:
    """Scores of slides with lesions."""
    tumour = tiles_of("tumor_1.tif", {IN_A: 6, OUTSIDE: 5})
    run = scores_folder(folder, tumour, tiles_of("normal_1.tif", {(3, 3): 7, (9, 9): 3}))
    write_boxes(folder / "outlines", "TUMOR_1", A, B, CELLS)
    return run / "scores" / "store"


def measured(folder: Path) -> dict:
    """metrics.json of a SCORES folder."""
    outlines = folder.parents[2] / "outlines"
    evaluate(folder.parents[1], annotations=outlines if outlines.is_dir() else None)
    return json.loads((folder / "metrics.json").read_text())


def refused(content: dict) -> bool:
    try:
        check_shape(Path("metrics.json"), content, Metrics, "Run esad evaluate again.")
    except EsadError:
        return True
    return False


@pytest.mark.parametrize("scores", [of_sites, of_slides])
def test_an_entry_that_is_missing_is_refused(scores, tmp_path):
    content = measured(scores(tmp_path))
    assert not refused(content)
    for path in entries(content):
        damaged = copy.deepcopy(content)
        at = damaged
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        name, above = ".".join(map(str, path)), ".".join(map(str, path[:-1]))
        if path[-1] != 0 and name not in OPTIONAL and (above not in ANY or path[-1] == "score"):
            assert refused(damaged), name


@pytest.mark.parametrize("entry", ["auc_interval", "slides.froc.sensitivity", "alarms.likeness.terms.score"])
def test_the_report_names_the_entry_and_the_remedy(entry, tmp_path, capsys):
    folder = of_slides(tmp_path)
    content = measured(folder)
    *above, last = entry.split(".")
    at = content
    for key in above:
        at = at[key]
    del at[last]
    (folder / "metrics.json").write_text(json.dumps(content))
    assert call(["report", str(folder)]) == 1
    said = capsys.readouterr().err
    assert f"'{entry}' is missing" in said
    assert "esad evaluate" in said
