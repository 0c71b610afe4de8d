"""What a registry tells of a policy's past: its champions, and which of its versions services refused."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.alias_history import HISTORY_TAG, Move, earlier, parse_history
from polserve.protos.shared.names import SPEC_KEY
from polserve.protos.shared.promotions import ROLLOUT_TAG
from polserve.protos.shared.spaces import changed_space
from polserve.protos.tensors import DTYPES
from polserve.training.errors import PromotionRefused, RegistryError
from polserve.training.registry.aliases import champion_of
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.versions.onnx_policy import read_spec

BAD_OUTCOMES = {"refused": "refused", "withdrawn": "withdrew"}
"""Outcomes of rollouts after which a service does not answer with a version, and what it did then."""
LIVE = "live"
"""Outcome of a rollout after which the service answered with the version."""


@dataclass(frozen=True, slots=True)
class PolicyPast:
    """The champions of a policy, and what services wrote on its versions."""

    policy: str
    champion: str | None
    """The version that is @champion; None where there is none."""
    moves: Sequence[Move]
    """The moves of @champion, oldest first."""
    tags: Mapping[str, Mapping[str, str]]
    """The tags of each version that exists, by its number."""

    @classmethod
    def read(cls, registry: PolicyRegistry, policy: str) -> "PolicyPast":
        """Ask the registry.

        Raises:
            RegistryError: there is no such policy, or the registry does not answer.
        """
        model = registry.model(policy)
        moves = parse_history(model.tags.get(HISTORY_TAG, ""))
        return cls(policy, champion_of(model), moves, registry.tags(policy))

    @property
    def former_champions(self) -> list[str]:
        """The versions that were champion at any time, latest first, without the champion."""
        former = dict.fromkeys(move.version for move in reversed(self.moves))
        return [version for version in former if version in self.tags and version != self.champion]

    @property
    def earlier(self) -> list[str]:
        """The versions that were champion before, latest first, without those that were rolled back from."""
        return [version for version in earlier(self.moves, self.champion or "") if version in self.tags]

    @property
    def answering(self) -> str | None:
        """The version that services answer with: the latest champion that they did not refuse; None for none."""
        champions = [self.champion] if self.champion in self.tags else []
        return next((one for one in (*champions, *self.earlier) if one and not self.is_refused(one)), None)

    def is_refused(self, version: str) -> bool:
        """Whether a service refused or withdrew a version, and none is on record that answers with it."""
        outcomes = {outcome for _, outcome, _ in self._rollouts(version)}
        return not outcomes.isdisjoint(BAD_OUTCOMES) and LIVE not in outcomes

    def refusals(self, version: str) -> list[str]:
        """Return which services do not answer with a version, and why; a sentence for each."""
        return [
            f"service {service!r} {BAD_OUTCOMES[outcome]} it: {reason}"
            for service, outcome, reason in self._rollouts(version)
            if outcome in BAD_OUTCOMES
        ]

    def _rollouts(self, version: str) -> Iterator[tuple[str, str, str]]:
        """Yield how the rollouts of a version ended: each service, the outcome, and the reason."""
        for tag, text in self.tags[version].items():
            if tag.startswith(ROLLOUT_TAG):
                outcome, _, rest = text.partition(" ")
                yield tag.removeprefix(ROLLOUT_TAG), outcome, rest.partition(" ")[2]


def check_spaces(registry: PolicyRegistry, past: PolicyPast, candidate: str, note: Callable[[str], None]) -> None:
    """Check that services would not refuse a candidate for its observations or actions.

    Args:
        registry: where the versions are.
        past: of the candidate's policy.
        candidate: version that would become @champion.
        note: hears, in a sentence, that the spaces could not be compared, or, where there is no champion and so any
            version may become it, that services would refuse the candidate.

    Raises:
        PromotionRefused: they would, and there is a champion.
    """
    live = past.answering
    if live is None or live == candidate:
        return
    ours, theirs = f"{past.policy}/{candidate}", f"{past.policy}/{live}"
    try:
        changed = changed_space(_spec(registry, past.policy, candidate), _spec(registry, past.policy, live))
    except RegistryError as error:
        note(f"the spaces of {ours} were not compared with those of {theirs}: {error}")
        return
    if changed is None:
        return
    refused = (
        f"services that answer with {theirs} refuse {ours}, unless they run with --allow-space-change: "
        f"its {changed.name} is {changed.ours}, that of {theirs} is {changed.theirs}"
    )
    if past.champion is not None:
        raise PromotionRefused(f"{refused}; with --allow-space-change it becomes @champion all the same")
    note(refused)


def _spec(registry: PolicyRegistry, policy: str, version: str) -> pb.PolicySpec:
    """Fetch a version's spec, whose type of observations is known."""
    with tempfile.TemporaryDirectory() as folder:
        graph, _ = registry.graph(policy, version, Path(folder))
        content = graph.read_bytes()
    try:
        spec = read_spec(content)
    except RegistryError as error:
        raise RegistryError(f"{policy}/{version}: {error}") from error
    if (dtype := spec.observation.dtype) not in DTYPES:
        raise RegistryError(
            f"{policy}/{version}: {SPEC_KEY}: observation.dtype is {dtype}, which is none of the known types"
        )
    return spec
