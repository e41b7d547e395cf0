"""What all settings are made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are checked."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, use_attribute_docstrings=True)


Layer = Literal[
    "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "head", "wide3", "wide5"
]
"""Layers of the backbone (other-methods.md#backbone)."""
