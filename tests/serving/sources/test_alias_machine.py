"""Whatever is done to a registry, in any order, what answers is what a simple model of the alias protocol says."""

import functools
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from mlflow import MlflowClient

from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.serving.errors import PolserveError
from polserve.serving.rollout import Rollout
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.follower import Follower, last_good
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.registry import Model, Registry
from tests.support.local_workers import LoaderOnly, validate_here

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

CHALLENGER = "challenger"
GOOD, BAD = ("1", "2"), ("3",)
MACHINES = max(1, settings().max_examples // 45)
"""Sequences of rules that are tried."""

aliases = st.sampled_from([CHAMPION, CHALLENGER])


class Flaky(Registry):
    """A registry that is down for a while."""

    is_down = False

    def model(self, name: str) -> Model | None:
        if self.is_down:
            raise ConnectionError("the registry is down")
        return super().model(name)

    def tag_version(self, policy: str, version: str, key: str, value: str) -> None:
        if self.is_down:
            raise ConnectionError("the registry is down")
        super().tag_version(policy, version, key, value)


class AliasMachine(RuleBasedStateMachine):
    """A registry whose aliases people move, and a service that follows it."""

    uri: ClassVar[str]
    store: ClassVar[MlflowClient]
    policy: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.named: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        for alias in (CHAMPION, CHALLENGER):
            self.store.delete_registered_model_alias(self.policy, alias)
        self.is_down = False
        self.validate = functools.cache(validate_here)  # a version that starts again is as it was
        self._start()

    @rule(alias=aliases, version=st.sampled_from([*GOOD, *BAD]))
    def move(self, alias: str, version: str) -> None:
        self.store.set_registered_model_alias(self.policy, alias, version)
        self.named[alias] = version

    @rule(alias=aliases)
    def take_away(self, alias: str) -> None:
        self.store.delete_registered_model_alias(self.policy, alias)
        self.named.pop(alias, None)

    @rule(is_down=st.booleans())
    def fail_or_come_back(self, *, is_down: bool) -> None:
        self.registry.is_down = self.is_down = is_down

    @rule()
    def look(self) -> None:
        try:
            desired = self.follower.desired()
        except ConnectionError:
            assert self.is_down
            self._check()
            return
        assert not self.is_down
        results = self.rollout.apply(desired)
        self.follower.record(results, self.rollout.aliases)
        if self.named:  # else there is nothing sensible to serve, and what was live goes on
            chosen = {
                alias: version if version in GOOD else self.expected.get(alias) for alias, version in self.named.items()
            }
            found = {alias: version for alias, version in chosen.items() if version is not None}
            self.expected = found or self.expected
        self._check()

    @rule()
    def restart(self) -> None:
        self._start()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _start(self) -> None:
        """Start a service on what the one before has left in the cache."""
        self.registry = Flaky(self.uri)
        self.registry.is_down = self.is_down
        config = FollowerConfig(self.uri, (self.policy,), (CHAMPION, CHALLENGER), 1.0, self.folder.name, 2**30, "tests")
        cache = VersionCache(Path(self.folder.name))
        self.follower = Follower(config, self.registry, cache)
        self.workers = LoaderOnly(CHAMPION, CHALLENGER)
        self.rollout = Rollout(self.validate, self.workers, is_list_fixed=True)
        if good := last_good(config, cache):
            self.rollout.apply(good)
        self._check()

    def _check(self) -> None:
        assert dict(self.rollout.aliases.get(self.policy, {})) == self.expected
        for alias in (CHAMPION, CHALLENGER):
            try:
                answering = self.workers.catalog.resolve(self.policy, f"@{alias}", None).version
            except PolserveError:
                assert alias not in self.expected
            else:
                assert answering == self.expected[alias]


def test_what_answers_is_what_a_model_of_the_alias_protocol_says(
    mlflow_url: str, store: MlflowClient, policy: str
) -> None:
    sound = store.get_model_version(policy, GOOD[0])
    for number in BAD:
        assert store.create_model_version(policy, sound.source, sound.run_id).version == number
        store.set_model_version_tag(policy, number, SHA256_TAG, "0" * 64)

    class Machine(AliasMachine):
        pass

    Machine.uri, Machine.store, Machine.policy = mlflow_url, store, policy
    run_state_machine_as_test(Machine, settings=settings(max_examples=MACHINES, stateful_step_count=20))
