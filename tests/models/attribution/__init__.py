"""Tests of what scores come from."""
