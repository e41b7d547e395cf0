"""Figures and overlays to a page for people."""
