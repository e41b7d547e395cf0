"""A store to a run: engine, checkpoints, references, provenance. Methods are in models, the watch is in monitoring."""
