"""A labels file says one thing of each item, in whole rows; what contradicts itself or is cut short is refused, with its line."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.labels import apply_labels, read_labels


def written(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("source,label,label\na,0,1\n", "two of its columns are called 'label'"),
        ("source,source,label\na,b,1\n", "two of its columns are called 'source'"),
        ("source,label\na,0\nb\n", "line 3: 1 of 2 cells; the row is cut short"),
        ("source,label,group\na,0\n", "line 2: 2 of 3 cells"),
        ("source,label,semi_label\na,0,0\nb,0,-1\n", r"line 3: label 0 and semi_label -1 contradict"),
        ("source,label,semi_label\na,1,1\n", r"line 2: label 1 and semi_label \+1 contradict"),
        ("source,label\na,maybe\n", "line 2: label 'maybe' is none of 0, 1 or empty"),
        ("source,label\na,-1\n", "label '-1'"),
        ("source,label\na,2\n", "label '2'"),
        ("source,label\na,not normal\n", "label 'not normal'"),
        ("source,label\na,\uff11\n", "label"),
        ("source|label\na|1\n", "expected the columns source"),
        ("source,label\na,0\na,1\n", "'a' stands there twice"),
        ("source,label\na,0,\nb,1,\n", "more cells than its header"),
        ("# remark\nsource,label\na,0\n", "more cells than its header"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path, text, told):
    with pytest.raises(UsageError, match=told):
        read_labels(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "source,label\na,1\nb,\n",
        "\ufeffsource,label\r\na, 1\r\nb,\r\n",
        'source,label\n"a","1.0"\nb,NaN\n',
        ",source,label\n0,a,1\n1,b,None\n",
        "source,label,\na,1,\nb,,\n",
        "source,label\n\na,1\n\nb,\n",
    ],
)
def test_forms_of_one_file_say_the_same(tmp_path, text):
    table = read_labels(written(tmp_path, text))
    assert table["source"].tolist() == ["a", "b"]
    assert table["label"].tolist() == [1, pd.NA]


def test_two_rows_of_one_source_by_its_path_and_its_name_are_refused(tmp_path):
    labels = read_labels(written(tmp_path, "source,label\nsub/a.png,0\na.png,1\n"))
    items = pd.DataFrame(
        {"source": ["sub/a.png"], "item_id": ["a-1"], "label": pd.array([None], dtype="Int8")}
    )
    with pytest.raises(UsageError, match=r"'sub/a.png' and 'a.png' are the same source"):
        apply_labels(items, labels)


def test_a_group_is_one_with_and_without_spaces_at_its_ends(tmp_path):
    table = read_labels(written(tmp_path, "source,label,group,site\na,0,P1,x \nb,0,P1 ,x\nc,1, ,\n"))
    assert table["group"].tolist() == ["P1", "P1", pd.NA]
    assert table["site"].tolist() == ["x", "x", pd.NA]
