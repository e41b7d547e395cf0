"""A slide's results as DICOM objects: Microscopy Bulk Simple Annotations (PS3.3 A.87), and a Parametric Map (A.75) of its heat."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.annotating.candidate_shapes import CANDIDATE, COLOURS, HOLE, SUSPICIOUS, candidate_shapes
from esad.pipeline.annotating.heat_files import heat_of
from esad.pipeline.annotating.heat_raster import values_of
from esad.pipeline.annotating.scored_slides import MEASURED, ScoredSlide

if TYPE_CHECKING:
    from highdicom.ann import AnnotationGroup, MicroscopyBulkSimpleAnnotations
    from highdicom.pm import ParametricMap
    from pydicom import Dataset

SCHEME = "99ESAD"
TILE = "Scored tile"
CODES = {CANDIDATE: "candidate", HOLE: "hole", TILE: "tile"}
"""In SCHEME, which is ours: no code of a standard says what a model found unusual."""
SERIES = {"annotations": 910, "heat": 911}
"""Numbers of the series that results are in."""
NO_TILE = -1.0
"""The map's value where no tile is, and its padding value; percentiles are from 0 to 1."""
FRAME = 256
DESCRIPTION = {
    "annotations": "ESAD anomaly candidates, no diagnosis",
    "heat": "ESAD anomaly percentile, no diagnosis",
}


def bulk_annotations(slide: ScoredSlide, source: Dataset, model: str) -> MicroscopyBulkSimpleAnnotations:
    """Candidates as polygons and all tiles as rectangles, with their scores, in pixels of the source's total pixel matrix.

    A group without members is left out, and what has no candidates still has its tiles. The standard's polygons have no holes: those
    are a group of their own. `source` is what `referred` gives, `model` a digest.
    """
    from highdicom.ann import MicroscopyBulkSimpleAnnotations

    shapes = [
        (each, part) for each in candidate_shapes(slide.tiles[slide.suspicious]) for part in each.polygons()
    ]
    outer = [np.array(part.exterior.coords[:-1]) for _, part in shapes]
    holes = [np.array(hole.coords[:-1]) for _, part in shapes for hole in part.interiors]
    tops = [each.top for each, _ in shapes]
    of_tops = {name: [float(top[name]) for top in tops] for name in _measured(slide)}
    of_tops["tiles"] = [float(each.tiles) for each, _ in shapes]
    of_tiles = {name: slide.tiles[name].to_numpy(dtype=float) for name in _measured(slide)}
    groups: list[AnnotationGroup] = []
    for label, kind, data, values in (
        (CANDIDATE, "POLYGON", outer, of_tops),
        (HOLE, "POLYGON", holes, {}),
        (TILE, "RECTANGLE", _corners(slide.boxes()), of_tiles),
    ):
        if len(data):
            uid = _uid("group", model, source, label)
            groups.append(_group(len(groups) + 1, uid, label, kind, data, values, model))
    return MicroscopyBulkSimpleAnnotations(
        source_images=[source], annotation_coordinate_type="2D", annotation_groups=groups, pixel_origin_interpretation="VOLUME",
        content_label="ESAD", content_description="Anomaly candidates and tiles with their scores. No diagnosis.",
        **_equipment("annotations", source, model),
    )  # fmt: skip


def _measured(slide: ScoredSlide) -> list[str]:
    return [name for name in MEASURED if name in slide.tiles]


def _corners(boxes: np.ndarray) -> list[np.ndarray]:
    """The four corners of each box, clockwise from the top left: float64 (4, 2) each."""
    left, top, right, bottom = boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    return list(np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 4, 2))


