"""Whether a candidate may become champion: pure decisions on recorded evidence."""

from dataclasses import dataclass

from protos.polserve.v1 import policy_pb2 as pb


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the candidate may become champion, and why."""

    is_allowed: bool
    reason: str


def decide(candidate: pb.PolicySpec, champion: pb.PolicySpec) -> Decision:
    """Allow a candidate that its own evaluation does not show to be worse.

    The evaluations are those that the two versions carry: greedy episodes on the same seeds. The candidate is worse
    when the whole bootstrap interval of its mean return lies below the champion's mean. So two policies at the
    ceiling may replace each other, and a good candidate is not refused for an unlucky half percent.
    """
    ours, theirs = candidate.environment, champion.environment
    if (ours.id, ours.kwargs_json) != (theirs.id, theirs.kwargs_json):
        return Decision(
            is_allowed=False,
            reason=f"their returns cannot be compared: the candidate was evaluated in {ours.id} {ours.kwargs_json}, "
            f"the champion in {theirs.id} {theirs.kwargs_json}",
        )
    new, old = candidate.evaluation, champion.evaluation
    if not new.episodes or not old.episodes or new.first_seed != old.first_seed:
        return Decision(
            is_allowed=False,
            reason="their returns cannot be compared: the candidate was evaluated over "
            f"{new.episodes} episodes from seed {new.first_seed}, "
            f"the champion over {old.episodes} from seed {old.first_seed}",
        )
    evidence = (
        f"mean return {new.mean:.2f} [{new.interval_low:.2f}, {new.interval_high:.2f}] over {new.episodes} episodes, "
        f"the champion's {old.mean:.2f}"
    )
    if new.interval_high < old.mean:
        return Decision(is_allowed=False, reason=f"the candidate is worse: {evidence}")
    return Decision(is_allowed=True, reason=evidence)
