"""labelme's JSON of one image, and COCO's JSON of many; both are of one picture's pixels, which must be level 0.

labelme: shapes (label, shape_type, points), imageWidth, imageHeight (github.com/wkentaro/labelme). COCO: images, annotations,
categories (cocodataset.org/#format-data). Neither says of which level of a slide it is: the size does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from esad.preprocessing.slides.outlines.areas import Outline
from esad.preprocessing.slides.outlines.frame import SlideFrame, same_name
from esad.preprocessing.slides.outlines.geometry import (
    corners_of,
    ellipse,
    json_number,
    mark,
    polygon,
    rectangle,
)

MARK_TYPES = ("point", "points", "line", "linestrip")


def is_labelme(content: dict[str, Any]) -> bool:
    """Whether a JSON object is labelme's."""
    return "shapes" in content and bool({"imageWidth", "imageHeight", "imagePath"} & set(content))


def is_coco(content: Any) -> bool:
    """Whether a JSON is COCO's."""
    return isinstance(content, dict) and all(
        isinstance(content.get(part), list) for part in ("images", "annotations")
    )


def _check_size(stated: tuple[Any, Any], what: str, frame: SlideFrame | None) -> None:
    if frame is None:
        raise ValueError(f"{what} states a size that must be the slide's, and the slide is not known")
    if any(isinstance(side, bool) or not isinstance(side, int | float) for side in stated):
        raise ValueError(f"{what} does not state its width and height in pixels")
    if tuple(stated) != tuple(frame.size):
        raise ValueError(
            f"{what} is {stated[0]} x {stated[1]}, the slide {frame.size[0]} x {frame.size[1]}: outlines of a smaller picture "
            "are not enlarged. Expected coordinates in level-0 pixels"
        )


def labelme_outlines(content: dict[str, Any], frame: SlideFrame | None) -> Iterator[Outline]:
    """Each shape; ValueError where the image is not of the slide's size, for a mask, and for types that are not known."""
    _check_size((content.get("imageWidth"), content.get("imageHeight")), "its image", frame)
    shapes = content["shapes"]
    if not isinstance(shapes, list):
        raise ValueError("its shapes are no list")
    for shape in shapes:
        label = shape["label"]
        if not isinstance(label, str):
            raise ValueError("a label is not a text")
        yield Outline(label.strip(), _labelme_shape(shape))


def _labelme_shape(shape: dict[str, Any]) -> BaseGeometry:
    kind, corners = shape.get("shape_type") or "polygon", corners_of(shape["points"])
    if kind == "polygon":
        return polygon([corners])
    if kind == "rectangle" and len(corners) >= 2:
        return polygon([rectangle(corners)])
    if kind == "circle" and len(corners) == 2:
        return polygon([ellipse(corners[0], np.full(2, np.hypot(*(corners[1] - corners[0]))))])
    if kind in MARK_TYPES:
        return shapely.MultiPoint(corners) if kind == "points" else mark(corners)
    if kind == "mask":
        raise ValueError("a shape that is a mask, which is not read. Turn it into a polygon")
    raise ValueError(f"a shape of type {str(kind)[:20]!r} with {len(corners)} points, which is not known")


def _stem(image: dict[str, Any]) -> str:
    """Lower-case stem of a COCO image's file name, on any system."""
    name = image["file_name"]
    if not isinstance(name, str):
        raise ValueError("an image's file_name is not a text")
    return PurePosixPath(name.replace("\\", "/")).stem.lower()


def coco_stems(content: dict[str, Any]) -> list[str]:
    """Lower-case stems of the images that a COCO file is about; ValueError for an image without a name."""
    if not all(isinstance(image, dict) and "file_name" in image for image in content["images"]):
        raise ValueError("an image without file_name")
    return [_stem(image) for image in content["images"]]


def coco_outlines(content: dict[str, Any], frame: SlideFrame | None) -> Iterator[Outline]:
    """Each annotation of the image that has the slide's stem; none at all says that the slide is empty.

    A crowd (iscrowd) holds lesions somewhere: it is ignored where its class is a lesion. ValueError for masks (RLE), images of
    another size, and annotations whose image or category is not listed.
    """
    if frame is None or not frame.name:
        raise ValueError("it is about several images, and the slide is not known")
    stems = coco_stems(content)
    own, name = frame.name.lower(), same_name(frame.name)
    alike = own if own in stems else next((stem for stem in stems if same_name(stem) == name), own)
    mine = [image for image, stem in zip(content["images"], stems, strict=True) if stem == alike]
    if len(mine) != 1:
        first = f" (first: {stems[0][:60]!r})" if stems else ""
        raise ValueError(f"{len(mine)} of its {len(stems)} images{first} have the slide's name; expected one")
    _check_size((mine[0].get("width"), mine[0].get("height")), "its image of this name", frame)
    names = _by_id(content.get("categories", []), "category")
    images = _by_id(content["images"], "image")
    for annotation in content["annotations"]:
        if annotation["image_id"] not in images:
            raise ValueError("an annotation of an image that is not listed")
        if annotation["image_id"] == mine[0]["id"]:
            if annotation["category_id"] not in names:
                raise ValueError("an annotation of a category that is not listed")
            yield _coco_outline(annotation, str(names[annotation["category_id"]]["name"]).strip())


def _by_id(entries: Iterable[dict[str, Any]], what: str) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for entry in entries:
        key = entry["id"]
        if isinstance(key, bool) or not isinstance(key, int | str) or key in found:
            raise ValueError(f"two {what} entries of one id, or an id that is none")
        found[key] = entry
    return found


def _coco_outline(annotation: dict[str, Any], group: str) -> Outline:
    crowd, parts = annotation.get("iscrowd", 0), annotation.get("segmentation")
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd is {str(crowd)[:20]!r}; expected 0 or 1")
    if isinstance(parts, dict | str):
        raise ValueError("a segmentation that is a mask (RLE), which is not read. Export polygons")
    if parts:
        shape = shapely.union_all([polygon([_flat(part)]) for part in parts])
    else:
        left, top, width, height = (json_number(side) for side in annotation["bbox"])
        if width < 0 or height < 0:
            raise ValueError("a bbox of negative size")
        shape = polygon([rectangle(np.array([(left, top), (left + width, top + height)]))])
    return Outline(group, shape, as_tumour="ignored" if crowd else "tumour")


def _flat(part: Any) -> np.ndarray:
    """float64 (N, 2) of [x, y, x, y, ...]."""
    if not isinstance(part, list) or len(part) % 2:
        raise ValueError("a segmentation is not a list of x, y, x, y, ...")
    return np.array([json_number(value) for value in part], dtype=float).reshape(-1, 2)
