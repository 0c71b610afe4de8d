"""The HTTP edge: metrics and probes."""
