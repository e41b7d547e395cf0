"""A grid of settings, a run a cell, chosen by validation figures. Grids of methods are in benchmarking."""
