"""The rule behind Camelyon16's tiles: roles of slides, tissue blocks, borders, draws; against the published lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.data_manifests.loader import load_manifest
from esad.preprocessing.errors import UsageError
from esad.preprocessing.slides.camelyon16 import (
    Role,
    as_listed,
    draw,
    grid_corners,
    read_reference,
    slide_roles,
    tissue_blocks,
)
from esad.preprocessing.splits.published_lists import camelyon16_tiles, parse_tile_name

RULE = load_manifest("camelyon16").protocol
REFERENCE = {"test_001": True, "test_003": False, "test_114": True}
WHITE, PINK = (245, 245, 245), (200, 120, 170)


def overview(rows: int, columns: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """White with pink boxes (top, left, bottom, right)."""
    picture = np.full((rows, columns, 3), WHITE, np.uint8)
    for top, left, bottom, right in boxes:
        picture[top:bottom, left:right] = PINK
    return picture


def test_roles_follow_names_reference_and_exclusions():
    names = [
        "normal_001",
        "normal_144",
        "tumor_001",
        "tumor_016",
        "test_001",
        "test_003",
        "test_114",
        "notes",
    ]
    roles = slide_roles(names, REFERENCE, RULE)
    assert roles["normal_001"] == Role("train", tumour=False)
    assert roles["tumor_016"] == Role("train", tumour=True)
    assert (roles["test_001"], roles["test_003"]) == (Role("test", True), Role("test", False))
    reasons = {name: role for name, role in roles.items() if isinstance(role, str)}
    assert set(reasons) == {"normal_144", "tumor_001", "test_114", "notes"}
    assert "excluded" in reasons["normal_144"]
    assert "tumor_016" in reasons["tumor_001"]
    assert "exhaustive" in reasons["test_114"]


def test_without_the_published_slides_all_tumour_slides_train():
    roles = slide_roles(["tumor_001", "tumor_002"], None, RULE)
    assert set(roles.values()) == {Role("train", tumour=True)}


def test_test_slides_need_the_reference():
    assert "reference.csv" in slide_roles(["test_001"], None, RULE)["test_001"]
    assert "reference.csv" in slide_roles(["test_002"], REFERENCE, RULE)["test_002"]


def test_a_small_mask_loses_its_four_sides():
    blocks = tissue_blocks(overview(300, 240, (0, 0, 299, 239)), RULE)
    rows, columns = np.nonzero(blocks)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 89, 10, 69)
    assert blocks.shape == (100, 80)
    assert blocks[10:90, 10:70].all()


def test_a_tall_mask_keeps_its_right_side():
    picture = overview(801, 240, (0, 0, 801, 240))
    picture[0, 0] = WHITE
    rows, columns = np.nonzero(tissue_blocks(picture, RULE))
    assert (rows.min(), rows.max()) == (34, 232)  # 100 of 3 -> 33.3, and 701 / 3 = 233.67
    assert columns.min() == 17
    assert columns.max() in (78, 79)  # opening may take the outermost column; the border rule does not


def test_a_block_needs_all_its_pixels():
    picture = overview(120, 120, (36, 36, 60, 60))
    assert tissue_blocks(picture, RULE).sum() == 64
    picture[45:48, 45:48] = WHITE  # 3 x 3 of glass, exactly one block
    assert tissue_blocks(picture, RULE).sum() == 63
    picture[48, 48] = WHITE
    assert tissue_blocks(picture, RULE).sum() < 63


@pytest.mark.parametrize("colour", [WHITE, (0, 0, 0)])
def test_one_colour_has_no_tissue(colour):
    assert not tissue_blocks(np.full((200, 200, 3), colour, np.uint8), RULE).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.integers(0, 5), st.sampled_from(["normal_001", "Test_130"]))
def test_draws_are_seeded_distinct_and_at_most_fifty(count, seed, stem):
    taken = draw(count, stem, RULE, seed)
    assert len(taken) == min(count, RULE.per_slide)
    assert (np.diff(taken) > 0).all()
    assert not len(taken) or (taken.min() >= 0 and taken.max() < count)
    assert np.array_equal(taken, draw(count, stem.lower(), RULE, seed))


def test_slides_and_seeds_draw_apart():
    first = draw(400, "normal_001", RULE, 0)
    assert not np.array_equal(first, draw(400, "normal_002", RULE, 0))
    assert not np.array_equal(first, draw(400, "normal_001", RULE, 1))


def test_tiles_have_the_published_form():
    blocks = np.zeros((4, 5), bool)
    blocks[2, 3] = blocks[0, 1] = True
    corners = grid_corners(blocks, RULE)
    assert corners.tolist() == [[768, 0], [2304, 1536]]
    table = as_listed(corners, "tumor_016", Role("train", True), RULE)
    assert [parse_tile_name(name) for name in table["name"]] == [
        ("tumor_016", 768, 0, 768, 768), ("tumor_016", 2304, 1536, 768, 768),
    ]  # fmt: skip
    assert table["semi_label"].tolist() == [-1, -1]
    normal = as_listed(corners, "test_003", Role("test", False), RULE)
    assert (normal["label"] == 0).all()
    assert normal["semi_label"].isna().all()


def test_a_wrong_reference_is_told(tmp_path):
    path = tmp_path / "reference.csv"
    path.write_text("slide,label\na,b\n")
    with pytest.raises(UsageError, match="test_001,Tumor"):
        read_reference(path)
    path.write_text("image,type\ntest_001.tif,Tumor,IDC\ntest_003,Normal\n")
    assert read_reference(path) == {"test_001": True, "test_003": False}


@pytest.mark.data
def test_the_rule_agrees_with_the_published_lists(data):
    """Slides, grid, tiles a slide and labelled slides of the published set are those of the rule."""
    table = camelyon16_tiles(data / "camelyon16" / "dpa_folds_camelyon16.tar.gz")
    reference = read_reference(data / "camelyon16" / "reference.csv")
    assert (sum(reference.values()), len(reference)) == (49, 129)
    stems = sorted(set(table["slide"]))
    roles = slide_roles(stems, reference, RULE)
    for stem, rows in table.groupby("slide"):
        role = roles[stem]
        assert isinstance(role, Role), stem
        assert set(rows["split"]) == {role.part}
        assert set(rows["label"]) == {int(role.tumour)}
    whole = [f"normal_{n:03d}" for n in range(1, 161)] + [f"tumor_{n:03d}" for n in range(1, 112)]
    taken = {stem for stem, role in slide_roles(whole, reference, RULE).items() if isinstance(role, Role)}
    assert sum(stem.startswith("normal") for stem in taken) == 153
    assert {stem for stem in taken if stem.startswith("tumor")} == set(RULE.labelled)
    assert (table[["x", "y"]] % RULE.span == 0).all(axis=None)
    assert table.groupby("slide").size().max() == RULE.per_slide
    assert (table[["width", "height"]] == RULE.span).all(axis=None)
