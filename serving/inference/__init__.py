"""The way from observations that are asked about to a run of the model: what waits, what is refused, what is ended."""
