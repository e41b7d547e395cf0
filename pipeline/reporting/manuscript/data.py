"""Which items there were, what was done to them, and what each was used for, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.reporting.manuscript.citations import References
from esad.pipeline.reporting.manuscript.words import counted, listed, number, percent
from esad.pipeline.runs.run_folder import input_settings
from esad.pipeline.runs.split_overlap import overlap_sentence
from esad.preprocessing.store.kinds import ROWS

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.settings.config import RunSettings

ITEMS = {
    "tiles": "tile",
    "radiographs": "radiograph",
    "images": "image",
    "table": "row",
    "embeddings": "embedding",
}
STAINS = {
    "vahadane": "by Vahadane's method with a deterministic solver",
    "vahadane-dpa": "by the variant of Vahadane's method that Shvetsova and others published",
    "staintools": "by Vahadane's method as StainTools has it",
}


def archive_sentences(store: Mapping[str, Any], cite: References) -> list[str]:
    """What an item is and how it was made; `store` is config.yaml's section."""
    kind, shape, own = store["kind"], store["shape"], store["settings"]
    known = {**own, **input_settings(kind, own)}
    sentences = _published(own, cite)
    if kind == "table":
        return [*sentences, *_rows(known, shape[0])]
    if kind == "embeddings":
        return [*sentences, *_vectors(known, shape[0])]
    height, width, channels = shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    sentences.append(f"Items are {kind} of {width} x {height} pixels ({colour}, 8 bits a channel).")
    return sentences + {"tiles": _tiles, "radiographs": _radiographs, "images": _images}[kind](known, cite)


def _published(own: Mapping[str, Any], cite: References) -> list[str]:
    """The published set and its protocol, where the store was made by one."""
    from esad.data_manifests.loader import load_manifest, manifest_names

    protocol = str(own.get("protocol") or ("camelyon16" if own.get("tile_list") else ""))
    name = protocol.partition("-")[0]
    if name not in manifest_names():
        return []
    manifest = load_manifest(name)
    return [f"The data are {manifest.title} under the protocol {protocol}{cite(*manifest.citations)}."]


def _tiles(own: Mapping[str, Any], cite: References) -> list[str]:
    scale = None
    if own.get("mpp"):
        scale = f"{own['mpp']:g} µm a pixel"
    elif own.get("magnification"):
        times = own["magnification"]
        scale = (
            f"a magnification of {times:g} ({10 / times:g} µm a pixel, or the slide's own level within 15 %)"
        )
    sentences = [f"Slides were cut at {scale}"] if scale else ["Slides were cut"]
    step = own.get("step")
    apart = f", {step} pixels apart" if step and step != own.get("tile_size") else ", without overlap"
    if own.get("protocol") or own.get("tile_list"):
        sentences[0] += " into the tiles that the published set states."
    else:
        least = own.get("min_tissue")
        sentences[0] += apart + (
            f"; tiles with less than {percent(least)} of tissue were left out." if least else "."
        )
        if own.get("min_sharpness"):
            sentences.append(f"Tiles of a sharpness below {own['min_sharpness']:g} were left out as blurred.")
    stain = own.get("stain")
    if stain in STAINS:
        target = "the target built into esad" if own.get("stain_target") is None else "a target of our own"
        per = own.get("stain_scope") or "slide"
        sentences.append(
            f"Stains were normalised {STAINS[stain]}{cite('vahadane', *(['dpa'] if stain == 'vahadane-dpa' else []))}, fitted on "
            f"each {per}, to {target}."
        )
    elif stain == "none":
        sentences.append("Stains were not normalised.")
    return sentences + _outlines(own)


def _outlines(own: Mapping[str, Any]) -> list[str]:
    labels = own.get("labels") or {}
    if not own.get("annotations") or not labels:
        return []
    least = float(labels.get("min_fraction", 1.0))
    inside = "wholly" if least == 1 else f"with at least {percent(least)} of its area"
    without = "count as normal" if labels.get("without_outlines", "normal") == "normal" else "have no label"
    return [
        f"A tile {inside} inside outlines of anomalies is an anomaly, one that they do not touch is normal, and those between have no "
        f"label; tiles of slides without outlines {without}."
    ]


def _radiographs(own: Mapping[str, Any], _: References) -> list[str]:
    size = own.get("size")
    to = f" to {size} x {size} pixels" if size else ""
    if own.get("resizing") == "resize300":
        sentences = [
            f"Radiographs were resized to 300 x 300 pixels, cropped to the central 224 and resized{to}, both times bilinearly."
        ]
    elif own.get("crop"):
        sentences = [
            f"Of each radiograph the central square of {percent(own['crop'])} of the shorter side was reduced by area means{to}."
        ]
    else:
        sentences = []
    if own.get("equalise"):
        sentences.append("Histograms were equalised.")
    if own.get("projection") in {"PA", "AP"}:
        sentences.append(f"Only {own['projection']} projections were kept.")
    return sentences


def _images(own: Mapping[str, Any], _: References) -> list[str]:
    size = own.get("size")
    return [f"Images were resized to {size} x {size} pixels."] if size else []


