"""`esad evaluate RUN|SCORES`: AUC, average precision, hit rates and slides' figures, with intervals, in metrics.json.

Items that the run was trained on, or whose normals gave its reference scores, are never counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome


def command(
    path: Annotated[Path, typer.Argument(help="A RUN or a SCORES folder.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Outlines of lesions, named as their slides: gives the FROC.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Camelyon16's reference.csv (stem, Normal or Tumor): labels of slides."),
    ] = None,
    as_json: Json = False,
) -> Outcome:
    """Measure AUC, average precision, hit rates, and slides' AUC and FROC, with intervals by group."""

    def stage() -> Outcome:
        return evaluate(path, **given_only(annotations=annotations, reference=reference))

    return run_stage(stage, as_json)


def evaluate(path: Path, annotations: Path | None = None, reference: Path | None = None) -> Outcome:
    """Write metrics.json into the scores folder of `path` (a RUN or SCORES); the figures are the outcome's summary.

    figures_by.csv has a row for each projection and site. How unlike the normals of training the items are is measured, too, and said
    where the store is not the run's own. Of tiles, slides.csv has a row a slide, and with `annotations` (outline files with the slides'
    stems) froc.csv the points of the FROC curve. `reference` is Camelyon16's reference.csv: rows of stem and Normal or Tumor.
    Raises EsadError naming `esad score` where there are no scores. Without labels the figures are null.
    """
    import shlex

    from esad.pipeline.evaluation.metrics_file import write_metrics
    from esad.pipeline.evaluation.sentence import sentence
    from esad.pipeline.scoring.open_scores import open_scores
    from esad.pipeline.stage.lock import writing_to

    scores = open_scores(path)
    with writing_to(scores.root):
        target, content = write_metrics(scores, annotations, reference)
    following = shlex.join(["esad", "report", str(scores.root)])
    return Outcome(target, f"Wrote {target}: {sentence(content)}", following, summary=content)


if __name__ == "__main__":
    run_script(command)
