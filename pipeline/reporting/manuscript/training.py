"""Which method, network and training, in sentences: settings that have no effect on a run are not named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from esad.models.methods.readings import OUR_READING, READINGS
from esad.pipeline.reporting.manuscript.citations import ABOUT, References
from esad.pipeline.reporting.manuscript.words import counted, listed, number, percent

if TYPE_CHECKING:
    from esad.models.settings import NetworkSettings, OptimiserSettings
    from esad.pipeline.settings.config import RunSettings

DECODING, WITHOUT_DECODER = {"esad", "cae"}, {"supervised", "ss_dgm", "tlsad"}
"""Methods whose own training has the decoder that mirrors the encoder, and those that have none in a warm-up either."""
TOLD = {"loss.lambda1", "loss.lambda2", "loss.score_lambda1", "loss.labelled_weight"}
"""Settings of a section that is listed that ESAD's own sentences have."""
SCHEDULES = {
    "constant": "", "halve_at_quarters": ", halved at each quarter of the steps", "cosine": ", falling to 0 along a cosine",
}  # fmt: skip


def applied_settings(settings: RunSettings, kind: str) -> set[str]:
    """Dotted names of the model's settings that have an effect on a run on a store of `kind`."""
    from esad.models.ignored_settings import leaves
    from esad.models.settings import MethodSettings
    from esad.pipeline.settings.ignored import ignored_in_run

    return {*leaves(MethodSettings), "data.crop", "data.flip"} - set(ignored_in_run(settings, kind))


def method_sentences(settings: RunSettings, applied: set[str], versions: str, cite: References) -> list[str]:
    """The method, its citation, what it does, and what must be said of it; `versions` are esad's and its libraries'."""
    about = ABOUT[settings.method]
    name, works = about.name, about.works
    if settings.method == "anogan" and settings.anogan.search == "encoder":
        name, works = "f-AnoGAN", ("f_anogan",)
    sentences = [f"Anomalies were detected by {name}{cite(*works)}, as implemented in {versions}."]
    sentences.append(about.what)
    if settings.method == "esad":
        sentences += _esad(settings)
    if settings.method in READINGS:
        sentences.append(OUR_READING)
    if settings.method == "piad" and "piad.layer" in applied:
        sentences.append(
            f"Errors are those that a frozen EfficientNet-Lite0, trained on ImageNet, sees{cite('efficientnet')}."
        )
    return sentences


def _esad(settings: RunSettings) -> list[str]:
    """Whose norm it is, the weights of the loss, and how the score is made."""
    loss, second = settings.loss, settings.network.second_encoder
    weights = [f"{loss.lambda1:g} (norm)"]
    labelled = (
        ""
        if loss.labelled_weight == 1
        else f" Means over labelled items count {loss.labelled_weight:g} times."
    )
    if second:
        code = "The norm is that of a second encoder's code of the reconstruction, which is kept near the first code."
        weights.append(f"{loss.lambda2:g} (distance of the codes)")
    else:
        code = "The norm is that of the encoder's code; there was no second encoder."
    sentences = [code, f"Weights in the loss beside the reconstruction: {listed(weights)}.{labelled}"]
    if settings.score.kind == "eq9":
        weight = loss.lambda1 if loss.score_lambda1 is None else loss.score_lambda1
        block = loss.score_block
        of_blocks = f" of the means of blocks of {block} x {block} pixels" if block > 1 else ""
        sentences.append(
            f"The score is the squared error of reconstruction{of_blocks} plus {weight:g} times the squared norm."
        )
    return sentences


def network_sentences(settings: RunSettings, shape: list[int], applied: set[str]) -> list[str]:
    """Layers of the encoder that methods share, where the method has it."""
    from esad.models.networks import table6_widths, table_widths

    network, sentences = settings.network, []
    if not {"network.width", "network.hidden"} & applied:
        return []
    warm = "train.warmup.learning_rate" in applied
    decodes = settings.method in DECODING or (warm and settings.method not in WITHOUT_DECODER)
    mirrored = "; decoders mirror it" if decodes else ""
    if len(shape) == 1:
        widths = table_widths(shape[0], network)
        return [
            f"The encoder is a perceptron of {'-'.join(map(str, widths))} units with batch normalisation{mirrored}."
        ]
    if network.form == "table6":
        channels = listed([str(width) for width in table6_widths(network.width)])
        sentences.append(
            f"The encoder has five blocks of two convolutions, with {channels} channels{mirrored}."
        )
    else:
        name = network.form.removeprefix("lenet-")
        scaled = "" if network.width == 1 else f", its channels times {network.width:g}"
        sentences.append(f"The encoder is the LeNet that Deep SAD's authors use for {name}{scaled}.")
    if "network.linear" in applied and network.linear:
        sentences.append(_linear(network, "network.gate" in applied))
    return sentences


