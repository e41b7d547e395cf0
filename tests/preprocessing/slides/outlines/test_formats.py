"""All formats: one outline is one area, and no damage makes another exception or a file without lesions."""

from __future__ import annotations

import random
import re

import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.areas import Areas
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.preprocessing.slides.outlines.same_outline import FORMATS, FRAME, asap

MUTATIONS = 1000
EXTREMES = (
    b"1e308",
    b"NaN",
    b"-1",
    b"true",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"0",
    b"9" * 400,
    b"<",
    b"&x;",
    b"\xff\xfe",
    b"\0",
)


def write(folder, name, content=None):
    ending, text = FORMATS[name]
    path = folder / f"slide{ending}"
    path.write_bytes(text().encode() if content is None else content)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_outline_is_the_same_area_in_every_format(name, tmp_path):
    expected = read_areas(write(tmp_path, "asap"))
    areas = read_areas(write(tmp_path, name), None, FRAME)
    assert expected.tumour.area == 400 * 300 - 100**2 + 128**2
    assert areas.tumour.symmetric_difference(expected.tumour).area == pytest.approx(0, abs=1e-6)
    assert {kind: sum(names.values()) for kind, names in areas.understood.items()} == {
        "anomaly": 2,
        "hole": 1,
    }


def mutated(content, numbers):
    """`content` with one to three changes: bytes, runs, numbers, values and tokens swapped, doubled, dropped or made extreme."""
    for _ in range(numbers.randint(1, 3)):
        start = numbers.randrange(len(content) or 1)
        stop = min(len(content), start + numbers.choice((1, 1, 4, 30, 200)))
        choice = numbers.randrange(6)
        tokens = list(re.finditer(rb'-?\d+(?:\.\d+)?|"[^"]*"|<[^>]*>', content))
        if choice == 0:
            content = content[:start] + bytes([numbers.randrange(256)]) + content[start + 1 :]
        elif choice == 1:
            content = content[:start] + content[stop:]
        elif choice == 2:
            content = content[:stop] + content[start:stop] + content[stop:]
        elif choice == 3:
            content = content[:start]
        elif tokens:
            token = numbers.choice(tokens)
            other = numbers.choice(EXTREMES) if choice == 4 else numbers.choice(tokens)[0]
            content = content[: token.start()] + other + content[token.end() :]
    return content


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_is_done_to_a_file_gives_areas_or_a_refusal(name, tmp_path):
    whole, numbers = write(tmp_path, name).read_bytes(), random.Random(f"outlines {name}")
    refusals, areas = [], []
    for _ in range(MUTATIONS):
        path = write(tmp_path, name, mutated(whole, numbers))
        try:
            areas.append(read_areas(path, None, FRAME))
        except InputError as error:
            refusals.append(str(error))
    assert all(isinstance(one, Areas) and not one.tumour.is_empty for one in areas)
    assert all("slide" in one and not re.search(r"(Error|Exception)\W*$", one) for one in refusals)
    assert len(areas) > 10
    assert len(refusals) > 500


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_short_is_never_one_without_lesions(name, tmp_path):
    whole = write(tmp_path, name).read_bytes()
    for length in range(len(whole)):
        path = write(tmp_path, name, whole[:length])
        with pytest.raises(InputError):
            read_areas(path, None, FRAME)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "camelyon16"])
def test_a_class_that_is_not_known_is_asked_about_in_every_format(name, tmp_path):
    path = write(tmp_path, name, FORMATS[name][1](group="DCIS").encode())
    with pytest.raises(InputError, match=r"[23] of 'DCIS'.*--outline-class"):
        read_areas(path, None, FRAME)
    expected = read_areas(write(tmp_path, "asap", asap().encode())).tumour
    path = write(tmp_path, name, FORMATS[name][1](group="DCIS").encode())
    assert read_areas(path, {"dcis": "anomaly"}, FRAME).tumour.symmetric_difference(expected).area < 1e-6
