"""Whole slides: reading, geometry, outlines. Colours are in stain and tissue."""
