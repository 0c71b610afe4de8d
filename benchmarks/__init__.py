"""Programs that measure the figures in docs/benchmarks.md: `python -m benchmarks.NAME`."""
