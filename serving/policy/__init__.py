"""A policy version in memory: what it may be asked, and ONNX Runtime to answer with."""

from polserve.serving.policy.observations import ObservationContract
from polserve.serving.policy.policy import Answer, Policy

__all__ = ["Answer", "ObservationContract", "Policy"]
