"""What an item must be for a run to score it, in words: from the settings that its store was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esad.pipeline.runs.run_folder import input_settings


def input_contract(store: Mapping[str, Any], crop: int | None = None) -> list[str]:
    """A sentence each; `store` is config.yaml's section, `crop` the run's central crop in pixels."""
    kind, shape = store["kind"], store["shape"]
    own = input_settings(kind, store["settings"])
    if kind == "table":
        columns = store.get("columns")
        named = f": {', '.join(map(str, columns))}" if columns else ""
        return [
            f"A row of {shape[0]} numbers in the table's own units, in this order{named}. Scaling is inside."
        ]
    if kind == "embeddings":
        made = f"of {own['encoder']}" if own.get("encoder") else "of the same encoder as in training"
        return [f"A vector of {shape[0]} numbers {made}. Scaling is inside."]
    height, width, channels = shape
    colour = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    sentences = [f"A picture of {width} x {height} pixels, {colour}, 8 bits a channel, the right way up."]
    sentences += {"tiles": _tile, "radiographs": _radiograph, "images": _image}[kind](own)
    if crop and crop < min(height, width):
        sentences.append(f"Of it the central {crop} x {crop} pixels are scored; the crop is inside.")
    return sentences


def _tile(own: Mapping[str, Any]) -> list[str]:
    scale = f"{own['mpp']:g} um a pixel" if own["mpp"] else f"magnification {own['magnification']:g}"
    target = "the built-in target" if own["stain_target"] is None else "the target of the run's store"
    stain = (
        "as they are"
        if own["stain"] == "none"
        else f"normalised by {own['stain']}, per {own['stain_scope']}, to {target}"
    )
    return [f"A tile of a slide at {scale}; stains {stain}.", "`esad tile --like RUN` makes just these."]


def _radiograph(own: Mapping[str, Any]) -> list[str]:
    if own["resizing"] == "resize300":
        way = "resized to 300 pixels, its central 224 taken, resized"
    else:
        way = f"its central square of {own['crop']:g} of the shorter side, reduced by area means"
    evened = " The histogram is equalised." if own["equalise"] else ""
    return [
        f"A radiograph, bone bright: {way} to {own['size']} pixels.{evened}",
        "`esad radiographs --like RUN` makes just these out of PNG, JPEG and DICOM.",
    ]


def _image(own: Mapping[str, Any]) -> list[str]:
    return ["An image as the store has it; `esad images --like RUN` makes just these."]
