"""The trainer as an object: settings checked before anything is trained, handlers of MONAI, ignite or one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from esad.api import PathLike
    from esad.pipeline.runs.run_folder import Run
    from esad.pipeline.settings.config import RunSettings
    from esad.pipeline.training.engine import Handler
    from esad.preprocessing.store.store import Store


class Trainer:
    """Trains a detector on a STORE by a `monai.engines.Trainer`.

    `store` is the opened STORE, `settings` the resolved `RunSettings`, to be read, `handlers` a list that may be added to until
    `run`.
    """

    def __init__(
        self,
        store: PathLike | Store,
        settings: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
        handlers: Sequence[Handler] = (),
    ) -> None:
        """`settings`: dotted names, for example {"seed": 1, "train.epochs": 5, "selection.weights": "best"}, over those of
        `preset`: paper, cpu or demo; None = what works best here for the kind of data.

        `handlers` are attached to the engine after ours, in their order: `engine.network` is the method,
        `engine.state.iteration` the steps done, `engine.state.output["loss"]` the loss, of a logged step beside its terms.
        Raises UsageError for a wrong setting, EsadError where `store` is none.
        """
        from esad.api import _root, open_store
        from esad.pipeline.settings.presets import run_settings

        self.store = open_store(_root(store))
        self.preset, self._given = preset, dict(settings or {})
        self.settings: RunSettings = run_settings(self.store, preset, [self._given])
        self._checked = self.settings.model_dump()
        self.handlers: list[Handler] = list(handlers)

    @property
    def assignments(self) -> pd.DataFrame:
        """Which item would be for what: a row an item with item_id, part (train, validation, test), semi_label
        (-1: labelled anomaly, 0: unlabelled, +1: labelled normal) and label."""
        from esad.pipeline.runs.items import assignments_of

        return assignments_of(self.store, self.settings)

    def run(self, out: PathLike, *, force: bool = False) -> Run:
        """Train, or go on with what is at `out`: a RUN, opened.

        Raises EsadError where the data or settings give no model, `out` holds another run (without `force`), or a handler
        stopped the engine: then the same call goes on from the checkpoint. UsageError where `settings` was changed.
        """
        from pathlib import Path

        from esad.api import open_run
        from esad.pipeline.settings.config import first_difference
        from esad.pipeline.stage.errors import UsageError
        from esad.pipeline.train import train as stage

        changed = first_difference(self._checked, self.settings.model_dump())
        if changed:
            raise UsageError(
                f"Trainer.settings was changed ({changed}), which has no effect: give it to esad.Trainer(store, settings)."
            )
        done = stage(self.store.root, Path(out), self.preset, [self._given], force, handlers=self.handlers)
        return open_run(done.out)