def _rows(own: Mapping[str, Any], columns: int) -> list[str]:
    missing = {
        "drop": " Rows with missing cells were left out.",
        "median": " Missing cells were filled with the medians of the training rows.",
    }.get(str(own.get("missing")), "")
    return [
        f"Items are rows of a table with {counted(columns, 'numeric column')}. Each column was scaled to [0, 1] by its smallest and "
        f"largest value in the training rows.{missing}"
    ]


def _site_sentences(settings: RunSettings, item: str) -> list[str]:
    """How sites were kept apart."""
    data, tests, validates = settings.data, settings.data.site or [], settings.data.validation_site or []
    held = (
        f"those of {_sites(validates)} to validate"
        if validates
        else f"of the other sites {percent(data.validation_share)} of the groups to validate"
    )
    return [
        f"All labelled {item}s of {_sites(tests)} were held out to test, {held}; {item}s of the other sites trained. Items of one group (a "
        "patient or a slide) that occurs on both sides were left out of training."
    ]


def _sites(names: Sequence[str]) -> str:
    return f"the site{'s' if len(names) > 1 else ''} {listed([*names])}"


def _vectors(own: Mapping[str, Any], columns: int) -> list[str]:
    made = (
        f" made by {own['encoder']}"
        if own.get("encoder")
        else " made by an encoder that the store does not name"
    )
    return [
        f"Items are vectors of {counted(columns, 'number')}{made}. Each number was scaled to [0, 1] by its smallest and largest value "
        "in the training items."
    ]


def picture_sentences(settings: RunSettings, store: Mapping[str, Any], applied: set[str]) -> list[str]:
    """How a stored picture goes into the network; `applied` are the settings that have an effect."""
    if store["kind"] in ROWS:
        return []
    sentences = ["Pixel values were scaled to [0, 1]"]
    if "network.channels" in applied and settings.network.channels == 3 and store["shape"][2] == 1:
        sentences[0] += " and repeated as three channels"
    sentences[0] += "."
    crop, flip = settings.data.crop, settings.data.flip
    mirrored = {"horizontal": "from left to right", "both": "in both directions"}
    if "train.batch_size" in applied and flip in mirrored:
        sentences.append(f"In training, items were mirrored {mirrored[flip]} at random.")
    if crop and "train.batch_size" in applied:
        sentences.append(f"In training, items were cropped to {crop} x {crop} pixels at random places.")
    if crop:
        sentences.append(f"The central {crop} x {crop} pixels were scored.")
    return sentences


def split_sentences(
    settings: RunSettings, provenance: Mapping[str, Any], assignments: pd.DataFrame, kind: str
) -> list[str]:
    """How many items trained, were held out and tested, and by which rule."""
    data, item = settings.data, ITEMS[kind]
    trained = assignments.loc[assignments["part"] == "train", "semi_label"]
    unlabelled, anomalies, normals = (int((trained == value).sum()) for value in (0, -1, 1))
    counts = assignments["part"].value_counts()
    held, tested = int(counts.get("validation", 0)), int(counts.get("test", 0))
    labelled = [
        counted(anomalies, "labelled anomaly", "labelled anomalies"),
        *([counted(normals, f"labelled normal {item}")] if normals else []),
    ]
    sentences = []
    if data.where:
        kept = listed([f"{name} = {value}" for name, value in data.where.items()])
        sentences.append(f"Only {item}s with {kept} were used.")
    if data.normal_classes is not None:
        sentences.append(f"Normal classes: {', '.join(map(str, data.normal_classes))}.")
    kept = (
        f"{number(held)} were held out for reference scores and choices, {number(tested)} to test"
        if held
        else f"none was held out, so that reference scores are those of items that trained, and {number(tested)} were kept to test"
    )
    sentences.append(
        f"Training used {counted(unlabelled, f'unlabelled {item}')}, taken to be mostly normal, and {listed(labelled)}; {kept}."
    )
    overlap = provenance.get("overlap")
    if overlap:
        sentences.append(overlap_sentence(overlap))
    elif data.split == "clean":
        sentences.append(
            f"Items of one group (a patient or a slide) are in one part; where the archive does not state the part, "
            f"{percent(data.test_share)} were drawn to test, and {percent(data.validation_share)} of the others "
            f"were {'' if held else 'to be '}held out."
        )
    elif data.split == "leave-site-out":
        sentences += _site_sentences(settings, item)
    if data.site_normalisation != "none":
        sentences.append(
            "Grey levels of each site were mapped piecewise linearly, by the 1st, 10th, 20th to 90th and 99th percentiles of its "
            "unlabelled and normal training items, to the means of these percentiles over the training sites; a site that training did "
            "not have was mapped by its own items, whose labels were not used."
        )
    if data.labelled_classes is not None:
        sentences.append(
            f"Labelled anomalies are of the classes {', '.join(map(str, data.labelled_classes))}."
        )
    elif data.k_l is not None:
        sentences.append(
            f"Labelled anomalies are of {counted(data.k_l, 'class', 'classes')}, drawn at random."
        )
    if data.labelled == "ratio":
        sentences.append(
            f"Labelled anomalies were drawn to be {percent(data.gamma_l)} of the training items."
        )
    elif data.labelled != "all":
        sentences.append(f"{counted(data.labelled, 'labelled anomaly', 'labelled anomalies')} were drawn.")
    if data.gamma_p:
        sentences.append(f"Of the unlabelled training items {percent(data.gamma_p)} are anomalies.")
    return sentences
