"""Groups of items as numbers: in the order of their names, an item without one alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.evaluation.item_figures import group_codes

NAMES = [f"i{number % 97:02d}-é{number}" for number in range(300)]
GROUPS = {
    "none": None,
    "some": pd.array([None if number % 7 == 0 else f"g{number % 13}" for number in range(300)], dtype="str"),
    "empty": pd.Series([None] * 300, dtype=object),
    "numbers": np.arange(300) % 9,
}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_are_numbered_in_the_order_of_their_names(kind):
    items = pd.DataFrame({"item_id": NAMES})
    names = list(NAMES)
    if GROUPS[kind] is not None:
        items["group"] = GROUPS[kind]
        names = [
            f"item {name}" if pd.isna(group) else str(group)
            for name, group in zip(NAMES, items["group"], strict=True)
        ]
    some = np.arange(0, 300, 2)  # rows of a larger table
    expected = np.unique(np.array(names)[some], return_inverse=True)[1]
    assert np.array_equal(group_codes(items.iloc[some]), expected)
