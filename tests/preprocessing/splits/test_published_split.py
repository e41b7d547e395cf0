"""The published split: the two draws of Deep SAD's code, two rows for what both sides have, and the overlap.

docs/explanation/protocols.md#leak has the figures that are expected.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.labels import LABEL_BEFORE
from esad.preprocessing.splits.published_split import assign_published, overlap, published_draws
from tests.preprocessing.splits.test_semisupervised import manifest

LETTER = {"labelled": "ratio", "gamma_l": 0.01, "validation_share": 0.0}


def of_labels(labels: np.ndarray) -> pd.DataFrame:
    """A manifest with these labels, in their order."""
    table = manifest(len(labels), 0)
    table["label"] = pd.array(labels, dtype="Int8")
    return table


def test_the_draws_are_those_of_the_public_code():
    """Two constructors that share one RandomState object, each splitting normals, then anomalies."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], [90, 30]))
    rows, shared = np.arange(120), np.random.RandomState(3)

    def constructor() -> tuple[set, set]:
        normal = train_test_split(rows[labels == 0], test_size=0.4, random_state=shared)
        outlier = train_test_split(rows[labels == 1], test_size=0.4, random_state=shared)
        return {*normal[0], *outlier[0]}, {*normal[1], *outlier[1]}

    wanted_train, wanted_test = constructor()[0], constructor()[1]
    train, test = published_draws(labels, 3)
    assert set(train) == wanted_train
    assert set(test) == wanted_test


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), validation=st.sampled_from([0.0, 0.1, 0.3]))
def test_an_item_has_one_row_a_side_and_the_test_row_is_last(seed, validation):
    table = assign_published(manifest(), seed=seed, gamma_p=0.05, validation_share=validation)
    tested = table["part"] == "test"
    assert table[tested]["item_id"].is_unique
    assert table[~tested]["item_id"].is_unique
    assert not tested[: int((~tested).sum())].any()
    assert table[tested]["semi_label"].isna().all()
    assert int(tested.sum()) == 80 + 32
    learnt = table[table["part"] != "test"]
    assert len(learnt[learnt["label"] == 0]) == 120
    assert (table["part"] == "validation").any() == (validation > 0)
    assert table.equals(assign_published(manifest(), seed=seed, gamma_p=0.05, validation_share=validation))


def test_the_overlap_is_counted_from_the_rows():
    table = pd.DataFrame(
        {
            "item_id": list("abcd") + list("bcde"),
            "part": ["train"] * 3 + ["validation"] + ["test"] * 4,
            "label": [0, 0, 1, 0, 0, 1, 0, 1],
            "semi_label": [0, 0, -1, None] + [None] * 4,
        }
    )
    assert overlap(table) == {"normals_trained_on": 0.5, "anomalies_labelled": 0.5}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", pd.NA, "have none, i3 first"),
        ("split", "test", "--split none"),
        ("group", "g", "--group none"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_advice(column, value, message):
    table = manifest()
    table[column] = table[column].astype("object")
    table.loc[3, column] = value
    with pytest.raises(UsageError, match=message):
        assign_published(table, seed=0)
    with pytest.raises(UsageError, match="one class only"):
        assign_published(manifest(50, 0), seed=0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "labelled", "shared"),
    [("arrhythmia", 2, 0.026), ("cardio", 10, 0.051), ("satimage-2", 34, 0.50), ("thyroid", 22, 0.24)],
)
def test_the_overlap_of_real_tables_is_the_documented_one(data, name, labelled, shared):
    """60 % of test normals were trained on; labelled anomalies by number and share, ten seeds.

    protocols.md#leak.
    """
    items = of_labels(np.load(data / "odds" / f"{name}.npz")["y"].astype(int).ravel())
    tables = [assign_published(items, seed=seed, **LETTER) for seed in range(10)]
    assert {int((table["semi_label"] == -1).sum()) for table in tables} == {labelled}
    found = [overlap(table) for table in tables]
    assert np.mean([each["normals_trained_on"] for each in found]) == pytest.approx(0.60, abs=0.01)
    count = sum(int(np.load(data / "odds" / f"{name}.npz")["y"].sum() * 0.4) for _ in tables)
    noise = 3 * np.sqrt(shared * (1 - shared) / count)
    assert np.mean([each["anomalies_labelled"] for each in found]) == pytest.approx(shared, abs=noise)


def test_labels_given_for_one_training_neither_change_the_draws_nor_what_is_measured():
    table = manifest()
    given = table.assign(**{LABEL_BEFORE: table["label"]})
    given.loc[::9, "label"] = 1 - given.loc[::9, "label"]
    before, after = (assign_published(each, seed=2, validation_share=0.3) for each in (table, given))
    for part in ("validation", "test"):
        rows = [each[each["part"] == part].reset_index(drop=True) for each in (before, after)]
        pd.testing.assert_frame_equal(*rows)
    trained = after[after["part"] == "train"].merge(given, on="item_id", suffixes=("", "_given"))
    assert (trained["label"] == trained["label_given"]).all()
    with pytest.raises(UsageError, match="by the store's labels; 280 items have none"):
        assign_published(given.assign(**{LABEL_BEFORE: pd.NA}).astype({LABEL_BEFORE: "Int8"}), seed=2)
