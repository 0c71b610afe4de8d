"""What `import polserve` offers, and what it costs."""

import subprocess
import sys

import pytest

import polserve

PUBLIC = {
    "Action",
    "ActionSpace",
    "AliasMove",
    "Allocator",
    "AsyncEpisode",
    "AsyncEpisodes",
    "AsyncPolicyClient",
    "BudgetDay",
    "ClientError",
    "Credentials",
    "Decision",
    "EndedEpisode",
    "Episode",
    "Episodes",
    "Evaluation",
    "EvaluationSummary",
    "ImportedVersion",
    "InvalidArgument",
    "LivePolicy",
    "LiveVersion",
    "LoadedPolicy",
    "ObservationPart",
    "ObservationSpace",
    "PolicyClient",
    "Split",
    "TrainedVersion",
    "TrainingError",
    "evaluate",
    "export",
    "load",
    "promote",
    "request_id",
    "rollback",
    "testing",
    "train",
}


def test_the_public_names_are_these() -> None:
    assert set(polserve.__all__) == PUBLIC
    assert set(dir(polserve)) >= PUBLIC


@pytest.mark.starts_processes  # where torch, which some of them import, looks at the machine
@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_has_a_docstring(name: str) -> None:
    assert (getattr(polserve, name).__doc__ or "").strip()


def test_a_name_that_is_none_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'polserve' has no attribute 'PolicyCleint'"):
        _ = polserve.PolicyCleint  # type: ignore[attr-defined]


def loaded(statement: str) -> set[str]:
    """Return the heavy libraries that a fresh Python has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return {"torch", "onnxruntime", "mlflow", "grpc", "numpy", "gymnasium", "rich", "typer"} & set(
        result.stdout.split()
    )


def test_importing_polserve_loads_nothing_heavy() -> None:
    assert loaded("import polserve") == set()


def test_the_client_loads_numpy_and_grpc_only() -> None:
    assert loaded("from polserve import PolicyClient") == {"numpy", "grpc"}
