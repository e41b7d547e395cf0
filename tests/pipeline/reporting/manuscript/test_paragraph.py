"""Every method has its citation; sentences follow from settings, and none says what a run did not do."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from esad.models.methods.registry import METHODS
from esad.pipeline.evaluation.measures.intervals import HOW
from esad.pipeline.reporting.manuscript.citations import ABOUT, WORKS, References
from esad.pipeline.reporting.manuscript.paragraph import Facts, methods_text
from esad.pipeline.settings.config import RunSettings, resolve

TILES = {
    "magnification": 10.0, "tile_size": 64, "min_tissue": 0.5, "min_sharpness": 0.13, "stain": "vahadane", "stain_scope": "slide",
    "annotations": "0123", "labels": {"min_fraction": 0.5, "without_outlines": "unknown"},
}  # fmt: skip
RADIOGRAPHS = {"resizing": "crop768", "crop": 0.75, "size": 64, "projection": "PA", "equalise": True}
PROVENANCE = {
    "seed": 3, "device": "cpu", "steps": 400, "git_revision": "0123456789abcdef", "versions": {"esad": "0.1.0", "torch": "2.13.0"},
}  # fmt: skip
RULE = {
    "level": 0.01, "by": None, "per_group": False, "held_out": True,
    "sets": [{"name": "", "normals": 213, "threshold": 1.0, "level": 0.0093, "rate_bounds": [0.001, 0.03]}],
}  # fmt: skip
METRICS = {
    "items": 50, "evaluated": "test part", "normal": 40, "anomaly": 10, "groups": 6, "auc": 0.9, "auc_interval": [0.8, 0.95],
    "alarms": None, "slides": None,
}  # fmt: skip


def facts(
    changes=None, kind="images", shape=(32, 32, 1), store=None, provenance=None, marker=None, metrics=None
):
    config = resolve(RunSettings, {"seed": 3}, changes or {}).model_dump()
    config["store"] = {
        "name": "store",
        "kind": kind,
        "shape": list(shape),
        "settings": store or {},
        "inputs": "same",
    }
    parts = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(12)], "part": ["train"] * 7 + ["validation"] * 2 + ["test"] * 3, "label": 0,
            "semi_label": pd.array([0] * 5 + [-1] * 2 + [None] * 5, dtype="Int8"),
        }
    )  # fmt: skip
    told = {**PROVENANCE, **(provenance or {})}
    return Facts(config, told, parts, marker or {"thresholds": RULE, "inputs": "same"}, metrics or METRICS)


def text_of(*args, **words):
    return " ".join(methods_text(facts(*args, **words))["paragraphs"])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_named_with_its_source_and_year(method):
    kinds = [("images", (32, 32, 1))] + ([] if METHODS[method].pictures_only else [("table", (9,))])
    for kind, shape in kinds:
        found = methods_text(facts({"method": method}, kind, shape))
        text = " ".join(found["paragraphs"])
        assert f"by {ABOUT[method].name}" in text
        years = re.findall(r"\b(?:19|20)\d\d\b", METHODS[method].title)
        assert all(any(year in work for work in found["references"]) for year in years[:1])
        cited = {
            int(number)
            for group in re.findall(r"\[([\d, ]+)\]", text.replace("[0, 1]", ""))
            for number in group.split(",")
        }
        assert cited == set(range(1, len(found["references"]) + 1))


def test_every_work_is_cited_by_someone_and_every_method_has_works():
    assert set(ABOUT) == set(METHODS)
    assert {work for about in ABOUT.values() for work in about.works} <= set(WORKS)
    assert [name for name, about in ABOUT.items() if not about.works] == ["supervised"]


def test_slides_say_scale_tissue_stain_and_labels():
    text = text_of({}, "tiles", (64, 64, 3), TILES)
    assert "magnification of 10 (1 µm a pixel" in text
    assert "less than 50 % of tissue were left out" in text
    assert "sharpness below 0.13" in text
    assert (
        "normalised by Vahadane's method with a deterministic solver [1], fitted on each slide, to the target built into esad"
        in text
    )
    assert "with at least 50 % of its area inside outlines" in text
    assert "without outlines have no label" in text
    plain = text_of(
        {},
        "tiles",
        (64, 64, 3),
        {**TILES, "stain": "none", "mpp": 0.5, "min_sharpness": 0.0, "annotations": None},
    )
    assert "Stains were not normalised." in plain
    assert "cut at 0.5 µm a pixel" in plain
    assert not re.search("Vahadane|sharpness|outlines", plain)


def test_radiographs_say_how_they_were_reduced():
    text = text_of({}, "radiographs", (64, 64, 1), RADIOGRAPHS)
    assert (
        "the central square of 75 % of the shorter side was reduced by area means to 64 x 64 pixels." in text
    )
    assert "Histograms were equalised." in text
    assert "Only PA projections were kept." in text
    other = text_of({}, "radiographs", (64, 64, 1), {"resizing": "resize300", "size": 64})
    assert "resized to 300 x 300 pixels, cropped to the central 224" in other
    assert not re.search("equalised|projections|central square", other)


def test_rows_say_how_columns_were_scaled_and_holes_filled():
    text = text_of({}, "table", (9,), {"missing": "median"})
    assert "9 numeric columns. Each column was scaled to [0, 1]" in text
    assert "filled with the medians of the training rows" in text
    assert "9-32-16-8 units" in text
    assert "mirrored" not in text_of({"data.flip": "both"}, "table", (9,))


def test_a_published_set_is_named_with_its_own_works():
    found = methods_text(facts({}, "radiographs", (64, 64, 1), {**RADIOGRAPHS, "protocol": "nih-pa"}))
    assert "under the protocol nih-pa [1" in found["paragraphs"][0]
    assert "ChestX-ray" in found["references"][0]


def test_training_says_what_was_set_and_not_what_had_no_effect():
    changes = {
        "train.optimiser": "adam", "train.learning_rate": 0.001, "train.schedule": "cosine", "train.steps": 300, "train.momentum": 0.9,
        "train.warmup.steps": 100, "train.batches": "balanced", "train.labelled_per_batch": 8, "network.width": 0.125, "data.crop": 16,
        "data.flip": "horizontal", "loss.lambda2": 0.5, "loss.score_lambda1": 2.0,
    }  # fmt: skip
    text = text_of(changes)
    assert "8, 16, 32, 64 and 64 channels; decoders mirror it" in text
    assert (
        "Adam (beta 0.9 and 0.999) at a learning rate of 0.001, falling to 0 along a cosine, for 300 steps"
        in text
    )
    assert "first trained as an autoencoder, by SGD at a learning rate of 0.1" in text
    assert "32 unlabelled items and 8 labelled ones" in text
    assert "400 steps on a CPU, with seed 3" in text
    assert "cropped to 16 x 16" in text
    assert "mirrored from left to right" in text
    assert "1 (norm) and 0.5 (distance of the codes)" in text
    assert "plus 2 times the squared norm" in text
    assert "momentum" not in text
    alone = text_of({"network.second_encoder": False, "train.steps": 0, "train.epochs": None})
    assert "there was no second encoder" in alone
    assert not re.search("distance of the codes|first trained", alone)


def test_a_fit_at_once_has_no_optimiser_and_a_hybrid_one_has():
    text = text_of({"method": "isolation_forest"})
    assert "The fit is not in steps; its seed was 3." in text
    assert not re.search("learning rate|batch|convolutions", text)
    hybrid = text_of({"method": "oc_svm", "oc_svm.input": "hybrid", "train.warmup.steps": 50})
    assert "first trained as an autoencoder" in hybrid
    assert "gamma and nu" in hybrid
    chosen = text_of({"method": "oc_svm", "oc_svm.gamma": 0.5, "oc_svm.nu": 0.1})
    assert "oc_svm.gamma 0.5, " in chosen
    assert "Chosen by the AUC" not in chosen


def test_counts_of_the_split_are_those_of_the_assignments():
    text = text_of()
    assert (
        "Training used 5 unlabelled images, taken to be mostly normal, and 2 labelled anomalies; 2 were held out"
        in text
    )
    assert "3 to test" in text
    mixed = text_of({"data.labelled": "ratio", "data.gamma_l": 0.05, "data.gamma_p": 0.1, "data.k_l": 2})
    assert (
        "of 2 classes, drawn at random. Labelled anomalies were drawn to be 5 % of the training items."
        in mixed
    )
    assert "Of the unlabelled training items 10 % are anomalies." in mixed
    assert not re.search("drawn at random|to be 5 %|items 10 %", text)
    leak = {"overlap": {"normals_trained_on": 0.4, "anomalies_labelled": 0.05}}
    published = text_of({"data.split": "published"}, provenance=leak)
    assert "40% of the test normals were trained on" in published
    assert "are in one part" not in published


def test_what_the_validation_part_decided_and_restarts_are_said():
    chosen = {"weights_of_step": 250, "by": "auc", "ended_at": 300}
    text = text_of(provenance={"selection": chosen, "restarts": 2, "device": "cuda", "processes": 2})
    assert "those of step 250, decided by the held-out part's AUC. Training ended after step 300." in text
    assert "began anew 2 times at half the learning rate" in text
    assert "on a GPU, in 2 processes, in 16-bit mixed precision" in text
    assert not re.search("decided by|anew|16-bit", text_of())


def test_thresholds_say_their_rule_and_how_many_normals_they_are_from():
    text = text_of()
    assert (
        "among 213 normal items held out of training: a score is an alarm where its p-value is at most 1 %"
        in text
    )
    assert "With so many normals that is a rate of 0.93 %." in text
    few = {**RULE, "sets": [{**RULE["sets"][0], "normals": 40, "level": 1 / 41}], "held_out": False}
    text = text_of(marker={"thresholds": few, "inputs": "same"})
    assert "40 normal items of the training part" in text
    assert "So few normals allow a promise of 2.44 % at best." in text
    sets = [
        {**RULE["sets"][0], "name": name, "normals": normals, "level": 1 / (normals + 1)}
        for name, normals in (("A", 199), ("B", 3))
    ]
    text = text_of(
        marker={"thresholds": {**RULE, "by": "site", "sets": sets, "held_out": None}, "inputs": "same"}
    )
    assert "among 3 to 199 normal items, apart for each site" in text
    assert "By how many normals each has, that is a rate of 0.5 % to 25 %." in text
    sets = [{**RULE["sets"][0], "name": name, "normals": count} for name, count in (("AP", 120), ("PA", 300))]
    text = text_of(
        marker={"thresholds": {**RULE, "by": "view", "per_group": True, "sets": sets}, "inputs": "same"}
    )
    assert (
        "120 to 300 groups with normals held out of training (the highest score of each group), apart for each projection"
        in text
    )
    assert "Thresholds" not in text_of(marker={"inputs": "same"})


def test_evaluation_says_which_items_and_how_intervals_were_made():
    text = text_of()
    assert "Figures are of the test part with 40 normal and 10 abnormal items in 6 groups." in text
    assert "Intervals of 95 % are by 1,000 bootstrap draws of whole groups" in text  # of an earlier version
    now = text_of(metrics={**METRICS, "intervals": HOW})
    assert "placement values summed by group [" in now
    assert "average precision from 1,000 bootstrap draws" in now
    assert "bootstrap" not in text_of(metrics={**METRICS, "auc_interval": None})
    assert "there are no figures" in text_of(metrics={**METRICS, "items": 0})
    froc = {"froc": {"score": 1.0}, "auc_interval": {"max": None}}
    assert "FROC is the mean sensitivity" in text_of(metrics={**METRICS, "slides": froc})
    assert "FROC" not in text


def test_scores_of_another_archive_are_said():
    text = text_of(marker={"thresholds": RULE, "inputs": "other", "items": 1234})
    assert "The scores are of another archive, made with the same settings: 1,234 items." in text
    assert "another archive" not in text_of()


def test_versions_are_those_of_the_run_and_unknown_settings_are_said():
    assert "esad 0.1.0 (revision 0123456789) with PyTorch 2.13.0." in text_of()
    odd = facts()
    found = methods_text(
        Facts(
            {**odd.config, "train": {"speed": 1}},
            *[getattr(odd, name) for name in ("provenance", "assignments", "marker", "metrics")],
        )
    )
    assert len(found["paragraphs"]) == 1
    assert "train.speed" in found["paragraphs"][0]


def test_numbers_of_works_follow_the_text():
    cite = References()
    assert cite("esad") == " [1]"
    assert cite("conformal", "esad") == " [1, 2]"
    assert cite("A. Person. A work, 2020.") == " [3]"
    assert cite() == ""
    assert cite.cited == [WORKS["esad"], WORKS["conformal"], "A. Person. A work, 2020."]
