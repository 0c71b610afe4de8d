"""Values that change with the number of environment steps; pure functions."""


def linear(step: int, start: float, end: float, steps: int) -> float:
    """Value at `step` of a line from `start` at step 0 to `end` at `steps`; `end` from there on."""
    if step >= steps:
        return end
    return start + (end - start) * step / steps
