"""Figures of runs, as in the paper: AUC against lambda1 and lambda2, maps of codes, examples. Pages of a report are in reporting."""
