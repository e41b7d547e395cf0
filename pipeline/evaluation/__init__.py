"""Scores and labels to figures: AUC, FROC, checks of a split. Nothing is scored or drawn here."""
