"""A folder of pictures as MONAI's lists of data: the same pictures, labels and parts that `esad images` and `esad train` make.

Keys of an entry: `image` (path), `item_id`, `label` (0 normal, 1 anomaly; left out where it is not known) and, of training,
`semi_label` (+1, 0, -1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from esad.pipeline.settings.config import ImageSettings, RunSettings, resolve
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.pipeline.stage.progress import progress, say

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Part = Literal["train", "validation", "test", "all"]
MOST_NAMED = 5


class PictureFolder:
    """Class folders or a flat folder of pictures, each looked at once; parts are drawn where they are first asked for."""

    def __init__(
        self,
        folder: str,
        shape: Sequence[int],
        size: int | None = None,
        labels_file: str | None = None,
        classes: Mapping[str, Literal["normal", "anomaly"]] | None = None,
        where: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        """`shape` (H, W, C) that pictures must have, after they were resized to the square of side `size`, if given.

        `labels_file` is a CSV as `esad images --labels` takes, `classes` what its `--class` says, `where` its `--where`;
        `data` is a run's section of that name. UsageError for settings that are not there.
        """
        height, width, channels = (int(each) for each in shape)
        self.folder, self.shape = Path(folder), (height, width, channels)
        self.labels_file = Path(labels_file) if labels_file else None
        self.where = dict(where or {})
        layer = {
            "classes": dict(classes or {}),
            "size": size,
            "colour": "grey" if channels == 1 else "rgb",
        }
        self.images = resolve(ImageSettings, layer)
        self.settings = resolve(RunSettings, {"seed": seed, "data": dict(data or {})})
        if self.settings.data.split == "published":
            raise UsageError("data.split = published is for tables; leave it out.")

    def part(self, name: Part) -> list[dict[str, Any]]:
        """The entries of a part of the run's split; `all`: every labelled picture, for a folder that is new to the model.

        Raises UsageError for another name, EsadError where nothing is in it or the split cannot be drawn.
        """
        items = self._items[0]
        if name == "all":
            found = items[items["label"].notna()]
        elif name in ("train", "validation", "test"):
            found = self._assignments[self._assignments["part"] == name]
            found = found.merge(items[["item_id", "source"]], on="item_id", how="left")
        else:
            raise UsageError(f"part {name!r}: expected train, validation, test or all.")
        if found.empty and name != "validation":
            raise EsadError(f"{self.folder}: no picture with a label is in the part {name!r}.")
        return [self._entry(row, name) for row in found.to_dict("records")]

    def _entry(self, row: Mapping[Any, Any], part: Part) -> dict[str, Any]:
        import pandas as pd

        entry: dict[str, Any] = {"image": str(self._archive / row["source"]), "item_id": str(row["item_id"])}
        if not pd.isna(row["label"]):
            entry["label"] = int(row["label"])
        if part == "train":
            entry["semi_label"] = int(row["semi_label"])
        return entry

    @cached_property
    def _assignments(self) -> pd.DataFrame:
        from esad.pipeline.runs.items import assigned, selected
        from esad.preprocessing.store.contents import group_copies

        items, digests = self._items
        chosen, data = selected(items, self.settings.data.where), self.settings.data
        if data.copies_together:
            chosen = group_copies(chosen, lambda free: digests[chosen.index.to_numpy()[free]])
        return assigned(chosen, self.settings)

    @property
    def _archive(self) -> Path:
        path = self.folder.resolve()
        return path if path.is_dir() else path.parent

    @cached_property
    def _items(self) -> tuple[pd.DataFrame, np.ndarray]:
        """A store's manifest of the pictures, and a digest of each, uint64 (N, 2)."""
        import numpy as np
        import pandas as pd

        from esad.pipeline.conversion.columns import with_labels
        from esad.pipeline.runs.items import selected
        from esad.preprocessing.splits.labels import apply_labels, read_labels
        from esad.preprocessing.store.store import MANIFEST_TYPES, item_id, with_types

        labels = read_labels(self.labels_file) if self.labels_file else None
        rows, digests = self._usable()
        items = pd.DataFrame(rows).assign(shard=0, index=range(len(rows)))
        items["item_id"] = [item_id(source, "0") for source in items["source"]]
        twice = items["item_id"].duplicated(keep=False)
        items.loc[twice, "item_id"] = [item_id(source, "0", digits=16) for source in items["source"][twice]]
        items = with_labels(with_types(items, MANIFEST_TYPES), self.images)
        if labels is not None:
            items, unmatched = apply_labels(items, labels)
            if unmatched:
                say(
                    f"{self.labels_file}: {len(unmatched)} of {len(labels)} labels match no picture (first: {unmatched[0]})."
                )
        kept = selected(with_types(items, MANIFEST_TYPES), self.where)
        return kept.reset_index(drop=True), np.stack(digests)[kept.index.to_numpy()]

    def _describe(self, source: str) -> dict[str, str | None]:
        """The path of a picture, and `describe_path`; InputError, naming it, where its folders contradict each other."""
        from esad.preprocessing.images import describe_path

        try:
            return {"source": source, **describe_path(source, self._archive.name)}
        except InputError as error:
            raise InputError(f"{source}: {error}") from error

    def _usable(self) -> tuple[list[dict[str, str | None]], list[np.ndarray]]:
        """What the paths in the folder of the pictures that can be read say, sorted, and their digests; the others are said.

        EsadError where there is none, or one has another shape than the model's.
        """
        from esad.pipeline.conversion.image_folders import check_folders, without_masks
        from esad.pipeline.ingest.inputs import find_sources
        from esad.preprocessing.images import decode_apart, is_picture
        from esad.preprocessing.store.contents import content_digest

        _, sources = find_sources([self.folder], lambda path: is_picture(path.name))
        sources, told = without_masks(sources)
        images = self.images
        stated = bool(images.normal_value or images.anomaly_value or images.classes)
        told += check_folders(sources, named=True, stated=stated)
        kept, digests, refused = [], [], []
        with progress(f"pictures {self.folder.name}", len(sources)) as bar:
            for source in sources:
                bar.advance()
                try:
                    described = self._describe(source)
                    content = (self._archive / source).read_bytes()
                    pixels = decode_apart(content, source, self.images.size, _colour(self.shape)).pixels
                except OSError as error:
                    refused.append(f"{source}: cannot be read ({error.strerror}).")
                    continue
                except InputError as error:
                    refused.append(str(error))
                    continue
                self._check(source, pixels.shape)
                kept.append(described)
                digests.append(content_digest(pixels))
        for line in [*told, *(f"refused {reason}" for reason in refused[:MOST_NAMED])]:
            say(line)
        if len(refused) > MOST_NAMED:
            say(f"{len(refused)} pictures are refused.")
        if not kept:
            raise EsadError(
                f"{self.folder}: none of {len(sources)} pictures can be read; first reason: {refused[0]}"
            )
        return kept, digests

    def _check(self, source: str, shape: tuple[int, ...]) -> None:
        if shape != self.shape:
            (height, width, _), (tall, wide, _) = shape, self.shape
            raise EsadError(
                f"{source} is {width} x {height} pixels; this model takes {wide} x {tall}, prepared as "
                "configs/metadata.json says."
            )


def picture_files(path: str) -> list[str]:
    """The picture at `path`, or all those in the folder and its folders, sorted; UsageError where there is none."""
    from esad.preprocessing.images import is_picture

    place = Path(path)
    if place.is_file():
        return [path]
    if not place.is_dir():
        raise UsageError(f"{path}: no such file or folder.")
    found = sorted(each for each in place.rglob("*") if is_picture(each.name))
    if not found:
        raise UsageError(f"{path}: holds no picture.")
    return [str(each) for each in found]


def _colour(shape: tuple[int, int, int]) -> Literal["grey", "rgb"]:
    return "grey" if shape[2] == 1 else "rgb"
