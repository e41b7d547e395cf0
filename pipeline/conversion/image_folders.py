"""What the folders of an archive of pictures say, seen over all of it: masks beside pictures, and names that can be two things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from esad.pipeline.stage.errors import EsadError, UsageError
from esad.preprocessing.images import is_picture, split_and_below
from esad.preprocessing.splits.labels import BESIDE_SPLIT, bare_folder
from esad.preprocessing.splits.two_values import CLASS_WORDS, NORMAL_WORDS, fold, says_anomaly

MASKS = ("ground_truth", "ground-truth", "ground truth", "groundtruth")
"""Folders of masks beside the pictures, as in MVTec AD (https://www.mvtec.com/company/research/datasets/mvtec-ad):
`train/good`, `test/hole`, `ground_truth/hole`."""
MASKS_OF_CLASS = ("gt", "mask", "masks", "seg", "segmentation", "segmentations")
"""Folders of masks where they lie within a class, as in MVTec 3D (`test/hole/gt`); above, they may be a class themselves."""
MASKS_OF_PICTURES = (*MASKS_OF_CLASS, "label", "labels", "annotation", "annotations")
"""Folders of masks where a picture of the same name lies above, or in a folder of IMAGES beside."""
IMAGES = BESIDE_SPLIT - {"seg", "set", "sets"}
MASK_OF_PICTURE = re.compile(
    r"(.+)[_-](?:masks?(?:[_-]\d+)?|gt|labels?|seg|segmentations?|annotations?|ground_?truth)", re.IGNORECASE
)
"""`benign (1)_mask.png` and `benign (1)_mask_1.png` beside `benign (1).png`, as in BUSI. `case_seg_1.png` may be a segment, cut out."""
CLASS_OR_SPLIT, ITS_OPPOSITE = "valid", ("invalid", "not_valid", "non_valid", "nonvalid")
"""A folder `valid` is the validation part, but beside one of these it is a class."""
MOST_NAMED = 4


def without_masks(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """(`sources` but for masks, what to say of these); EsadError where no other is there.

    Masks lie below a folder of MASKS, below one of MASKS_OF_CLASS within a class, in one of MASKS_OF_PICTURES where a picture of the same
    name is beside it, or are called after a picture beside them.
    """
    in_truth = {source for source in sources if any(part.lower() in MASKS for part in source.split("/")[:-1])}
    paths = [PurePosixPath(source) for source in sources]
    places = {(path.parent, path.stem) for path in paths}
    beside = {(path.parent.parent, path.stem) for path in paths if path.parent.name.lower() in IMAGES}

    def is_mask(source: str) -> bool:
        path, (_, below) = PurePosixPath(source), split_and_below(source)
        of_picture = MASK_OF_PICTURE.fullmatch(path.stem)
        stems = {path.stem, *([of_picture[1]] if of_picture else [])}
        if any(part.lower() in MASKS_OF_CLASS for part in below[1:]):
            return True
        if path.parent.name.lower() in MASKS_OF_PICTURES:
            return any((path.parent.parent, stem) in places | beside for stem in stems)
        return of_picture is not None and (path.parent, of_picture[1]) in places

    kept = [source for source in sources if source not in in_truth and not is_mask(source)]
    left = len(sources) - len(kept)
    if left and not kept:
        raise EsadError(f"all {left} pictures lie in {MASKS[0]}/ and are masks; name the folder above it.")
    where = (
        f"in {MASKS[0]}/"
        if len(in_truth) == left
        else "(below a class, or called as a picture beside them, such as NAME_mask)"
    )
    return kept, [f"{left} masks {where} are left out."] if left else []


def check_folders(sources: Sequence[str], named: bool, stated: bool = False) -> list[str]:
    """What to say of folders that are not read as classes, although they may be meant so; with their names where `named`.

    UsageError where a folder `valid` may be a class as well as a part, and, unless a person `stated` what classes are, where one would be
    of anomalies only because it lies beside a normal one, and holds what may be classes of its own.
    """
    if not stated:
        _check_two_classes(sources, named)
    folders = {PurePosixPath(source).parent for source in sources}
    everywhere = {
        (parent.parent, bare_folder(parent.name)) for one in folders for parent in (one, *one.parents)
    }
    for above, name in everywhere:
        if name == CLASS_OR_SPLIT and any((above, opposite) in everywhere for opposite in ITS_OPPOSITE):
            raise UsageError(
                f"a folder {CLASS_OR_SPLIT!r} lies beside one of the opposite name: it would be read as the validation part. Rename it, "
                "for example to 'good', or to 'validation' if that is what it is."
            )
    deeper: Counter[str] = Counter()
    lower = 0
    above_split: Counter[str] = Counter()
    for source in sources:
        split, below = split_and_below(source)
        if below and fold(below[0]) not in CLASS_WORDS:
            words = {part for part in below[1:] if fold(part) in CLASS_WORDS}
            deeper.update(words)
            lower += bool(words)
        elif split is not None and not below:
            above_split.update(PurePosixPath(source).parts[:-1][-2:-1])
    told = []
    if deeper:
        told.append(
            f"{lower} pictures lie in folders such as {_names(deeper)!r} below that of their class, which is the first folder: "
            "these say nothing. Give the folder above them as the archive, or labels with --labels."
        )
    above_split = Counter(
        {name: count for name, count in above_split.items() if fold(name) not in CLASS_WORDS}
    )
    if len(above_split) > 1:
        names = f" ({_names(above_split)})" if named else ""
        told.append(
            f"the folders above the parts{names} are not read as classes: these lie below, as in train/CLASS. Give labels with --labels."
        )
    return told


def _check_two_classes(sources: Sequence[str], named: bool) -> None:
    """UsageError where there are two classes, one of them normal, and the other one, outside of all parts, may be a part of the data:
    folders in it are called as classes are. Pictures in `phase2/normal` are no anomalies."""
    classes: dict[str, list[tuple[str, ...]]] = {}
    outside: list[tuple[str, ...]] = []
    for source in filter(is_picture, sources):
        split, below = split_and_below(source)
        if below:
            classes.setdefault(fold(below[0]), []).append(below)
        if split is None:
            outside.append(below)
    normal = [word for word in classes if word in NORMAL_WORDS]
    others = [word for word in classes if word not in CLASS_WORDS]
    if len(classes) != 2 or len(normal) != 1 or len(others) != 1:
        return
    called = classes[others[0]][0][0]
    other = [below for below in outside if below and fold(below[0]) == others[0]]
    words = Counter(part for below in other for part in below[1:] if fold(part) in CLASS_WORDS)
    if says_anomaly(called):  # `defects/bad`
        words = Counter({part: count for part, count in words.items() if fold(part) in NORMAL_WORDS})
    if not words:
        return
    name = repr(called) if named else "a folder"
    raise UsageError(
        f"{name} lies beside {classes[normal[0]][0][0]!r}, so that all in it would be anomalies, and there are folders in it "
        f"({_names(words)}). If it is a part of the data, call it 'test', 'validation' or 'train'; if they are classes, give the folder "
        f"above as the archive; if it is a class, say --class {called if named else 'NAME'}=anomaly."
    )


def _names(counted: Counter[str]) -> str:
    return ", ".join(name for name, _ in counted.most_common(MOST_NAMED))
