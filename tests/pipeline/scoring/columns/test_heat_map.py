"""The heat map of rows by columns: one scale, white at nothing, names and legend within the picture, caps that are said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.scoring.columns.heat_map import (
    MOST_DRAWN,
    NARROWEST,
    ROW,
    HeatMap,
    colour_end,
    diverging,
    paint,
)


def shown(rows: int, columns: int, names: list[str] | None = None, end: float = 1.0) -> HeatMap:
    numbers = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "item_id": [f"item-{number:08x}" for number in range(rows)],
            "score": np.linspace(9, 0, rows),
            "label": pd.array([1, 0, None] * rows, dtype="Int8")[:rows],
        }
    )
    shares = numbers.normal(size=(rows, columns)).astype(np.float32)
    names = names or [f"column {number}" for number in range(columns)]
    return HeatMap("esad on store: some rows", names, table, shares, end, True, "integrated gradients")


def test_colours_are_white_at_nothing_red_above_and_blue_below():
    colours = diverging(np.array([-40.0, -1, -0.5, 0, 0.5, 1, 40, 400]), 1.0).astype(int)
    assert (colours[3] >= 245).all()
    red, blue = colours[:, 0] - colours[:, 2], colours[:, 2] - colours[:, 0]
    assert (red[4:] > 0).all()
    assert (blue[:3] > 0).all()
    brightness = colours.sum(1)
    assert (np.diff(brightness[3:7]) < 0).all()
    assert (np.diff(brightness[:4]) > 0).all()
    assert (colours[6] == colours[7]).all()  # beyond the scale: clipped, not stretched


def test_equal_contributions_have_equal_colours_in_two_pictures():
    one, other = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    one[0, 1] = other[1, 2] = 0.7
    other[0, 0] = 50
    assert (diverging(one, 0.5)[0, 1] == diverging(other, 0.5)[1, 2]).all()


@pytest.mark.parametrize(("columns", "cell"), [(1, 84), (6, 84), (36, 26), (274, NARROWEST)])
def test_cells_are_as_wide_as_there_is_room(columns, cell):
    picture = paint(shown(10, columns))
    assert picture.dtype == np.uint8
    assert picture.shape[1] > columns * cell
    assert picture.shape[1] < columns * cell + 900
    assert picture.shape[0] > 10 * ROW
    assert np.array_equal(picture, paint(shown(10, columns)))
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (border == 255).all()  # nothing is cut off


def test_more_columns_than_fit_are_those_with_the_largest_contributions_and_the_sum_of_the_rest():
    wide = shown(4, MOST_DRAWN + 50)
    wide.shares[:, 7] = 0
    wide.shares[:, 345] = -99
    names, shares = wide.drawn()
    assert len(names) == MOST_DRAWN + 1
    assert names[-1] == "50 other columns"
    assert "column 345" in names
    assert "column 7" not in names
    assert np.allclose(shares.sum(1), wide.shares.sum(1), atol=1e-3)
    assert names[:-1] == [f"column {place}" for place in wide.chosen()]


def test_long_names_and_names_in_other_alphabets_are_drawn():
    names = ["größe des Kerns, gemessen am längsten Durchmesser in Mikrometern", "плотность", "a"]
    assert paint(shown(3, 3, names)).shape[0] > 3 * ROW


def test_the_scale_is_of_normal_rows_or_ends_at_what_is_shown():
    shares = np.array([[-6.0, 3]])
    assert colour_end({"0.5": 1.0, "0.999": 2.5}, shares) == 2.5
    assert colour_end(None, shares) == pytest.approx(0.2)
    assert colour_end({"0.999": 0.0}, shares) == pytest.approx(0.2)
    assert colour_end(None, np.zeros((0, 3))) > 0
