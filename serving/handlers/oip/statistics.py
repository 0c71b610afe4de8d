"""What was answered by a version, as ModelStatistics tells it."""

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.metrics.answers import RunStatistics
from polserve.serving.policy import Policy


def statistics_of(policy: Policy, sums: RunStatistics) -> pb.ModelStatistics:
    """Return the statistics of a version; what failed is counted by method, in the metrics, and not by version."""
    return pb.ModelStatistics(
        name=policy.name,
        version=policy.version,
        last_inference=int(sums.last * 1000),
        inference_count=sums.n_observations,
        execution_count=sums.n_runs,
        inference_stats=pb.InferStatistics(
            success=_duration(sums.n_requests, sums.queue_s + sums.run_s),
            queue=_duration(sums.n_requests, sums.queue_s),
            compute_infer=_duration(sums.n_requests, sums.run_s),
        ),
    )


def _duration(count: int, seconds: float) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=count, ns=max(0, int(seconds * 1e9)))
