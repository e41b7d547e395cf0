"""Scores of the same items by several runs to one score each: members, their mean, the folder. No model is looked at."""
