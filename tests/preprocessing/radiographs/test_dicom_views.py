"""The view: stated, coded, or one word; else unknown."""

from __future__ import annotations

import pydicom
import pytest

from esad.preprocessing.radiographs.dicom_views import (
    CONTRADICTS,
    OTHER_PART,
    VIEW_UNKNOWN,
    doubts_of,
    stated_view,
)


def dataset_of(elements):
    dataset = pydicom.Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def coded(value, scheme="SCT"):
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "any words, AP or PA"
    return {"ViewCodeSequence": [item]}


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "AP "}, "AP"),
        ({"ViewPosition": "AP SUPINE"}, "AP"),
        ({"ViewPosition": "p.a."}, "PA"),
        ({"ViewPosition": "ANTERO-POSTERIOR"}, "AP"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "RLD"}, "decubitus"),
        ({"ViewPosition": "LEFT LATERAL DECUBITUS"}, "decubitus"),
        ({"ViewPosition": "AP OBLIQUE"}, "oblique"),
        ({"ViewPosition": "PA", "SeriesDescription": "Chest AP"}, "PA"),
        ({"ViewPosition": "", "SeriesDescription": "Chest_AP"}, "AP"),
        ({"ViewPosition": "CHEST", **coded("399348003")}, "AP"),
        (coded("272479007"), "PA"),
        (coded("R-10206", "SRT"), "AP"),
        (coded("R-10214", "SRT"), "PA"),
        (coded("399173006"), "lateral"),
        (coded("399135007"), "oblique"),
        (coded("399033003"), None),
        ({**coded("399173006"), "SeriesDescription": "PA"}, "lateral"),
        ({"ProtocolName": "CHEST, PA"}, "PA"),
        ({"SeriesDescription": "PA and LAT"}, None),
        ({"SeriesDescription": "Chest PA", "ProtocolName": "Chest LAT"}, None),
        ({"SeriesDescription": "PAEDIATRIC CHEST"}, None),
        ({}, None),
        ({"PatientOrientation": ["A", "F"]}, "lateral"),
        ({"PatientOrientation": ["P", "F"]}, "lateral"),
        ({"PatientOrientation": ["L", "F"]}, None),
        ({"PatientOrientation": ["PA", "F"]}, None),
        ({"PatientOrientation": ["A", "F"], "ViewPosition": "PA"}, "PA"),
        ({"SeriesDescription": "Thorax seitlich"}, "lateral"),
    ],
)
def test_the_view_is_stated_coded_one_word_or_a_lateral_by_its_rows(elements, view):
    assert stated_view(dataset_of(elements)) == view


@pytest.mark.parametrize(
    ("elements", "doubts"),
    [
        ({"ViewPosition": "PA", "BodyPartExamined": "CHEST"}, ()),
        ({"ViewPosition": "", "BodyPartExamined": ""}, ()),
        ({"ViewPosition": "STANDING"}, (VIEW_UNKNOWN,)),
        ({"ViewPosition": "STANDING", "SeriesDescription": "Chest AP"}, ()),
        ({"BodyPartExamined": "HAND"}, (OTHER_PART,)),
        ({"BodyPartExamined": "CHEST_ABDOMEN"}, ()),
        ({"BodyPartExamined": "T-SPINE"}, ()),
        ({"ViewPosition": "PA and LAT"}, (VIEW_UNKNOWN,)),
        ({"BodyPartExamined": "Lower LEG", "ViewPosition": "XX"}, (VIEW_UNKNOWN, OTHER_PART)),
    ],
)
def test_what_is_not_understood_or_no_chest_is_noted(elements, doubts):
    assert doubts_of(dataset_of(elements)) == doubts


@pytest.mark.parametrize("name", ["ViewPosition", "SeriesDescription", "ProtocolName"])
@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("Thorax p.-a.", "PA"),
        ("a.-p.", "AP"),
        ("P-A", "PA"),
        ("P/A", "PA"),
        ("p. a.", "PA"),
        ("A \u2013 P", "AP"),
        ("p.a. 2 m", "PA"),
        ("CHEST_P-A_1", "PA"),
        ("Posterior-Anterior", "PA"),
        ("anterior posterior", "AP"),
        ("P\u00d3STERO-ANTERIOR", "PA"),
        ("ant\u00e9ro-post\u00e9rieure", "AP"),
        ("postero anteriore", "PA"),
        ("PA1", "PA"),
        ("AP2 bed", "AP"),
        ("lat\u00e9ral", "lateral"),
        ("Thorax p.-a./lat.", None),
        ("P-A/A-P", None),
        ("PA1 AP2", None),
        ("Posterior-Anterior, lateral", None),
        ("anterior, posterior", None),
        ("S.p.A.", None),
        ("SPA-1", None),
        ("T-P-A", None),
        ("M. P. A. 3", None),
        ("CHEST/A/P", None),
        ("C/A/P", None),
        ("P A", None),
        ("PA12", None),
        ("PA0", None),
        ("SPA1", None),
        ("R/L", None),
    ],
)
def test_views_are_known_as_people_write_them_and_nothing_else_is(name, text, view):
    dataset = dataset_of({name: text})
    assert stated_view(dataset) == view
    assert doubts_of(dataset) == ((VIEW_UNKNOWN,) if name == "ViewPosition" and view is None else ())


@pytest.mark.parametrize(
    ("photometric", "shape", "noted"),
    [
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME1", "INVERSE", False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "", False),
    ],
)
def test_a_presentation_against_the_photometric_interpretation_is_noted(photometric, shape, noted):
    stated = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    assert (CONTRADICTS in doubts_of(dataset_of(stated))) is noted
