"""Grids of methods, tables and seeds beside published figures. Speed is measured in benchmarks/ at the top."""
