"""Benchmarks: never tests. Each gives figures beside a peer's in the same run, with machine, commit and spread."""
