"""Which outline file is found for which slide."""

from __future__ import annotations

import json
import zipfile

import pytest

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.slides.outlines.finding import find_outlines, match_outlines
from esad.preprocessing.slides.outlines.reading import read_areas


def test_outlines_are_found_by_stem_in_sub_folders_whatever_the_case(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("Tumor_001.XML", "deep/tumor_002.GeoJson", "other.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    found = find_outlines(tmp_path, ["tumor_001", "TUMOR_002"])
    assert {stem: path.name for stem, path in found.items()} == {
        "tumor_001": "Tumor_001.XML", "tumor_002": "tumor_002.GeoJson"
    }  # fmt: skip
    (tmp_path / "tumor_001.json").write_text("{}")
    with pytest.raises(UsageError, match="both outline"):
        find_outlines(tmp_path, ["tumor_001"])
    assert set(find_outlines(tmp_path, ["other"])) == {"other"}


def test_a_second_suffix_that_is_a_slides_is_dropped_and_what_matches_no_slide_is_told(tmp_path):
    for name in ("A.ndpi.ndpa", "b.svs.xml", "c.ome.xml", "d.tif.json", "d_2.geojson", ".e.xml", "f.txt"):
        (tmp_path / name).write_text("{}")
    found = match_outlines(tmp_path, ["a", "B", "c.ome", "d.tif", "e", "f"])
    assert {stem: path.name for stem, path in found.files.items()} == {
        "a": "A.ndpi.ndpa", "b": "b.svs.xml", "c.ome": "c.ome.xml", "d.tif": "d.tif.json"
    }  # fmt: skip
    assert [path.name for path in found.others] == ["d_2.geojson"]
    (tmp_path / "a.xml").write_text("")
    with pytest.raises(UsageError, match="both outline"):
        match_outlines(tmp_path, ["a"])


def coco(*names):
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
            "annotations": [],
            "categories": [],
        }
    )


def test_a_coco_file_is_that_of_each_slide_that_it_names(tmp_path):
    (tmp_path / "export.json").write_text(coco("A.svs", "images\\B.tif", "elsewhere.svs"))
    (tmp_path / "d.json").write_text(coco("other.svs"))
    found = match_outlines(tmp_path, ["a", "b", "c", "d"])
    assert {stem: path.name for stem, path in found.files.items()} == {
        "a": "export.json", "b": "export.json", "d": "d.json"
    }  # fmt: skip
    assert found.others == ()
    assert set(find_outlines(tmp_path)) == {"a", "b", "elsewhere", "other"}
    (tmp_path / "a.xml").write_text("")
    with pytest.raises(UsageError, match="both outline"):
        match_outlines(tmp_path, ["a"])


def test_a_zip_that_cannot_be_read_is_not_a_folder_without_outlines(tmp_path):
    with zipfile.ZipFile(tmp_path / "outlines.zip", "w") as archive:
        archive.writestr("deep/a.xml", "<a/>")
    assert set(find_outlines(tmp_path)) == {"a"}
    content = (tmp_path / "outlines.zip").read_bytes()
    (tmp_path / "outlines.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"outlines\.zip: not a readable zip"):
        find_outlines(tmp_path)


def test_a_link_to_nothing_and_a_folder_of_an_outlines_name_are_found_and_refused(tmp_path):
    (tmp_path / "a.xml").symlink_to("nowhere")
    (tmp_path / "b.geojson").mkdir()
    (tmp_path / "c.xml").mkdir()
    (tmp_path / "c.xml" / "c.xml").write_text("<a/>")
    (tmp_path / "d.xml").symlink_to("d.xml")
    found = find_outlines(tmp_path, "abcd")
    assert found == {stem: tmp_path / f"{stem}.xml" for stem in "ad"} | {
        "b": tmp_path / "b.geojson", "c": tmp_path / "c.xml" / "c.xml"
    }  # fmt: skip
    for stem, told in (("a", "a link to a file that is not there"), ("b", "is a directory"), ("d", "link")):
        with pytest.raises(InputError, match=rf"{stem}\..*cannot be read \(.*{told}"):
            read_areas(found[stem])
    assert match_outlines(tmp_path, "z").others
    (tmp_path / "e.zip").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"e\.zip: not a readable zip"):
        find_outlines(tmp_path)


def test_files_of_a_slides_name_that_are_not_read_are_told_where_the_slide_has_no_other(tmp_path):
    for name in ("a.svg", "b.geojson.gz", "b.v2.csv", "C.qpdata", "d.txt", "d.xml", "e.tif", "e.md5", "f.svs.json.bak", "g",
                 "other.txt"):  # fmt: skip
        (tmp_path / name).write_text("")
    found = match_outlines(tmp_path, ["a", "b", "b.v2", "c", "d", "e", "f", "g"])
    assert {stem: path.name for stem, path in found.unread.items()} == {
        "a": "a.svg", "b": "b.geojson.gz", "b.v2": "b.v2.csv", "c": "C.qpdata", "f": "f.svs.json.bak", "g": "g"
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "h.zip", "w") as archive:
        archive.writestr("deep/h.svg", "")
    assert set(match_outlines(tmp_path, ["h"]).unread) == {"h"}


