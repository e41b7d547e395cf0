"""Overlays of embeddings, whose pixels are in the store that they were made of. Encoders are in `models/encoders`."""
