"""A store to a run: items, engine, checkpoints, watch, tracking. Methods and their losses are in models."""
