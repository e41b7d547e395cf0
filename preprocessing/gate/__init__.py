"""What stands between a damaged file and the work: faults become refusals, sizes have limits, C code has a process of its own."""