def _group(
    number: int, uid: str, label: str, kind: str, data: list[np.ndarray], values: dict[str, Any], model: str
) -> AnnotationGroup:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.ann import AnnotationGroup, Measurements
    from highdicom.color import CIELabColor
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    made_by = AlgorithmIdentificationSequence(
        name="esad",
        family=codes.DCM.ArtificialIntelligence,
        version=version("esad"),
        parameters={"model": model},
    )
    lesion = label in (CANDIDATE, HOLE)
    category = codes.SCT.MorphologicallyAbnormalStructure if lesion else codes.SCT.SpatialAndRelationalConcept
    return AnnotationGroup(
        number=number, uid=uid, label=label, annotated_property_category=category,
        annotated_property_type=CodedConcept(CODES[label], SCHEME, label), graphic_type=kind,
        graphic_data=[each.astype(np.float32) for each in data], algorithm_type="AUTOMATIC",
        algorithm_identification=made_by, display_color=CIELabColor.from_rgb(*COLOURS.get(label, COLOURS[SUSPICIOUS])),
        measurements=[
            Measurements(CodedConcept(name, SCHEME, name.replace("_", " ")), np.asarray(each, dtype=float), codes.UCUM.NoUnits)
            for name, each in values.items()
        ] or None,
    )  # fmt: skip


def heat_map(slide: ScoredSlide, source: Dataset, model: str) -> ParametricMap:
    """The percentile of the tile at each pixel: float32, NO_TILE where none is, tiles of FRAME, over the whole pixel matrix.

    In the source's frame of reference: the map's pixels are larger, and the middle of the first lies where it does on the slide.
    """
    from highdicom import (
        PixelMeasuresSequence,
        PlaneOrientationSequence,
        PlanePositionSequence,
        VOILUTTransformation,
    )
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from highdicom.spatial import ImageToReferenceTransformer
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    grid, tiles = heat_of(slide, slide.whole)
    values = values_of(tiles, slide.tiles["percentile"].to_numpy(dtype=float))
    values[tiles < 0] = NO_TILE
    measures, stated = (
        source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0],
        source.TotalPixelMatrixOriginSequence[0],
    )
    spacing = [float(value) for value in measures.PixelSpacing]  # between rows, between columns
    orientation = [float(value) for value in source.ImageOrientationSlide]
    origin = [
        float(stated.XOffsetInSlideCoordinateSystem), float(stated.YOffsetInSlideCoordinateSystem),
        float(stated.get("ZOffsetInSlideCoordinateSystem", None) or 0),
    ]  # fmt: skip
    across, down = grid.pixel
    first = ImageToReferenceTransformer(origin, orientation, spacing)(np.array([[across / 2, down / 2]]))[0]
    depth = measures.get("SliceThickness")
    image = ParametricMap(
        source_images=[source], pixel_array=values, tile_pixel_array=True, tile_size=(FRAME, FRAME),
        dimension_organization_type="TILED_FULL", contains_recognizable_visual_features=False,
        pixel_measures=PixelMeasuresSequence(
            (spacing[0] * down, spacing[1] * across), None if depth is None else float(depth)
        ),
        plane_orientation=PlaneOrientationSequence("SLIDE", orientation),
        plane_positions=[PlanePositionSequence("SLIDE", first.tolist(), (1, 1))],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="percentile", lut_explanation="Percentile among normal tiles", unit=codes.UCUM.NoUnits,
                value_range=(0.0, 1.0), slope=1.0, intercept=0.0,
                quantity_definition=CodedConcept("percentile", SCHEME, "Percentile among normal tiles"),
            )
        ],
        content_label="ESAD", content_description=f"Percentile among normal tiles; {NO_TILE:g}: no tile. No diagnosis.",
        **_equipment("heat", source, model),
    )  # fmt: skip
    image.FloatPixelPaddingValue = NO_TILE
    return image


def _equipment(kind: str, source: Dataset, model: str) -> dict[str, Any]:
    """What both objects say of where they are from; their UIDs follow from the model and the source."""
    return {
        "series_instance_uid": _uid(f"{kind} series", model, source), "series_number": SERIES[kind],
        "sop_instance_uid": _uid(kind, model, source), "instance_number": 1, "manufacturer": "esad",
        "manufacturer_model_name": "esad", "software_versions": version("esad"), "device_serial_number": model,
        "series_description": DESCRIPTION[kind],
    }  # fmt: skip


def _uid(what: str, model: str, source: Dataset, more: str = "") -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[f"esad {what}", model, str(source.SOPInstanceUID), more]))
