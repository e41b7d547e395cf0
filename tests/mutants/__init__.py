"""Mutation testing: what decides over results is changed in one place at a time, and a test has to notice."""
