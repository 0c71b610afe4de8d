"""One policy version in lines for a terminal: its spec, its evaluation, where it comes from, and its past."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polserve.protos.shared.figures import figure
from polserve.protos.shared.tables import aligned

if TYPE_CHECKING:
    from polserve.protos.polserve.v1 import policy_pb2 as pb
    from polserve.serving.client import LivePolicy, LiveVersion

MOST_COMPONENTS = 12
"""Components that are listed; the rest is counted."""
HISTORY_LINES = 30


def describe(policy: "LivePolicy", version: "LiveVersion") -> Iterator[str]:
    """Yield the lines on a live version."""
    spec = version.message.spec
    yield " ".join([f"{policy.name}/{version.version}", *policy.aliases_of(version)])
    yield ""
    yield from aligned([("what", ""), *_facts(version)])[1:]
    if spec.observation.components:
        yield ""
        yield from aligned(_components(spec.observation))


def _facts(version: "LiveVersion") -> Iterator[tuple[str, str]]:
    spec = version.message.spec
    made, checked = spec.provenance, spec.parity
    yield "environment", " ".join(filter(None, [version.environment or "-", _plain_json(spec.environment.kwargs_json)]))
    yield "observation", str(version.observation)
    yield "action", str(version.action)
    yield "evaluation", _evaluation(spec.evaluation)
    if made.environment_steps:
        evaluated = f", evaluated on {made.selection_steps:,}" if made.selection_steps else ""
        steps = f"{made.environment_steps:,} steps{evaluated}{_time(made.training_hours)}"
        yield "trained", f"{spec.algorithm}, {steps}, seed {made.seed}"
    if made.machine:
        yield "machine", made.machine
    if made.HasField("source"):
        yield "imported", f"from {made.source.file}, of {made.source.tool} ({made.source.algorithm})"
    if made.run_id:
        yield "MLflow run", made.run_id
    if made.git_commit:
        yield "git commit", made.git_commit
    if made.environment_git_commit:
        yield "environment's commit", made.environment_git_commit
    if checked.observations:
        difference = f"{checked.largest_value_difference:.1e} over {checked.observations} observations"
        yield "parity", f"values differ from the network's by at most {difference}"
    yield "sha256", version.sha256


def _time(hours: float) -> str:
    """Say how long training took; nothing where that is not known."""
    if not hours:
        return ""
    return f" in {hours:,.1f} hours" if hours >= 1 else f" in {hours * 3600:,.0f} s"


def _plain_json(text: str) -> str:
    """Return keyword arguments as they were given; nothing for none."""
    return "" if text in ("", "{}") else text


def _evaluation(evaluation: "pb.Evaluation") -> str:
    if not evaluation.episodes:
        return "none"
    told = (evaluation.mean, evaluation.interval_low, evaluation.interval_high, evaluation.iqm, evaluation.random_mean)
    mean, low, high, iqm, at_random = (figure(value, ",.1f") for value in told)
    return (
        f"mean {mean} ({evaluation.confidence:.0%} interval {low} to {high}), IQM {iqm}, "
        f"over {evaluation.episodes} episodes; {at_random} at random"
    )


def _components(observation: "pb.ObservationSpec") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("component", "unit", "low", "high")]
    shown = list(enumerate(observation.components))[:MOST_COMPONENTS]
    for place, component in shown:
        bounds = (_bound(bounds, place) for bounds in (observation.low, observation.high))
        rows.append((component.name, component.unit or "-", *bounds))
    if left := len(observation.components) - len(shown):
        rows.append((f"and {left} more", "", "", ""))
    return rows


def _bound(bounds: Sequence[float], place: int) -> str:
    """Return the bound of a component: there is one for each, one for all, or none."""
    if not bounds:
        return "-"
    return f"{bounds[place if len(bounds) > 1 else 0]:,.6g}"


def refused_lines(history: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each alias that names a version which the service refused; none for most policies."""
    for one in history.get("refused", ()):
        instead = f"{one['live']} answers instead" if one["live"] else "nothing answers instead"
        yield f"@{one['alias']} names version {one['version']}, which was refused; {instead}: {one['reason']}"


def history_lines(history: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines on a policy's past, the latest first, from what the service tells of it."""
    if history["state"] == "none":
        yield "no history: the service follows a folder, which keeps no record"
        return
    if history["state"] == "asked":
        yield "no history: the registry has not answered yet; ask again"
        return
    if history["problem"]:
        yield f"the registry did not answer the last time: {history['problem']}"
    events = sorted(_events(history), reverse=True)
    if not events:
        yield "no history: nothing is on record yet"
        return
    yield from aligned([("when (UTC)", "version", "what", "why"), *events[:HISTORY_LINES]])
    if (left := len(events) - HISTORY_LINES) > 0:
        yield f"and {left} before; --json has all"


def _events(history: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield moment, version, what happened, and why or by whom."""
    for move in history["moves"]:
        what = "rolled back to" if move["is_rollback"] else "became @champion"
        yield _moment(move["at"]), move["version"], what, move["by"]
    for decision in history["decisions"]:
        against = f" against {decision['champion']}" if decision["champion"] else ""
        yield _moment(decision["at"]), decision["version"], f"{decision['kind']}{against}", decision["reason"]
    for rollout in history["rollouts"]:
        what = f"{rollout['outcome']} on {rollout['service']}"
        yield _moment(rollout["at"]), rollout["version"], what, rollout["reason"]


def _moment(at: str) -> str:
    return at.replace("T", " ").removesuffix("Z")


def parse_history(text: str) -> Mapping[str, Any]:
    """Read what the service tells of a policy's past.

    Raises:
        ValueError: it is no such page.
    """
    history = json.loads(text)
    if not isinstance(history, dict) or "state" not in history:
        raise ValueError("expected the history of a policy")
    return history
