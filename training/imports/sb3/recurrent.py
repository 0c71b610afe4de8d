"""sb3-contrib's RecurrentPPO: an LSTM between the features and the layers that act, its states in the graph."""

import re
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.errors import ImportRefused
from polserve.training.imports.imported import Answer
from polserve.training.imports.sb3.kinds import RECURRENT
from polserve.training.imports.sb3.rebuilding import Saved, acting_layers, feature_layers

GATES = 4
STATES = ("hidden", "cell")
"""Names of the states in the graph, (layers, size) for one observation each."""


class RecurrentActing(nn.Module):
    """A whole recurrent policy: from the environment's observation and the states to the action and the next states.

    The LSTM is computed gate by gate, one step at a time, as ONNX needs no sequence for.
    """

    def __init__(self, preprocessing: nn.Module, features: nn.Module, lstm: nn.LSTM, head: nn.Sequential) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.features = features
        self.lstm = lstm
        self.head = head

    def forward(self, observation: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, and the next states (n, layers, size), of observations and states."""
        outputs, hidden, cell = self._step(self.features(self.preprocessing(observation)), hidden, cell)
        return self.head(outputs), hidden, cell

    def scores(self, observation: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        """Return what the arg-max is taken of, by torch's own LSTM."""
        scores: Tensor = self.head[:-1](self._by_torch(observation, hidden, cell))
        return scores

    def original(self, observation: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        """Return the actions by torch's own LSTM, as the library computes them."""
        actions: Tensor = self.head(self._by_torch(observation, hidden, cell))
        return actions

    def _by_torch(self, observation: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        features = self.features(self.preprocessing(observation))
        states = (hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous())
        outputs: Tensor = self.lstm(features.unsqueeze(0), states)[0][0]
        return outputs

    def _step(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hiddens, cells = [], []
        for layer in range(self.lstm.num_layers):
            into, over, into_bias, over_bias = self.lstm.all_weights[layer]
            gates = nn.functional.linear(inputs, into, into_bias)
            gates = gates + nn.functional.linear(hidden[:, layer], over, over_bias)
            taken, kept, new, shown = gates.chunk(GATES, dim=1)
            following = kept.sigmoid() * cell[:, layer] + taken.sigmoid() * new.tanh()
            inputs = shown.sigmoid() * following.tanh()
            hiddens.append(inputs)
            cells.append(following)
        return inputs, torch.stack(hiddens, 1), torch.stack(cells, 1)


def rebuild_recurrent(saved: Saved, preprocessing: nn.Module) -> RecurrentActing:
    """Build the policy from the names and shapes of its weights.

    Raises:
        ImportRefused: its weights are not of a network that is known, or do not fit the spaces.
    """
    features, width = feature_layers(saved)
    lstm = _lstm(saved, width)
    head = nn.Sequential(*acting_layers(saved, lstm.hidden_size))
    return RecurrentActing(preprocessing, nn.Sequential(*features), lstm, head).eval()


def states_of(graph: RecurrentActing) -> dict[str, tuple[int, ...]]:
    """Shape of each state for one observation."""
    return dict.fromkeys(STATES, (graph.lstm.num_layers, graph.lstm.hidden_size))


def answer_of(graph: RecurrentActing) -> Answer:
    """Return the function that the graph's actions are compared with: torch's own LSTM."""

    @torch.no_grad()
    def answer(observations: NDArray[Any], states: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(graph.original(*_tensors(observations, states)).numpy())

    return answer


def preferences_of(graph: RecurrentActing, actions: gym.Space[Any]) -> Answer | None:
    """Return the function to what the arg-max is taken of; None where actions are not discrete."""
    if not isinstance(actions, Discrete):
        return None

    @torch.no_grad()
    def preferences(observations: NDArray[Any], states: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(graph.scores(*_tensors(observations, states)).numpy())

    return preferences


def _tensors(observations: NDArray[Any], states: Mapping[str, NDArray[Any]]) -> list[Tensor]:
    return [torch.from_numpy(array) for array in (observations, *(states[name] for name in STATES))]


def _lstm(saved: Saved, width: int) -> nn.LSTM:
    weights = {
        name.removeprefix(RECURRENT): tensor for name, tensor in saved.state.items() if name.startswith(RECURRENT)
    }
    layers = sum(bool(re.fullmatch(r"weight_ih_l\d+", name)) for name in weights)
    first = weights.get("weight_ih_l0")
    if first is None or first.ndim != 2 or first.shape[0] % GATES or first.shape[1] != width:  # noqa: PLR2004
        got = "none" if first is None else str(tuple(first.shape))
        raise ImportRefused(
            f"{saved.file}: policy.pth: {RECURRENT}weight_ih_l0: expected ({GATES} * n, {width}), for observations "
            f"{saved.shape}, got {got}; the weights are not of the spaces that the file states"
        )
    lstm = nn.LSTM(width, first.shape[0] // GATES, num_layers=layers)
    try:
        lstm.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ImportRefused(f"{saved.file}: policy.pth: {RECURRENT}*: expected an LSTM's weights; {reason}") from error
    return lstm
