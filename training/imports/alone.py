"""The check that a policy answers an observation alike, whatever others come in its batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.choices import Choices
from polserve.protos.shared.golden import GoldenMismatch, check_golden
from polserve.protos.shared.names import OBSERVATION
from polserve.training.environments.descriptions import Description
from polserve.training.environments.space_messages import described_actions
from polserve.training.errors import ImportRefused
from polserve.training.imports.imported import ImportedPolicy
from polserve.training.imports.proof import Proof
from polserve.training.versions.onnx_policy import OnnxPolicy


def check_answers_alone(policy: ImportedPolicy, graph: OnnxPolicy, proof: Proof, chosen: NDArray[np.int64]) -> None:
    """Check that the graph answers the chosen observations one by one as all of them together.

    Raises:
        ImportRefused: it does not, and no service could batch its calls.
    """
    observations = proof.observations[chosen]
    states = {name: array[chosen] for name, array in proof.states.items()}
    golden: dict[str, NDArray[Any]] = {OBSERVATION: observations, **states, **graph.run(observations, states or None)}
    choices = Choices.of(described_actions(policy.action_space, Description(), policy.source.file))
    try:
        check_golden(graph.run, golden, choices)
    except GoldenMismatch as mismatch:
        raise ImportRefused(
            f"{policy.source.file}: expected the same answer to an observation whatever others are in its batch, got "
            "other answers one by one than together. Was the network exported without model.eval(), so that batch "
            "normalisation takes the batch's statistics, or quantised dynamically? Export it after model.eval(); "
            "quantise statically, or export it with a batch fixed at 1 before it is quantised"
        ) from mismatch
