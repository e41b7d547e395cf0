"""Kinds of stores: what an item of each is. A module of names alone, so that settings know them without reading a store."""

from __future__ import annotations

KINDS = ("tiles", "radiographs", "images", "table", "embeddings")
ROWS = ("table", "embeddings")
"""Kinds whose items are rows of numbers (D,); those of the others are pictures."""
DTYPES = {"table": ("float32",), "embeddings": ("float16", "float32")}
"""What the shards of a kind hold; those of pictures uint8."""
