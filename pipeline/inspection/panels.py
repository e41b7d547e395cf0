"""What a run sees in one item: its reconstruction, and where the score comes from, computed when a person asks for it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.inspection.subject import RunScores, Subject
from esad.pipeline.stage.errors import EsadError

if TYPE_CHECKING:
    from esad.pipeline.scoring.heat import HeatMaps
    from esad.pipeline.scoring.work import Opened

PANELS = ("input", "reconstruction", "contribution", "pixel_error")
KEPT = 64
CONTRIBUTION = "contribution"


class Panels:
    """The panels of one run, on the CPU; the first one takes seconds, since the model is loaded then."""

    def __init__(self, subject: Subject, run: RunScores) -> None:
        self._subject, self._run = subject, run
        self._kept: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._lock = Lock()
        self._model: tuple[Opened, HeatMaps] | None = None

    def of(self, row: int) -> dict[str, np.ndarray]:
        """Panels of an item by name, of PANELS those that the method has: input and reconstruction uint8 (H, W, C).

        Heat is float32 (H, W), the share of its colours, NaN where there is none (`heat_share`). EsadError where run or store are
        gone, or are of a table.
        """
        with self._lock:
            if row not in self._kept:
                self._kept[row] = self._computed(row)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(row)
            return self._kept[row]

    def frame(self) -> list[float]:
        """x, y, width, height of what panels show in the stored item, as shares of its sides: a run may crop."""
        opened, _ = self._opened()
        height, width = opened.store.shape[:2]
        crop = opened.run.settings.data.crop
        if not crop:
            return [0.0, 0.0, 1.0, 1.0]
        return [((width - crop) // 2) / width, ((height - crop) // 2) / height, crop / width, crop / height]

    def _opened(self) -> tuple[Opened, HeatMaps]:
        if self._model is None:
            from esad.pipeline.runs.run_folder import open_run
            from esad.pipeline.scoring.heat import HeatMaps
            from esad.pipeline.scoring.scores import score_weights
            from esad.pipeline.scoring.work import Opened

            if self._subject.store is None:
                raise EsadError(self._subject.store_told)
            if not self._subject.pictures:
                raise EsadError("Rows of numbers have no panels.")
            run = open_run(Path(self._run.scores.run))
            opened = Opened(run, self._subject.store, self._run.root, "cpu")
            maps = HeatMaps(
                opened.method, run.mean_normal, score_weights(run.settings.score.kind, run.normals)
            )
            self._model = (opened, maps)
        return self._model

    def _computed(self, row: int) -> dict[str, np.ndarray]:
        from esad.models.training.fit import score_batches
        from esad.pipeline.runs.items import as_needed
        from esad.pipeline.scoring.heat import FIRST_QUANTILE, HEAT_QUANTILE
        from esad.pipeline.scoring.overlays import heat_share

        opened, maps = self._opened()
        method, run = opened.method, opened.run
        chosen = np.array([row])
        _, x, terms = next(
            score_batches(
                method, as_needed(run.seen(opened.store)), chosen, opened.device, run.augmentation, 1
            )
        )
        found = {"input": _picture(method, x)}
        if "x_hat" in terms:
            found["reconstruction"] = _picture(method, terms["x_hat"])
        scales = run.scales if (run.root / "heat.json").is_file() else {}
        for name, values in maps.kinds(x, terms).items():
            known = scales.get(name, {})
            if FIRST_QUANTILE in known and HEAT_QUANTILE in known:
                scale = (known[FIRST_QUANTILE], known[HEAT_QUANTILE])
                found[name] = heat_share(values[0], scale).astype(np.float32)
        return found


def _picture(method: Any, x: Any) -> np.ndarray:
    """The first of scaled pictures, uint8 (H, W, C), padding cut off."""
    pixels = method.scaler.unpad(x)[0].permute(1, 2, 0).float().detach().cpu().numpy()
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)


def heat_picture(share: np.ndarray, picture: np.ndarray | None) -> np.ndarray:
    """Colours of a heat's shares over the grey of `picture` (H, W, C), as overlays have them: uint8 (H, W, 3).

    Without a picture uint8 (H, W, 4) with holes, to be laid over another one.
    """
    from esad.pipeline.scoring.overlays import heat_colours, painted

    if picture is not None:
        return painted(picture.mean(-1, keepdims=True).repeat(3, -1), share)
    out = np.empty((*share.shape, 4), np.uint8)
    out[..., :3] = heat_colours(np.nan_to_num(share), (0, 1))
    out[..., 3] = np.where(np.isnan(share), 0, 255)
    return out
