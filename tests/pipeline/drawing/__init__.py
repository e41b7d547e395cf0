"""Tests of pipeline/drawing."""
