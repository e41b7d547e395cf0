"""`esad plan ARCHIVE` as a user drives it: what it predicts is what `esad tile` makes, and no bad slide stops it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tifffile

from esad.pipeline.cli.app import call
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.slides.archive_plan import _duration, staintools_time
from esad.pipeline.slides.cutting import slide_task
from esad.pipeline.slides.listing import list_slides
from esad.pipeline.tile import tile
from esad.preprocessing.slides.reading import Slide
from esad.preprocessing.store.store import Store
from tests.pipeline.test_tile import stained, write_slide


def planned(capsys, *words):
    """(exit status, the JSON object, what was said)."""
    status = call(["plan", *map(str, words), "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out), captured.err


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, side, mpp in (("a", 1000, 0.5), ("b", 830, 0.25), ("c", 700, 0.4), ("d", 512, 1.0)):
        write_slide(folder / f"{name}.tif", stained(side, len(name)), mpp)
    return folder


def tiles_made(folder, out, *words):
    assert call(["tile", str(folder), "--out", str(out), "--stain", "none", "--workers", "1", *words]) == 0
    return Store(out).manifest.groupby("source").size().to_dict()


def per_slide(summary, name):
    return {slide["source"]: slide[name] for slide in summary["per_slide"]}


@pytest.mark.parametrize(
    "words", [[], ["--mpp", "1.1", "--tile-size", "48", "--step", "20"], ["--magnification", "5"]]
)
def test_the_upper_bound_is_what_all_places_give(archive, tmp_path, capsys, words):
    status, summary, _ = planned(capsys, archive, *words, *(["--slide-mpp", "0.5"] if words else []))
    everything = tiles_made(archive, tmp_path / "all", "--set", "min_tissue=0", *words)
    assert status == 0
    assert per_slide(summary, "tiles_at_most") == everything
    assert summary["tiles_at_most"] == sum(everything.values())
    side = 48 if "--tile-size" in words else 64
    assert summary["gigabytes_at_most"] == round(sum(everything.values()) * side**2 * 3 / 1e9, 3)


def test_looking_at_overviews_gives_the_tiles_with_tissue(archive, tmp_path, capsys):
    status, summary, _ = planned(capsys, archive, "--look")
    made = tiles_made(archive, tmp_path / "out")
    assert status == 0
    assert per_slide(summary, "tiles_expected") == made
    assert 0 < summary["tiles_expected"] < summary["tiles_at_most"]
    assert summary["expected_from"] == "the slides' overviews"


def test_without_looking_no_overview_is_read_and_the_share_is_said(archive, capsys, monkeypatch):
    def thumbnail(*_):
        raise AssertionError("an overview was read")

    monkeypatch.setattr(Slide, "thumbnail", thumbnail)
    _, summary, said = planned(capsys, archive)
    assert per_slide(summary, "tiles_expected") == {
        source: round(0.2 * count) for source, count in per_slide(summary, "tiles_at_most").items()
    }
    assert "20% of all places, assumed" in said
    assert summary["seconds"] >= 4 / summary["workers"]  # a second a slide beside its tiles
    assert "Next: esad tile" in said


def test_what_cannot_be_used_is_listed_with_its_reason_and_stops_nothing(archive, capsys):
    (archive / "note.svs").write_text("no slide")
    write_slide(archive / "silent.tif", stained(512, 1), None)
    write_slide(archive / "coarse.tif", stained(512, 1), 3.0)
    write_slide(archive / "tiny.tif", stained(100, 1), 0.5)
    damaged = write_slide(archive / "damaged.tif", stained(1024, 1), 0.5)
    with tifffile.TiffFile(damaged) as file:
        page = file.pages[0]
        place, count = page.dataoffsets[10], page.databytecounts[10]  # row 2, column 2 of 4: the middle
    content = bytearray(damaged.read_bytes())
    content[place : place + count] = bytes(count)
    damaged.write_bytes(content)
    status, summary, said = planned(capsys, archive)
    assert status == 3
    assert {row["source"]: row["problem"] for row in summary["problems"]} == {
        "note.svs": "unreadable", "silent.tif": "no mpp", "coarse.tif": "too coarse", "tiny.tif": "too small",
        "damaged.tif": "unreadable level",
    }  # fmt: skip
    assert (
        "silent.tif: no mpp: the file does not say its microns per pixel; give them with --slide-mpp." in said
    )
    assert "coarse.tif: too coarse: the finest level has 3 um/px" in said
    assert (summary["slides"], summary["usable"]) == (9, 4)
    assert planned(capsys, archive, "--slide-mpp", 0.5)[1]["usable"] == 5


def test_readers_and_compressions_are_told_apart(archive, capsys):
    with tifffile.TiffWriter(archive / "lzw.tif") as file:
        file.write(
            stained(512, 2), tile=(256, 256), photometric="rgb", compression="lzw", metadata=None,
            resolution=(2e4, 2e4), resolutionunit="CENTIMETER",
        )  # fmt: skip
    _, summary, said = planned(capsys, archive)
    assert summary["readers"] == {"jpeg": 3, "openslide": 2}  # c.tif is reduced by no whole number
    assert summary["compressions"] == {"JPEG": 4, "LZW": 1}
    (row,) = (line for line in said.splitlines() if "LZW" in line)
    assert "openslide" in row
    levels = per_slide(summary, "levels")["b.tif"]
    assert [(level["width"], level["direct"], level["readable"]) for level in levels] == [
        (830, True, True),
        (208, True, True),
    ]
    assert per_slide(summary, "level")["b.tif"] == 1


def test_a_link_to_nothing_is_a_problem_of_the_plan_and_stops_nothing(archive, capsys):
    (archive / "gone.tif").symlink_to("nowhere")
    status, summary, said = planned(capsys, archive)
    assert (status, summary["usable"]) == (3, 4)
    (problem,) = summary["problems"]
    assert (problem["source"], problem["problem"]) == ("gone.tif", "unreadable")
    assert "gone.tif: unreadable: a link to a file that is not there" in said


@pytest.mark.data
def test_the_real_slides(data, capsys):
    status, summary, _ = planned(capsys, data / "slides")
    assert status == 3
    found = {row["source"]: row["problem"] for row in summary["problems"]}
    assert {"broken.svs": "unreadable", "unopenable.tiff": "unreadable"}.items() <= found.items()
    assert found["unreadable.svs"] == "unreadable level"
    assert found["kidney-48-5.tif"] == "no mpp"
    assert "boxes_1.dcm" not in per_slide(summary, "source")  # another part of boxes_0.dcm
    assert per_slide(summary, "tiles_at_most")["cmu-1-small-region.svs"] == 17 * 23
    assert per_slide(summary, "reader")["cmu-1-small-region.svs"] == "jpeg"
    assert per_slide(summary, "compression")["boxes_0.dcm"].startswith("JPEG Baseline")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one of them"),
        (["x", "--protocol", "nih-ap"], "one of them"),
        (["ABSENT"], "no such file or folder"),
        (["x", "--metadata", "m"], "go with --protocol"),
        (["x", "--mpp", "1", "--magnification", "10"], "give one of them"),
    ],
)
def test_wrong_use(words, told, capsys):
    assert call(["plan", *words]) == 2
    assert told in capsys.readouterr().err


def test_durations_are_said_in_words():
    assert [_duration(minutes) for minutes in (0.2, 3.4, 119, 150)] == [
        "less than a minute", "about 3 min", "about 119 min", "about 2.5 h"
    ]  # fmt: skip


def test_staintools_says_how_many_tiles_and_how_long_before_it_starts(archive, tmp_path, capsys, monkeypatch):
    """The count is the number of tiles of the same call without staintools; a store that is done is not counted again."""
    made = tiles_made(archive, tmp_path / "none")
    settings = TileSettings(stain="staintools")
    listing = list_slides([archive], settings, tmp_path / "out")
    task = slide_task(listing, 2)
    (told,) = staintools_time(task, listing.sources, tmp_path / "out", 2)
    assert (
        f"--stain staintools: {sum(made.values()):,} tiles of {len(listing.sources)} slides at about 1.0 s each"
        in told
    )
    assert "2 at a time: " in told
    assert staintools_time(task, listing.sources, tmp_path / "none", 2) == []
    other = replace(task, settings=TileSettings())
    assert staintools_time(other, listing.sources, tmp_path / "out", 2) == []

    class Begun(Exception):
        pass

    def begun(*_):
        raise Begun

    monkeypatch.setattr("esad.pipeline.ingest.units._plan", begun)
    with pytest.raises(Begun):
        tile([archive], settings, IngestOptions(tmp_path / "out"))
    assert "--stain staintools: " in capsys.readouterr().err
