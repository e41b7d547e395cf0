"""Assignments: groups stay on one side, counts are those asked for, nothing is drawn twice."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.errors import EsadError
from esad.preprocessing.splits.labels import LABEL_BEFORE, LABEL_STATED, STATED_BEFORE
from esad.preprocessing.splits.semisupervised import assign, labelled_count


def manifest(normal: int = 200, anomaly: int = 80, **columns) -> pd.DataFrame:
    count = normal + anomaly
    table = pd.DataFrame({"item_id": [f"i{n}" for n in range(count)], "label": [0] * normal + [1] * anomaly})
    for name in ("split", "group", "semi_label"):
        table[name] = columns.get(name, [None] * count)
    if "class_name" in columns:
        table["class_name"] = columns["class_name"]
    return table.astype({"label": "Int8", "semi_label": "Int8"})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), groups=st.integers(6, 60), share=st.floats(0.1, 0.6))
def test_no_group_is_on_two_sides(seed, groups, share):
    numbers = np.random.default_rng(seed)
    table = manifest(group=[f"g{n}" for n in numbers.integers(0, groups, 280)])
    assigned = assign(table, seed=seed, test_share=share).merge(table[["item_id", "group"]], on="item_id")
    assert (assigned.groupby("group")["part"].nunique() == 1).all()
    assert assigned["item_id"].is_unique


def test_items_without_a_part_follow_their_group_where_it_tests():
    """Ten items are said to test; the rest of their groups must not train."""
    table = manifest(normal=40, anomaly=40, group=[f"p{n % 8}" for n in range(80)])
    table.loc[table.index[:2], "split"] = "test"  # of the groups p0 and p1
    table.loc[78, "label"] = pd.NA  # of p6, free
    table.loc[73, "label"] = pd.NA  # of p1: without a label it cannot test, and must not train
    assigned = assign(table, seed=0).merge(table[["item_id", "group"]], on="item_id")
    assert (assigned.groupby("group")["part"].nunique() == 1).all()
    assert set(assigned.loc[assigned["part"] == "test", "group"]) == {"p0", "p1"}
    assert (assigned["part"] == "test").sum() == 19
    assert "i73" not in set(assigned["item_id"])


def test_single_items_keep_the_share_of_anomalies():
    assigned = assign(manifest(), seed=0, test_share=0.4, validation_share=0)
    test = assigned[assigned["part"] == "test"]
    assert (test["label"] == 0).sum() == 80
    assert (test["label"] == 1).sum() == 32


@pytest.mark.parametrize("gamma", [0.01, 0.05, 0.1, 0.2])
def test_the_labelled_ratio_is_what_was_asked_for(gamma):
    train = assign(manifest(), seed=1, labelled="ratio", gamma_l=gamma, validation_share=0).query(
        "part == 'train'"
    )
    labelled, unlabelled = (train["semi_label"] == -1).sum(), (train["semi_label"] == 0).sum()
    assert labelled == labelled_count(unlabelled, gamma)
    assert labelled / (labelled + unlabelled) == pytest.approx(gamma, abs=0.005)


def test_so_many_anomalies_are_labelled_and_fewer_are_among_more():
    def labelled(count: int) -> set[str]:
        table = assign(manifest(), seed=3, labelled=count, validation_share=0)
        assert set(table.loc[table["semi_label"] == 0, "label"]) == {0}
        return set(table.loc[table["semi_label"] == -1, "item_id"])

    few, more = labelled(5), labelled(20)
    assert (len(labelled(0)), len(few), len(more)) == (0, 5, 20)
    assert few < more
    with pytest.raises(
        EsadError, match=r"data\.labelled = 100 asks for 100 labelled anomalies; the training part has 48"
    ):
        labelled(100)


def test_pollution_and_labelled_anomalies_are_different_items():
    train = assign(manifest(), seed=2, labelled="all", gamma_p=0.1, validation_share=0).query(
        "part == 'train'"
    )
    hidden = train[(train["semi_label"] == 0) & (train["label"] == 1)]
    assert len(hidden) == round(120 * 0.1 / 0.9)
    assert train["item_id"].is_unique
    assert (train["semi_label"] == -1).sum() == 48 - len(hidden)


def test_published_splits_and_stated_semi_labels_stand():
    split = ["test"] * 50 + ["train"] * 230
    semi = [None] * 60 + [1] * 5 + [None] * 215
    assigned = assign(manifest(split=split, semi_label=semi), seed=0, validation_share=0)
    assert (assigned["part"] == "test").sum() == 50
    assert (assigned["semi_label"] == 1).sum() == 5


def test_unknown_items_train_unlabelled_but_never_from_a_tested_group():
    table = manifest(group=[f"g{n // 10}" for n in range(280)])
    table.loc[::3, "label"] = pd.NA
    assigned = assign(table, seed=3).merge(table[["item_id", "group"]], on="item_id")
    tested = set(assigned.loc[assigned["part"] == "test", "group"])
    unknown = assigned[assigned["label"].isna()]
    assert (unknown["semi_label"] == 0).all()
    assert not tested & set(unknown["group"])


def test_classes_make_labels_and_limit_the_labelled_ones():
    names = [str(n % 4) for n in range(280)]
    assigned = assign(manifest(class_name=names), seed=0, normal_classes=[0], labelled_classes=[2]).merge(
        pd.DataFrame({"item_id": [f"i{n}" for n in range(280)], "name": names}), on="item_id"
    )
    assert set(assigned.loc[assigned["semi_label"] == -1, "name"]) == {"2"}
    assert set(assigned.loc[assigned["semi_label"] == 0, "name"]) == {"0"}
    assert set(assigned.loc[assigned["label"] == 0, "name"]) == {"0"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labelled": "ratio", "gamma_l": 0.9}, "gamma_l = 0.9 asks for"),
        ({"gamma_p": 0.9}, "gamma_p = 0.9 asks for"),
        ({"normal_classes": ["x"]}, "no class_name column"),
    ],
)
def test_what_cannot_be_had_is_said(options, message):
    with pytest.raises(EsadError, match=message):
        assign(manifest(), seed=0, **options)


def test_nothing_normal_to_train_on_is_said():
    with pytest.raises(EsadError, match="left to train on"):
        assign(manifest(normal=0), seed=0)


def test_a_split_of_many_single_items_takes_no_time_that_grows_with_their_square():
    count = 60_000
    items = pd.DataFrame(
        {
            "item_id": [f"row-{number}" for number in range(count)],
            "label": pd.array([int(number % 10 == 0) for number in range(count)], dtype="Int8"),
            "group": pd.array([None] * count, dtype="string"), "split": pd.array([None] * count, dtype="string"),
            "semi_label": pd.array([None] * count, dtype="Int8"),
        }
    )  # fmt: skip
    began = time.process_time()
    table = assign(items, seed=0, labelled="ratio", gamma_l=0.01)
    assert time.process_time() - began < 10  # comparing all pairs took minutes
    assert (table["part"] == "test").sum() == round(0.4 * count)


def test_where_all_normals_are_labelled_it_is_said_what_to_do():
    table = manifest(normal=40, anomaly=10, semi_label=[1] * 40 + [None] * 10)
    with pytest.raises(
        EsadError, match=r"Only 0 unlabelled .* \d+ are labelled normals .* leave semi_label empty"
    ):
        assign(table, seed=0)


def test_labelled_classes_are_found_in_another_spelling_and_must_be_there():
    table = (
        manifest(normal=0, anomaly=120, class_name=["Normal"] * 60 + ["Adeno"] * 60)
        .assign(label=pd.NA)
        .astype({"label": "Int8"})
    )
    counts = [
        int(
            (
                assign(table, seed=0, normal_classes=["normal"], labelled_classes=[name])["semi_label"] == -1
            ).sum()
        )
        for name in ("Adeno", "adeno")
    ]
    assert counts[0] == counts[1] > 0
    with pytest.raises(EsadError, match=r"data\.labelled_classes: the store has no class 'Squamous'"):
        assign(table, seed=0, normal_classes=["normal"], labelled_classes=["Squamous"])


def test_labels_given_for_one_training_leave_those_of_the_held_out_items_as_they_were():
    table = manifest()
    before = assign(table, seed=0, validation_share=0.3)
    given = table.assign(**{LABEL_BEFORE: table["label"], "label": 1 - table["label"]})
    after = assign(given, seed=0, validation_share=0.3)
    for part in ("validation", "test"):
        rows = [each[each["part"] == part].reset_index(drop=True) for each in (before, after)]
        pd.testing.assert_frame_equal(*rows)
    train = after[after["part"] == "train"].merge(table, on="item_id", suffixes=("", "_before"))
    assert (train["label"] != train["label_before"]).all()


def test_a_label_given_to_a_held_out_item_without_one_counts_in_no_figure():
    table = manifest(split=["validation", "test"] * 40 + ["train"] * 200)
    given = table.assign(**{LABEL_BEFORE: table["label"]})
    given.loc[:9, LABEL_BEFORE] = pd.NA
    after = assign(given, seed=0)
    assert not after["item_id"].isin(given["item_id"][:10]).any()
    assert (after["part"] != "train").sum() == 70


def test_a_label_given_for_one_training_does_not_put_a_stored_label_before_the_class():
    """Without the mark the class says what the item is, whatever stands in the column `label`."""
    table = manifest(class_name=["cat"] * 200 + ["dog"] * 80)
    table["label"] = pd.array([1] * 280, dtype="Int8")
    before = assign(table, seed=0, normal_classes=["cat"])
    given = table.assign(**{LABEL_BEFORE: table["label"], LABEL_STATED: True, STATED_BEFORE: False})
    after = assign(
        given.assign(label=before.set_index("item_id")["label"].reindex(table["item_id"]).array),
        seed=0,
        normal_classes=["cat"],
    )
    for part in ("validation", "test"):
        rows = [each[each["part"] == part].reset_index(drop=True) for each in (before, after)]
        pd.testing.assert_frame_equal(*rows)
