"""Items found by name, a part at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.runs import items
from esad.pipeline.runs.items import places_among


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
