"""Tables of scores with values that no scores have are damaged, and told so."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.pipeline.scoring.open_scores import NEEDED, TERMS, read_scores_table
from esad.pipeline.stage.errors import EsadError


def good():
    texts = {name: ["a", "b"] for name in NEEDED}
    numbers = {name: [0.5, 1.5] for name in (*TERMS, "score", "threshold")}
    table = pd.DataFrame({**texts, **numbers, "percentile": [0.1, 0.9], "p_value": [0.2, 1.0]})
    return table.assign(label=pd.array([0, 1], "Int8"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"p_value": [0.2, 1.5]}, "a p_value is not between 0 and 1"),
        ({"p_value": [-0.1, None]}, "a p_value is not between 0 and 1"),
        ({"item_id": [1, 2]}, "column 'item_id' holds other than texts"),
        ({"score": ["x", "y"]}, "scores are no numbers"),
        ({"score": [0.5, float("inf")]}, "the score of b is not finite"),
    ],
)
def test_values_that_no_scores_have_are_told(tmp_path, change, told):
    good().to_parquet(tmp_path / "scores.parquet")
    assert len(read_scores_table(tmp_path)) == 2
    good().assign(**change).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(EsadError, match=told):
        read_scores_table(tmp_path)
