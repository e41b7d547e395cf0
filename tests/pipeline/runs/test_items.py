"""Items found by name, a part at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.runs import items
from esad.pipeline.runs.items import places_among
from esad.preprocessing.store.store import Store


@pytest.mark.parametrize("fewest", [1, 3, 1000])
@pytest.mark.parametrize("dtype", ["str", "string", object])
def test_each_name_is_found_where_it_stands_last(monkeypatch, fewest, dtype):
    monkeypatch.setattr(items, "FEWEST_LOOKED_UP", fewest)
    numbers = np.random.default_rng(0)
    names, known = (pd.Series(numbers.integers(0, 60, size).astype(str)).astype(dtype) for size in (80, 50))
    last = {name: place for place, name in enumerate(known)}
    assert places_among(names, known).tolist() == [last.get(name, -1) for name in names]
    assert places_among(names, known[:0]).tolist() == [-1] * 80
    assert places_among(names[:0], known).tolist() == []


def test_many_vectors_are_read_as_they_are_asked_for(monkeypatch, tmp_path):
    """Half precision counts as the float32 that it becomes."""
    np.save(tmp_path / "v.npy", np.arange(24, dtype=np.float16).reshape(6, 4))
    assert call(["embeddings", str(tmp_path / "v.npy"), "--out", str(tmp_path / "store")]) == 0
    store = Store(tmp_path / "store")
    assert not callable(items.in_memory(store))
    monkeypatch.setattr(items, "VECTORS_IN_MEMORY", 6 * 4 * 4 - 1)
    read = items.in_memory(store)
    assert callable(read)
    assert read(np.array([5, 0])).tolist() == [[20, 21, 22, 23], [0, 1, 2, 3]]


def test_a_stated_split_that_parts_groups_is_said(tmp_path, capsys):
    rows = [f"{n / 40},{int(n % 8 == 0)},p{n // 4},{'test' if n % 2 else 'train'}" for n in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,y,group,split", *rows]))
    assert call(["tables", str(tmp_path / "t.csv"), "--out", str(tmp_path / "store")]) == 0
    assert (
        call(
            [
                "train",
                str(tmp_path / "store"),
                "--out",
                str(tmp_path / "run"),
                "--set",
                "method=isolation_forest",
            ]
        )
        == 0
    )
    assert "the stated split parts 10 of 10 groups" in capsys.readouterr().err


def trained(tmp_path, group_of, capsys, head="a,y,group", more=lambda _: ""):
    """What `esad train` says of 40 rows, every eighth an anomaly, row n of the group `group_of(n)`."""
    rows = [f"{n / 40},{int(n % 8 == 0)},{group_of(n)}{more(n)}" for n in range(40)]
    (tmp_path / "t.csv").write_text("\n".join([head, *rows]))
    store, run = str(tmp_path / "store"), str(tmp_path / "run")
    assert call(["tables", str(tmp_path / "t.csv"), "--out", store]) == 0
    assert call(["train", store, "--out", run, "--set", "method=isolation_forest"]) == 0
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("group_of", "told"),
    [
        (lambda _: "ANONYMOUS", "40 labelled items that train are of one group"),
        (lambda n: "sick" if n % 8 == 0 else "well", "are of 2 groups, one for each label"),
        (lambda n: f"p{n // 4}", None),
        (lambda n: "" if n % 2 else "ANONYMOUS", None),
        (lambda _: "", None),
    ],
)
def test_groups_that_leave_nothing_to_hold_out_are_said_and_not_named(tmp_path, capsys, group_of, told):
    said = trained(tmp_path, group_of, capsys)
    if told is None:
        assert "no item is held out" not in said
        return
    assert "no item is held out for validation or test: the" in said
    assert told in said
    assert "--labels FILE.csv (source, group)" in said
    assert said.count("ANONYMOUS") == 1  # of our own sentence


def test_a_train_part_of_one_group_leaves_validation_empty_alone(tmp_path, capsys):
    said = trained(
        tmp_path,
        lambda n: "b" if n > 30 else "a",
        capsys,
        "a,y,group,split",
        lambda n: ",test" if n > 30 else ",train",
    )
    assert "no item is held out for validation: the 31 labelled items" in said
