"""Tests of pipeline/reporting/manuscript."""
