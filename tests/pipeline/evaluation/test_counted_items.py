"""Which items count in figures, and which ones a label would teach something."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from esad.pipeline.evaluation.counted_items import unlabelled


@pytest.mark.parametrize("form", ["im{}.png", "im{}", "IM{}.PNG", "./im{}.png", "/data/pictures/im{}.png"])
def test_marks_name_sources_as_they_do_when_they_train(form):
    sources = [f"im{number}.png" for number in range(6)]
    table = pd.DataFrame({"item_id": sources, "source": sources, "label": pd.array([pd.NA] * 6, "Int8")})
    table["part"] = pd.array(["train"] * 6, "string")
    marks = pd.DataFrame({"source": [form.format(number) for number in range(4)], "label": 0})
    left = unlabelled(SimpleNamespace(table=table), marks.astype({"source": "string"}))
    assert left["source"].tolist() == ["im4.png", "im5.png"]
