"""Tests of pipeline/fetching."""