def test_names_that_differ_in_composition_blanks_or_ome_are_the_same(tmp_path):
    for name in ("om.geojson", "Tum\u00f6r.xml", "lead .xml", "both.xml", "qp.ome.xml"):
        (tmp_path / name).write_text("<a/>")
    (tmp_path / "export.json").write_text(coco("Gef\u00e4\u00df.ome.tif"))
    stems = ["om.ome", "tumo\u0308r", "lead", "both", "both.ome", "qp", "gefa\u0308\u00df"]
    found = match_outlines(tmp_path, stems)
    assert set(found.files) == set(stems) - {"both.ome"}
    assert found.others == ()
    with pytest.raises(UsageError, match="may be of"):
        match_outlines(tmp_path, ["om ", " om"])


@pytest.mark.parametrize(
    ("slide", "name"),
    [
        ("s1", "s1 (1).xml"),
        ("s1", "s1 - Copy.xml"),
        ("s1", "s1_HE.xml"),
        ("s1", "Annotations_S1.geojson"),
        ("s1", "s1.svs (1).json"),
        ("s 1", "s_1.xml"),
        ("tcga-a1-dx1.4f3a2b", "TCGA-A1-DX1.xml"),
        ("case_7.ome", "case-7-export.geojson"),
    ],
)
def test_an_outline_file_of_nearly_a_slides_name_leaves_it_without_label(tmp_path, slide, name):
    (tmp_path / name).write_text("<a/>")
    found = match_outlines(tmp_path, [slide, "other", "s10", "s", "1x", "case_70"])
    assert (found.files, found.unread) == ({}, {slide: tmp_path / name})
    assert found.others == (tmp_path / name,)
    (tmp_path / f"{slide}.xml").write_text("<a/>")
    assert match_outlines(tmp_path, [slide, "other"]).unread == {}


@pytest.mark.parametrize("name", ["s10.xml", "xs1.xml", "s1b.xml", "notes.json", "TCGA-A1-DX.xml", "_.xml"])
def test_an_outline_file_of_another_name_leaves_slides_alone(tmp_path, name):
    (tmp_path / name).write_text("<a/>")
    assert match_outlines(tmp_path, ["s1", "tcga-a1-dx1.4f3a2b", "a"]).unread == {}


def test_of_slides_that_a_name_contains_it_is_that_of_the_longest_and_what_begins_with_it_is_all_meant(
    tmp_path,
):
    (tmp_path / "s1_2 (1).xml").write_text("<a/>")
    (tmp_path / "p7.xml").write_text("<a/>")
    assert set(match_outlines(tmp_path, ["s1", "1", "s1_2", "p7_a", "p7_b", "p70"]).unread) == {
        "s1_2",
        "p7_a",
        "p7_b",
    }


@pytest.mark.parametrize(
    ("slides", "name", "meant"),
    [
        ([f"case_{n}_slide_{m}" for n in range(10) for m in range(10)], "case.xml", 100),
        ([f"case_1_slide_{m}" for m in range(4)], "case_1.xml", 4),
        (["1", "2", "3"], "project_2.xml", 1),
        (["001", "002"], "patient_001_node_2.xml", 1),
        (["he", "ihc"], "project_HE.xml", 1),
        (["he", "ihc"], "project_IHC.xml", 1),
        (["12", "13"], "12_3.xml", 1),
        (["s1"], "a_b_s1.xml", 1),
        (["s1"], "s1_a_b_c.xml", 1),
        (["s1", "s10"], "s01.xml", 1),
        (["s1", "s10"], "S1HE.xml", 1),
        (["slide1", "slide10"], "slide-1.xml", 1),
        (["slide-01"], "slide1.xml", 1),
        (["s1", "s2"], "other.xml", 0),
        (["s1", "s2"], "s10.xml", 0),
    ],
)
def test_a_name_that_may_mean_slides_takes_no_label_and_names_them(tmp_path, slides, name, meant):
    (tmp_path / name).write_text("<a/>")
    found = match_outlines(tmp_path, slides)
    assert (found.files, found.unread, found.others) == ({}, {}, (tmp_path / name,))
    assert [len(stems) for stems in found.vague.values()] == [meant] * bool(meant)
    for stem in slides:
        (tmp_path / f"{stem}.xml").write_text("<a/>")
    assert match_outlines(tmp_path, slides).vague == {}


@pytest.mark.parametrize("slides", [["ihc"], ["ihc", "he"]])
@pytest.mark.parametrize("name", ["ihc (1).xml", "annotations-IHC.xml"])
def test_a_slides_name_without_digits_is_meant_by_what_it_leads_and_behind_a_word_for_outlines(
    tmp_path, slides, name
):
    (tmp_path / name).write_text("<a/>")
    assert match_outlines(tmp_path, slides).unread == {"ihc": tmp_path / name}