def _linear(network: NetworkSettings, gated: bool) -> str:
    gate = {
        "item": ", and a gate shuts it off for items that are not to be reconstructed",
        "place": ", and a gate shuts it off for places that are not to be reconstructed",
    }.get(network.gate if gated else "", "")
    return (
        f"Beside the learnt code a linear one keeps {counted(network.linear or 0, 'principal component')} of each patch of 16 x 16 "
        f"pixels{gate}."
    )


def training_sentences(
    settings: RunSettings, provenance: Mapping[str, Any], labelled: bool, applied: set[str]
) -> list[str]:
    """Length, optimiser, batches, and what the validation part decided; `labelled`: there were labelled items."""
    train, sentences = settings.train, []
    warmup = "train.warmup.learning_rate" in applied
    if warmup:
        how = "to see what the frozen network sees" if settings.method == "tlsad" else "as an autoencoder"
        sentences.append(f"Networks were first trained {how}, by {_phase(train.warmup)}.")
    if "train.learning_rate" in applied:
        sentences.append(f"{'Then they' if warmup else 'Networks'} were trained by {_phase(train)}.")
    if "train.batch_size" in applied and (warmup or "train.learning_rate" in applied):
        sentences.append(_batches(settings, labelled, applied))
        where = "a GPU" if str(provenance["device"]).startswith("cuda") else "a CPU"
        several = f", in {provenance['processes']} processes" if provenance.get("processes", 1) > 1 else ""
        if where == "a GPU" and "train.precision" in applied and train.precision != "float32":
            several += ", in 16-bit mixed precision"
        sentences.append(
            f"In all there were {counted(provenance['steps'], 'step')} on {where}{several}, with seed {settings.seed}."
        )
    else:
        sentences.append(f"The fit is not in steps; its seed was {settings.seed}.")
    if provenance.get("restarts"):
        sentences.append(
            f"Training began anew {counted(provenance['restarts'], 'time')} at half the learning rate, since the loss was not finite."
        )
    return sentences + _selection(provenance) + _own(settings, applied)


def _phase(phase: OptimiserSettings) -> str:
    """`Adam, learning rate 0.001, …, for 300 steps`."""
    name = {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSProp"}[phase.optimiser]
    if phase.optimiser == "adam":
        name += f" (beta {phase.beta1:g} and {phase.beta2:g})"
    schedule = SCHEDULES.get(phase.schedule, f", a tenth from {percent(phase.milestone)} of the steps on")
    words = [f"{name} at a learning rate of {phase.learning_rate:g}{schedule}"]
    if phase.optimiser != "adam" and phase.momentum:
        words.append(f"momentum {phase.momentum:g}")
    if phase.weight_decay:
        words.append(f"weight decay {phase.weight_decay:g}")
    if phase.steps is not None:
        words.append(f"for {counted(phase.steps, 'step')}")
    elif phase.epochs is not None:
        words.append(f"for {phase.epochs:g} passes over the training items")
    return ", ".join(words)


def _batches(settings: RunSettings, labelled: bool, applied: set[str]) -> str:
    train = settings.train
    if "train.batches" not in applied or not labelled:
        return f"A batch had {counted(train.batch_size, 'item')}."
    if train.batches == "joint":
        return f"A batch had {counted(train.batch_size, 'item')}, labelled and unlabelled ones in one random order."
    return f"A batch had {counted(train.batch_size, 'unlabelled item')} and {number(train.labelled_per_batch)} labelled ones."


def _selection(provenance: Mapping[str, Any]) -> list[str]:
    found = provenance.get("selection")
    if not found:
        return []
    ended = f" Training ended after step {found['ended_at']:,}." if found.get("ended_at") else ""
    figure = str(found["by"]).replace("_", " ").replace("auc", "AUC")
    return [
        f"The weights are those of step {found['weights_of_step']:,}, decided by the held-out part's {figure}.{ended}"
    ]


def _own(settings: RunSettings, applied: set[str]) -> list[str]:
    """The other settings of the method itself, by the names that config.yaml has."""
    sections = {name.partition(".")[0] for name in applied} - {"network", "train", "data", "method"}
    told = [
        f"{name} {_shown(value)}"
        for section in sorted(sections)
        for name, value in _values(settings, section, applied)
        if value is not None and not (settings.method == "esad" and name in TOLD)
    ]
    sentences = (
        [f"Further settings: {', '.join(told)}; all others are in the run's config.yaml."] if told else []
    )
    chosen = [
        name
        for name in ("gamma", "nu")
        if f"{settings.method}.{name}" in applied
        and getattr(getattr(settings, settings.method), name) is None
    ]
    if chosen:
        sentences.append(
            f"Chosen by the AUC on the held-out part where that has normals and anomalies, else the default: {listed(chosen)}."
        )
    return sentences


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(settings: RunSettings, section: str, applied: set[str]) -> Iterator[tuple[str, Any]]:
    """Dotted name and value of the settings of a section that have an effect."""
    for name in type(getattr(settings, section)).model_fields:
        if f"{section}.{name}" in applied:
            yield f"{section}.{name}", getattr(getattr(settings, section), name)
