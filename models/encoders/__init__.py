"""Frozen encoders of others: pictures in, vectors out. Nothing here is trained, and nothing is fetched from the net."""
