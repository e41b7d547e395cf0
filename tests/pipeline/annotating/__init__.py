"""Tests of scored slides as files for other viewers."""
