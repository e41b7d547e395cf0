"""Words that may be anything: lone letters, and columns that say by un what is normal."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.two_values import Stated, read_values


def read(values, column="y"):
    return read_values(pd.Series(values, dtype="string"), column, Stated())


@pytest.mark.parametrize(
    "values", [["N", "F"], ["Y", "T"], ["n", "false"], ["T", "N"], ["F"], ["N"], ["t", "t"]]
)
def test_letters_of_two_pairs_or_alone_are_asked_about(values):
    with pytest.raises(UsageError, match="which of them is normal is not known"):
        read(values)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["Y", "N"], [1, 0]),
        (["t", "f"], [1, 0]),
        (["yes", "Y", "no"], [1, 1, 0]),
        (["True", "F", "false"], [1, 0, 0]),
        (["no"], [0]),
    ],
)
def test_one_pair_is_understood_in_any_spelling(values, labels):
    assert read(values).labels.tolist() == labels


def test_folders_called_by_letters_stay_classes():
    found = read_values(pd.Series(["N", "F"], dtype="string"), None, Stated())
    assert found.classes


@pytest.mark.parametrize("column", ["undamaged", "uninfected", "is_unaffected", "in_control"])
def test_columns_in_which_one_may_mean_normal_are_asked_about(column):
    with pytest.raises(UsageError, match="by its name the higher value may mean normal"):
        read(["0", "1"], column)


@pytest.mark.parametrize("column", ["unusual", "unit", "not_ok", "abnormal", "under_test"])
def test_other_columns_with_un_are_read(column):
    assert read(["0", "1"], column).labels.tolist() == [0, 1]
