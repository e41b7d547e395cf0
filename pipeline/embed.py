"""`esad embed STORE`: the tiles, radiographs or images of a store through a frozen encoder, to a store of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.settings.embeddings import EncoderSettings
from esad.pipeline.stage.command import run_script, run_stage, say_resume
from esad.pipeline.stage.options import Device, Force, Json, Out, Resume, Scheduler, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(EncoderSettings, "architecture", "size", "precision")
def command(
    store: Annotated[Path, typer.Argument(help="The STORE of tiles, radiographs or images.")],
    out: Out,
    encoder: Annotated[
        str, typer.Option(help="imagenet, or a file: FILE.onnx, or FILE.safetensors with --architecture.")
    ],
    given: dict[str, Any],
    layers: Annotated[
        list[str] | None, typer.Option(help="A layer whose mean is taken; repeatable, or several by commas.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean of values in [0, 1], one number or one a channel by commas.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Their standard deviation, one number or one a channel by commas.")
    ] = None,
    device: Device = None,
    scheduler: Scheduler = None,
    force: Force = False,
    resume: Resume = False,
    as_json: Json = False,
) -> Outcome:
    """Make a store of embeddings from a store of pictures."""

    def stage() -> Outcome:
        from esad.pipeline.embedding.encoder_options import encoder_settings

        settings = encoder_settings(given, layers, mean, scale)
        say_resume(out, force, resume)
        return embed(store, encoder, out, settings, device or "auto", force, scheduler)

    return run_stage(stage, as_json)


def embed(
    store: Path,
    encoder: str,
    out: Path,
    settings: EncoderSettings | None = None,
    device: str = "auto",
    force: bool = False,
    scheduler: str | None = None,
) -> Outcome:
    """Write the store of vectors (D,), float16 or float32, that a frozen `encoder` makes of the pictures of `store`, row by row.

    `encoder` is `imagenet` or a file. Labels, groups, parts, classes and places on slides are the source store's, and its
    settings, so that a run takes only what was made by the same encoder of items made alike. A shard is written as a whole: what
    was stopped goes on with those that are missing, on this machine or by the Dask workers of `scheduler`. Raises UsageError for a
    store without pictures and for an encoder that is not here or does not say what it needs, EsadError for other settings in
    `out` and for vectors that are not finite.
    """
    from esad.pipeline.embedding.embedded_store import (
        embed_outcome,
        embedded_settings,
        made_of,
        write_embedded,
    )
    from esad.pipeline.embedding.encoder_options import encoder_request
    from esad.pipeline.embedding.encoding import EmbedRequest, begin, embed_shards, opened_encoder, width_of
    from esad.pipeline.stage.cluster import perhaps_connected
    from esad.pipeline.stage.errors import UsageError
    from esad.pipeline.stage.lock import writing_to
    from esad.preprocessing.store.store import Store

    settings = settings or EncoderSettings()
    source = Store(store)
    if not source.pictures:
        raise UsageError(f"{store}: a store of {source.kind}; an encoder takes tiles, radiographs or images.")
    if out.resolve() == source.root.resolve():
        raise UsageError(f"--out {out}: is the store itself; choose another folder.")
    asked = encoder_request(encoder, settings)
    opened = opened_encoder(asked, device)
    kept = embedded_settings(source, opened, settings.precision)
    with writing_to(out):
        if begin(out, {"stage": "embed", "settings": kept, "made_of": made_of(source)}, force):
            return embed_outcome(source, out, opened, "Left alone (finished before)")
        width = width_of(opened, source, device)
        request = EmbedRequest(source.root.resolve(), out.resolve(), asked, device, width, settings.precision)
        with perhaps_connected(scheduler, out) as cluster:
            embed_shards(request, source, opened, cluster)
        write_embedded(source, out, kept, width, settings.precision, asked)
    return embed_outcome(source, out, opened, "Wrote")


if __name__ == "__main__":
    run_script(command)
