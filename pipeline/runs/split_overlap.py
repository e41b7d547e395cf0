"""The overlap of a run's published split, as its provenance.json has it, and in words."""

from __future__ import annotations

from pathlib import Path

from esad.pipeline.runs.run_files import read_provenance


def split_overlap(run: Path) -> dict[str, float] | None:
    """Shares of the test part, in [0, 1], that training saw (`esad.preprocessing.splits.published_split.overlap`).

    None for a run with a clean split, and for a run that is no longer there.
    """
    return read_provenance(run).get("overlap") if (run / "provenance.json").is_file() else None


def overlap_sentence(shared: dict[str, float]) -> str:
    """What the published split shares, for people."""
    return (
        f"The split is Deep SAD's published one: {shared['normals_trained_on']:.0%} of the test normals were trained on, "
        f"{shared['anomalies_labelled']:.1%} of the test anomalies were labelled in training."
    )
