"""Whole lives of tasks under faults: what benchmarks.chaos draws, runs and judges."""
