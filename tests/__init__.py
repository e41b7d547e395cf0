"""The tests, in the same rooms as the code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
