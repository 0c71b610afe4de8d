"""The graph that leaves Ms. Pac-Man's colour as it is: it differs in nothing else."""

import numpy as np
import onnx
import pytest

from benchmarks.zeroing import without_zeroing
from polserve.protos.shared.names import MODEL_FILE
from polserve.training.registry.lookup import BUNDLED
from polserve.training.versions.onnx_policy import OnnxPolicy

HER_COLOUR = (210, 164, 74)


def test_only_frames_with_her_colour_are_seen_otherwise() -> None:
    model = onnx.load(BUNDLED / "mspacman" / "1" / MODEL_FILE)
    as_trained, changed = (OnnxPolicy(m.SerializeToString()) for m in (model, without_zeroing(model)))
    frames = np.zeros((2, 4, 210, 160, 3), np.uint8)
    frames[..., 60:70, 40:50, :] = (200, 72, 72)
    frames[1, :, 100:110, 80:90] = HER_COLOUR
    before, after = (policy.run(frames)["values"] for policy in (as_trained, changed))
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-3


def test_a_graph_without_that_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one constant of 448 in the graph, got 0"):
        without_zeroing(onnx.load(BUNDLED / "cartpole" / "1" / MODEL_FILE))
