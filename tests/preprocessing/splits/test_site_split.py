"""Sites kept apart: who trains, who tests, what is left out and said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.errors import EsadError, UsageError
from esad.preprocessing.splits.labels import LABEL_BEFORE, apply_labels, read_labels, with_site
from esad.preprocessing.splits.site_split import assign_leave_site_out, sides, sites_of


def manifest(sites="AAAAAAAAAAAABBBBBBBB", group=None):
    """Items of two sites, every fourth an anomaly, every fifth without label, in groups of two unless told."""
    count = len(sites)
    label = pd.array([None if n % 5 == 4 else int(n % 4 == 3) for n in range(count)], dtype="Int8")
    return pd.DataFrame({
        "item_id": [f"i{n}" for n in range(count)],
        "label": label,
        "semi_label": pd.array([None] * count, dtype="Int8"),
        "split": pd.array([None] * count, dtype="string"),
        "group": pd.array(group or [f"{site}{n // 2}" for n, site in enumerate(sites)], dtype="string"),
        "site": pd.array([None if site == "-" else site for site in sites], dtype="string"),
    })  # fmt: skip


def split(items, site=("B",), **how):
    settings = {"seed": 0, "gamma_p": 0.0, "labelled": "all", "validation_share": 0.3, **how}
    table = assign_leave_site_out(items, site=list(site), **settings)
    return table.merge(items[["item_id", "site", "group"]], on="item_id")


def test_all_labelled_items_of_the_site_test_and_no_other():
    items = manifest()
    table = split(items)
    labelled = items[(items["site"] == "B") & items["label"].notna()]
    assert set(table.loc[table["part"] == "test", "item_id"]) == set(labelled["item_id"])
    assert set(table.loc[table["part"] != "test", "site"]) == {"A"}
    assert {"train", "validation"} <= set(table["part"])
    assert table.loc[table["part"] == "test", "semi_label"].isna().all()
    assert table["item_id"].is_unique


def test_a_group_of_both_sites_does_not_train_and_is_counted():
    items = manifest(
        group=["shared", "shared", *[f"g{n}" for n in range(10)], "shared", *[f"h{n}" for n in range(7)]]
    )
    found = sides(items, ["B"])
    assert (found.divided, found.without_site) == (2, 0)
    assert "occur at a site held out: 2 items." in found.told()
    table = split(items)
    assert table.loc[table["group"] == "shared", "part"].eq("test").all()
    assert not {"i0", "i1"} & set(table["item_id"])


def test_items_without_a_site_are_in_no_part_and_said():
    items = manifest("AAAAAAAAAA--BBBBBBBB")
    assert sides(items, ["B"]).told() == "Left out, since nothing says their site: 2 items."
    assert not {"i10", "i11"} & set(split(items)["item_id"])


def test_several_sites_test_together():
    table = split(manifest("AAAAAAAAAABBBBBCCCCC"), site=("B", "C"))
    assert set(table.loc[table["part"] == "test", "site"]) == {"B", "C"}


def test_a_site_may_validate():
    items = manifest(
        "AAAAAAAAAABBBBBCCCCC", group=[*[f"g{n}" for n in range(10)], "x", *"bbbb", "x", *"cccc"]
    )
    table = split(items, site=("C",), validation_site=["B"])
    assert set(table.loc[table["part"] == "validation", "site"]) == {"B"}
    assert set(table.loc[table["part"] == "train", "site"]) == {"A"}
    assert table.loc[table["group"] == "x", "part"].eq("test").all()
    assert sides(items, ["C"], ["B"]).divided == 1
    with pytest.raises(UsageError, match="a site that tests chooses nothing"):
        split(items, site=("C",), validation_site=["C"])


def test_parts_that_the_store_states_do_not_count():
    items = manifest()
    stated = items.assign(split=pd.array(np.where(np.arange(20) % 2, "test", "train"), dtype="string"))
    pd.testing.assert_frame_equal(split(items), split(stated))


def test_what_a_person_marks_for_one_training_changes_neither_test_nor_validation_part():
    items = manifest()
    marked = items.assign(**{LABEL_BEFORE: items["label"]})
    marked.loc[marked["site"] == "B", "label"] = 1
    marked.loc[marked["item_id"] == "i4", "label"] = 1
    before, after = split(items), split(marked)
    for part in ("test", "validation"):
        rows = [
            table[table["part"] == part].set_index("item_id")["label"].sort_index()
            for table in (before, after)
        ]
        pd.testing.assert_series_equal(*rows)
    assert after.set_index("item_id").loc["i4", "semi_label"] == -1


def test_the_seed_decides_alone():
    pd.testing.assert_frame_equal(split(manifest()), split(manifest()))
    many = manifest("A" * 60 + "B" * 10)
    held = [set(split(many, seed=seed).query("part == 'validation'")["item_id"]) for seed in (0, 1)]
    assert held[0] != held[1]


@pytest.mark.parametrize(
    ("site", "told"),
    [
        (None, "say which site tests.*there are A, B"),
        (["C"], "no such site, only A, B"),
        (["A", "B"], "no other site is left"),
    ],
)
def test_a_site_that_cannot_test_is_refused(site, told):
    with pytest.raises(UsageError, match=told):
        assign_leave_site_out(manifest(), site=site, seed=0)


def test_without_sites_it_is_said_how_to_give_them():
    with pytest.raises(UsageError, match="--site NAME"):
        sites_of(manifest().drop(columns="site"))


def test_nothing_to_train_on_is_refused():
    with pytest.raises(EsadError, match="every item of the other sites"):
        split(manifest(group=["one"] * 20))


def test_a_labels_file_gives_sites_and_leaves_those_of_others(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("source,label,site\na.png,0, north \nb.png,1,\n")
    items = pd.DataFrame(
        {"item_id": ["a", "b"], "source": ["a.png", "b.png"], "label": pd.array([None, None], "Int8")}
    )
    found, _ = apply_labels(items, read_labels(path))
    assert found["site"].fillna("-").tolist() == ["north", "-"]
    assert with_site(found, "south")["site"].tolist() == ["north", "south"]


def test_a_store_without_sites_has_no_such_column():
    items = pd.DataFrame({"item_id": ["a"], "site": pd.array([None], dtype="string")})
    assert "site" not in with_site(items, None)


def test_sites_that_differ_in_case_alone_are_refused():
    items = manifest().assign(site=["North"] * 12 + ["north"] * 8)
    with pytest.raises(UsageError, match="the sites North and north differ in case alone"):
        sides(items, ["north"])
