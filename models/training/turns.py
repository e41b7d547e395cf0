"""A step of several players: each in its turn trains its own parameters by its own optimiser, the others stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from esad.models.detector import Method, Phase, Turn
from esad.models.training.batch import Batch
from esad.models.training.optimisers import make_optimiser


class PhaseTurns:
    """The turns of one phase, in order, with an optimiser each."""

    def __init__(self, method: Method, phase: Phase, rate: float) -> None:
        """All learning rates are multiplied by `rate`."""
        self.method, self.phase = method, phase
        self.optimisers = {
            turn.name: make_optimiser(turn.parameters, phase.optimiser) for turn in phase.turns
        }
        self._rates = {turn.name: rate * turn.rate * phase.optimiser.learning_rate for turn in phase.turns}

    def step(self, own: Batch, fresh: Callable[[str], Batch], factor: float) -> dict[str, Tensor]:
        """Take all turns on the step's `own` batch; repeats but the last of a fresh turn have `fresh(name of their order)`.

        `factor` is the schedule's share of the learning rate. Returns the detached terms of the last repeat of each turn as
        `<turn>_<term>`, and `loss`, the sum of the turns' losses.
        """
        found: dict[str, Tensor] = {}
        for turn in self.phase.turns:
            optimiser = self.optimisers[turn.name]
            for group in optimiser.param_groups:
                group["lr"] = self._rates[turn.name] * factor
            with _alone(self.method, turn):
                for repeat in range(turn.repeats):
                    other = turn.fresh and repeat < turn.repeats - 1
                    batch = fresh(f"{self.phase.name} {turn.name} {repeat}") if other else own
                    terms = self.method.losses(self.phase.name, replace(batch, turn=turn.name, repeat=repeat))
                    optimiser.zero_grad()
                    terms["loss"].sum().backward()
                    optimiser.step()
            found |= {f"{turn.name}_{name}": value.detach() for name, value in terms.items()}
        losses = [found[f"{turn.name}_loss"] for turn in self.phase.turns]
        return {"loss": torch.stack(losses).sum(0), **found}

    def state(self) -> dict[str, Any]:
        """State of the optimisers by turn, for a checkpoint."""
        return {"turns": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["turns"][name])


@contextmanager
def _alone(method: Method, turn: Turn) -> Iterator[None]:
    """Within the block the turn's parameters alone get gradients, and BatchNorm of borrowed networks keeps its statistics.

    A borrowed network still normalises by its batch, as the published codes do; what it has learnt of all batches changes in
    the turn of its own player alone.
    """
    own = {id(parameter) for parameter in turn.parameters}
    before = [(parameter, parameter.requires_grad) for parameter in method.parameters()]
    borrowed = [
        (module, module.momentum)
        for module in method.modules()
        if isinstance(module, _BatchNorm) and not any(id(each) in own for each in module.parameters())
    ]
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in own)
    for module, _ in borrowed:
        module.momentum = 0.0
    try:
        yield
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)
        for module, momentum in borrowed:
            module.momentum = momentum


def parameters_of(*networks: nn.Module) -> list[nn.Parameter]:
    """All parameters of the networks of one player."""
    return [parameter for network in networks for parameter in network.parameters()]
