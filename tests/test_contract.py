"""What others rely on: generated code, public names, and the bundled policies."""

from pathlib import Path

import pytest

from polserve.protos.generate import SOURCES, generate
from polserve.protos.shared.names import CHAMPION
from polserve.serving import client
from polserve.serving.settings.settings import BUNDLED_POLICIES
from polserve.serving.sources.folder_source import FolderSource
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.evaluation.episodes import play_episodes
from tests.support.lanes import imports_torch
from tests.support.local_workers import LoaderOnly


def test_the_committed_stubs_are_what_the_proto_files_say(tmp_path: Path) -> None:
    generate(tmp_path)
    generated = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*"))
    assert generated
    for path in generated:
        assert (SOURCES / path).read_text() == (tmp_path / path).read_text(), f"{path}: run `make protos`"


@pytest.mark.parametrize("package", ["evaluation", "promotion", "registry", "environments"])
def test_what_plays_and_promotes_policies_imports_no_torch(package: str) -> None:
    modules = list(SOURCES.parent.glob(f"training/{package}/*.py"))
    assert modules
    assert [path.name for path in modules if imports_torch(path)] == []


def test_nothing_leans_on_what_grpcio_keeps_private() -> None:
    leaning = [path.name for path in SOURCES.parent.glob("serving/**/*.py") if "cygrpc" in path.read_text()]
    assert leaning == []


def test_the_clients_public_names_are_these() -> None:
    assert sorted(client.__all__) == [
        "Action",
        "ActionSpace",
        "Allocator",
        "AsyncEpisode",
        "AsyncEpisodes",
        "AsyncPolicyClient",
        "BudgetDay",
        "ClientError",
        "Credentials",
        "EndedEpisode",
        "Episode",
        "Episodes",
        "EvaluationSummary",
        "InvalidArgument",
        "LivePolicy",
        "LiveVersion",
        "ObservationPart",
        "ObservationSpace",
        "PolicyClient",
        "Split",
        "request_id",
    ]


def test_every_bundled_policy_is_accepted_and_plays_as_well_as_its_spec_says() -> None:
    workers = LoaderOnly()
    results = workers.rollout().apply(next(FolderSource(BUNDLED_POLICIES, [], 1.0).follow()))
    assert [result.refusal for result in results] == [None] * len(results)
    policy = workers.catalog.resolve("cartpole", f"@{CHAMPION}", None)
    assert not policy.spec.provenance.git_commit.endswith("-dirty")
    played = play_episodes(
        lambda observations: policy.act(observations).actions,
        EnvironmentSpec(policy.spec.environment.id),
        20,
        EVALUATION_FIRST_SEED,
    )
    assert sum(episode.episode_return for episode in played) / 20 == pytest.approx(policy.spec.evaluation.mean, abs=5)
