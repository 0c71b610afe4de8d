"""The alias @champion, moved so that of two who move it at once one learns that it lost.

MLflow's aliases have no compare-and-swap. Whoever wants to move one says so in a tag first, waits long enough for
others to have said the same, and goes on only if the tag is still its own and the alias still where the decision was
made against. docs/promotion.md says what this cannot hold.
"""

import contextlib
import getpass
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from polserve.protos.shared.alias_history import HISTORY_TAG, Move, extended, parse_history, points_at
from polserve.protos.shared.names import CHAMPION
from polserve.training.errors import RaceLost
from polserve.training.registry.store import registry_errors

INTENT_TAG = "polserve.champion.intent"
"""Tag of a registered model: who is about to move @champion, as JSON."""
INTENT_LIFE_S = 60.0
"""The age of an intent after which its process is taken to have died."""
SETTLE_S = 1.0
"""The wait between saying so and going on: others that found no intent before ours have written theirs by then."""
OUTCOME_TIMEOUT_S = 5.0
"""The longest wait for whoever was first to end, so that the loser can say who won."""
LOOK_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class AliasMove:
    """A move of @champion to a version, in place of the one that the move was decided against."""

    policy: str
    version: str
    replaces: str | None
    """The champion that the move was decided against; None where there was none."""
    by: str
    is_rollback: bool = False
    notes: tuple[str, ...] = ()
    """What whoever makes the move should know, such as versions that were passed over; a sentence each."""

    def __str__(self) -> str:
        """Say in a line what the alias names now, and what it named before."""
        return f"{self.policy}: @{CHAMPION} is version {self.version}, after {self.replaces or 'none'}"


@dataclass(frozen=True, slots=True)
class Intent:
    """The announcement that somebody is about to move the alias."""

    token: str
    version: str
    replaces: str | None
    by: str
    at: str
    """UTC, ISO 8601."""

    @classmethod
    def of(cls, move: AliasMove) -> "Intent":
        """Return the intent to make this move, as of now."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(secrets.token_hex(8), move.version, move.replaces, move.by, at)

    @classmethod
    def on(cls, model: RegisteredModel) -> "Intent | None":
        """Return the intent that stands; None where there is none, or where it is not what we write."""
        try:
            return cls(**json.loads(model.tags[INTENT_TAG]))
        except (KeyError, ValueError, TypeError):
            return None

    @property
    def is_fresh(self) -> bool:
        """Whether whoever wrote it may still act on it."""
        try:
            age = datetime.now(UTC) - datetime.fromisoformat(self.at)
        except (ValueError, TypeError):
            return False
        return abs(age.total_seconds()) < INTENT_LIFE_S


def mover(command: str) -> str:
    """Return who moves an alias, for the record: the command, the user and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{command} by {user}@{socket.gethostname()}"


def champion_of(model: RegisteredModel) -> str | None:
    """Return the version that @champion points at; None where there is no @champion."""
    version = model.aliases.get(CHAMPION)
    return None if version is None else str(version)


class ChampionAlias:
    """@champion of the registered models in a store."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def move(self, move: AliasMove) -> None:
        """Point the alias at the version, and write that into the history of the alias.

        Raises:
            RaceLost: somebody else moved it, or is about to; the alias is theirs.
            RegistryError: the store does not answer.
        """
        with registry_errors(self._client):
            standing = Intent.on(self._model(move))
            if standing is not None and standing.is_fresh:
                raise self._lost(move, standing)
            intent = Intent.of(move)
            self._write(move, intent)
            with self._withdrawn(move, intent):
                if move.replaces is not None:
                    time.sleep(SETTLE_S)  # a first champion is nobody's loss
                self._check(move, intent)
                self._client.set_registered_model_alias(move.policy, CHAMPION, move.version)
                self._record(move)

    def _write(self, move: AliasMove, intent: Intent) -> None:
        """Write our intent; raise RaceLost where another was written at the very moment, which a database refuses."""
        try:
            self._client.set_registered_model_tag(move.policy, INTENT_TAG, json.dumps(asdict(intent)))
        except MlflowException:
            standing = Intent.on(self._model(move))
            if standing is None or not standing.is_fresh:
                raise
            raise self._lost(move, standing) from None

    def _check(self, move: AliasMove, intent: Intent) -> None:
        """Raise RaceLost where somebody else is about to move the alias or has moved it."""
        model = self._model(move)
        if (standing := Intent.on(model)) != intent:
            raise self._lost(move, standing)
        if champion_of(model) != move.replaces:
            raise self._lost(move, None)

    def _record(self, move: AliasMove) -> None:
        """Write the move into the history, after what was there before if nobody had written that down.

        A service may write what it saw at the same moment, which a database refuses to one of the two: try again then.
        """
        for attempts_left in (2, 1, 0):
            model = self._model(move)
            if champion_of(model) != move.version:
                raise self._lost(move, Intent.on(model))
            text = _recorded(model.tags.get(HISTORY_TAG, ""), move)
            try:
                self._client.set_registered_model_tag(move.policy, HISTORY_TAG, text)
            except MlflowException:
                if not attempts_left:
                    raise
                time.sleep(LOOK_INTERVAL_S)
            else:
                return

    @contextlib.contextmanager
    def _withdrawn(self, move: AliasMove, intent: Intent) -> Iterator[None]:
        """Take our intent back when the block is left; where that fails, it expires."""
        try:
            yield
        finally:
            with contextlib.suppress(MlflowException):
                if Intent.on(self._model(move)) == intent:
                    self._client.delete_registered_model_tag(move.policy, INTENT_TAG)

    def _lost(self, move: AliasMove, rival: Intent | None) -> RaceLost:
        """Build the error that says who won, as soon as that is known."""
        until = time.monotonic() + OUTCOME_TIMEOUT_S
        while champion_of(model := self._model(move)) == move.replaces and time.monotonic() < until:
            time.sleep(LOOK_INTERVAL_S)
        champion = champion_of(model)
        named = f"{move.policy}/{move.version} did not become @{CHAMPION}"
        if champion == move.replaces:
            who = f"{rival.by} is moving it to {rival.version} since {rival.at}" if rival else "somebody is moving it"
            return RaceLost(f"{named}: {who}; look again in a minute")
        latest = [moved for moved in parse_history(model.tags.get(HISTORY_TAG, ""))[-1:] if moved.version == champion]
        by = latest[0].by if latest else rival.by if rival and rival.version == champion else "somebody by hand"
        now = f"version {champion} is, moved by {by}" if champion else f"there is no @{CHAMPION} any more"
        return RaceLost(f"{named}: {now}, while it stood at {move.replaces or 'none'} when this was decided; ask again")

    def _model(self, move: AliasMove) -> RegisteredModel:
        return self._client.get_registered_model(move.policy)


def _recorded(text: str, move: AliasMove) -> str:
    """Return the history with the move, and with what stood before it if that is not on record."""
    if move.replaces is not None and not points_at(text, move.replaces) and not points_at(text, move.version):
        text = extended(text, Move.now(move.replaces, f"seen by {move.by}"))
    return extended(text, Move.now(move.version, move.by, is_rollback=move.is_rollback))
