"""P-KDGAN (Zhang et al. 2020), after its description: a small GANomaly learns from a large one, then both go on together.

docs/explanation/other-methods.md#p-kdgan says what the paper leaves open and what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from esad.models.detector import Phase, Turn, item_mean, phase_of_turns, single_term
from esad.models.methods.adversarial.dcgan import LEAST
from esad.models.methods.adversarial.ganomaly import GanomalyNetworks
from esad.models.methods.adversarial.players import PLAYED, AdversarialMethod, in_evaluation, part_of
from esad.models.methods.readings import READINGS
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of

JOINT_SHARE, JOINT_RATE = 1 / 3, 0.1
"""Length and learning rate of the joint phase, of the teacher's."""


class PKdganMethod(AdversarialMethod):
    """Phases: the teacher alone; the student beside the frozen teacher; both. The student's codes are the score."""

    title: ClassVar[str] = READINGS["p_kdgan"]

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        side, code = self.frame.side, settings.ganomaly.code
        large, small = settings.ganomaly.base, settings.p_kdgan.base
        self.teacher = self._seeded(lambda: GanomalyNetworks(self.channels, side, large, code), "teacher")
        self.student = self._seeded(lambda: GanomalyNetworks(self.channels, side, small, code), "student")
        features = side // (2 * LEAST)
        self.widened = self._seeded(lambda: nn.Conv2d(small * features, large * features, 1), "widened")

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (*PLAYED, "p_kdgan", "ganomaly")

    def phases(self) -> list[Phase]:
        of_teacher, of_student = (
            [
                Turn(f"{name}_discriminator", parameters_of(networks.discriminator)),
                Turn(f"{name}_generator", [*networks.generators(), *more]),
            ]
            for name, networks, more in (
                ("teacher", self.teacher, []),
                ("student", self.student, parameters_of(self.widened)),
            )
        )
        train = self.settings.train
        return [
            phase_of_turns("teacher", of_teacher, train),
            phase_of_turns("distil", of_student, train),
            phase_of_turns("joint", [*of_teacher, *of_student], part_of(train, JOINT_SHARE, JOINT_RATE)),
        ]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own = self.frame.squares(batch.x), self.settings.ganomaly
        who, what = batch.turn.split("_")
        networks = self.teacher if who == "teacher" else self.student
        if phase == "distil":
            in_evaluation(self.teacher)
        if what == "discriminator":
            return {"loss": networks.discriminator_loss(x)}
        outputs = networks(x)
        terms = networks.terms_of(x, outputs, own)
        if who == "student":
            terms["distillation"] = self.distance(x, *outputs)
            terms["loss"] = terms["loss"] + self.settings.p_kdgan.distillation * terms["distillation"]
        return terms

    def distance(self, x: Tensor, z: Tensor, x_hat: Tensor, z_hat: Tensor) -> Tensor:
        """How far the student's outputs are from the teacher's, which are taken as they are."""
        with torch.no_grad():
            known = self.teacher(x)
            features = self.teacher.discriminator.features(known[1])
        ours = self.widened(self.student.discriminator.features(x_hat))
        codes = (known[0] - z).square().mean() + (known[2] - z_hat).square().mean()
        return (known[1] - x_hat).abs().mean() + codes + (features - ours).square().mean()

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.frame.pictures(self.student.decoder(self.latents(x)["z"]))

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.student.encoder1(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        z, made, z_hat = self.student(self.frame.squares(x))
        return {**single_term(item_mean((z - z_hat).square())), "x_hat": self.frame.pictures(made)}
