"""MLflow's tags of a run, and what its version says of itself, are the same."""

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.learning.hyperparameters import LoopConfig
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.record import tags_of


def test_the_tags_of_a_run_are_those_of_its_versions_provenance() -> None:
    made = pb.Provenance(git_commit="a1", environment_git_commit="b2-dirty", seed=7, machine="8 CPU cores")
    made.initial_weights = "cartpole/1"
    tags = tags_of(Recipe("pole", EnvironmentSpec("CartPole-v1"), LoopConfig(steps=10)), "dqn", made)
    assert (tags["policy"], tags["env_id"], tags["algo"], tags["seed"]) == ("pole", "CartPole-v1", "dqn", "7")
    assert (tags["git_commit"], tags["env_git_commit"]) == ("a1", "b2-dirty")
    assert (tags["machine"], tags["init_from"]) == ("8 CPU cores", "cartpole/1")
