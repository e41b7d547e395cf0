"""Tests of preprocessing/natural."""
