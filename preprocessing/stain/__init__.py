"""Vahadane stain normalisation: fit and application. Pure functions of pixels."""
