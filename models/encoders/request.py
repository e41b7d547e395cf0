"""What a person says of an encoder."""

from __future__ import annotations

from dataclasses import dataclass

from esad.models.encoders.preparation import Preparation


@dataclass(frozen=True)
class EncoderRequest:
    """What a person said of an encoder; picklable. What is stated here counts before the encoder's own description."""

    encoder: str
    """A name, or the path of a file."""
    architecture: str | None = None
    layers: tuple[str, ...] = ()
    size: int | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    @property
    def stated(self) -> Preparation:
        """Size, mean and scale as far as they were said."""
        return Preparation((self.size, self.size) if self.size else None, self.mean, self.scale)
