from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import LivePolicy
from polserve.serving.commands.policies import client_parts


def live(name: str, **environment: list[str]) -> LivePolicy:
    spec = pb.PolicySpec(name=name, environment=pb.Environment(id="Mine-v0", **environment))  # type: ignore[arg-type]
    return LivePolicy.of(pb.LivePolicy(name=name, versions=[pb.LiveVersion(version="2", spec=spec)]))


def test_what_callers_do_as_wrappers_do_is_listed() -> None:
    plain = live("plain", graph_wrappers=["NormalizeObservation"])
    wrapped = live("wrapped", client_wrappers=["GrayscaleObservation", "ResizeObservation"])
    acting = live("acting", client_wrappers=["FilterObservation"], client_action_wrappers=["RescaleAction"])
    assert list(client_parts([plain, wrapped, acting])) == [
        "wrapped/2: send what GrayscaleObservation, ResizeObservation makes of an observation",
        "acting/2: send what FilterObservation makes of an observation; put the answer through RescaleAction",
    ]
    assert wrapped.versions[0].client_wrappers == ("GrayscaleObservation", "ResizeObservation")
    assert acting.versions[0].client_action_wrappers == ("RescaleAction",)
