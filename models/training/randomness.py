"""Random numbers keyed by what they are for, never drawn from a hidden stream.

A generator for (seed, purpose, step) is the same after a restart, on every rank, and whether seeds are trained
one by one or at once.
"""

from __future__ import annotations

import zlib

import torch


def generator(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """A CPU generator for this seed, purpose and step (splitmix-style mixing of the three)."""
    value = (seed & 0xFFFFFFFF) | (zlib.crc32(purpose.encode()) << 32)
    value = (value + 0x9E3779B97F4A7C15 * (step + 1)) & (2**64 - 1)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return torch.Generator().manual_seed((value ^ (value >> 31)) & (2**63 - 1))


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`values` of the CPU on `device`, without waiting for what a CUDA device is still doing: by way of pinned memory."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
