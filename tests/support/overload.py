"""A loop that has too much to do."""

from polserve.serving.inference.admission import LoopPressure

WORK_S = 1e-3
"""Time that the loop takes for a call."""


def overload(pressure: LoopPressure, since: float = 0.0) -> None:
    """Have three times as many calls come for a second as are answered, from a time on by the monotonic clock."""
    for tick in range(100):
        pressure.note_round(500, n_answered=10, seconds=10 * WORK_S)
        for _ in range(30):
            pressure.refusal(deadline=1e9, now=since + 0.01 * tick, is_lone=False)
