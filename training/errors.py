"""What can go wrong offline through a user's doing; every message says what was expected, what came, what to do.

TrainingError
+-- UnknownEnvironment      the environment id is not registered
+-- UnsupportedEnvironment  the agent cannot learn in this environment's spaces
+-- FaultyEnvironment       the environment raised, or gave what Gymnasium's API or its own spaces do not allow
+-- InvalidOption           a hyper-parameter has no such name or not such a value
+-- TrainingDiverged        training came to its end, and no score was a number
+-- CheckpointError         a checkpoint is missing, damaged, or of another run
+-- ExportRefused           the exported graph does not answer as the trained network does
+-- ImportRefused           a file of another tool cannot be read, or its graph does not answer as the original does
+-- SigningRefused          a version cannot be signed so: no key that can be used, or no version
+-- RegistryError           the MLflow registry lacks something or does not answer
+-- PromotionRefused        the evidence does not allow the promotion, or services would refuse the version
+-- RaceLost                somebody else moved the alias first
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polserve.training.promotion.decision import Decision


class TrainingError(Exception):
    """Base of the errors that a user of the offline side can cause."""

    is_user_error = True  # the command line prints it as one line
    exit_code = 1


class UnknownEnvironment(TrainingError):
    """The environment id is not registered with Gymnasium."""


class UnsupportedEnvironment(TrainingError):
    """The agent cannot learn in this environment's spaces."""


class FaultyEnvironment(TrainingError):
    """The environment raised, or gave what Gymnasium's API or its own spaces do not allow."""


class InvalidOption(TrainingError):
    """A hyper-parameter has no such name or not such a value."""

    exit_code = 2


class TrainingDiverged(TrainingError):
    """Training came to its end, and no score was a number."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged, or of another run."""


class ExportRefused(TrainingError):
    """The exported graph does not answer as the trained network does."""


class ImportRefused(TrainingError):
    """A file of another tool cannot be read, or its graph does not answer as the original does."""


class SigningRefused(TrainingError):
    """A version cannot be signed so: there is no key that can be used, or no version."""


class RegistryError(TrainingError):
    """The MLflow registry lacks something or does not answer."""


class PromotionRefused(TrainingError):
    """The evidence does not allow the promotion, or there can be none; or services would refuse the version."""

    def __init__(self, message: str, decision: "Decision | None" = None) -> None:
        super().__init__(message)
        self.decision = decision
        """The decision with its evidence; None where nobody could play."""


class RaceLost(TrainingError):
    """Somebody else moved the alias first, or is about to."""

    decision: "Decision | None" = None
    """The decision on a candidate that came too late; None for a rollback."""


def require_whole(**numbers: object) -> None:
    """Raise InvalidOption where one of the arguments is given and is no whole number."""
    for name, number in numbers.items():
        is_whole = hasattr(type(number), "__index__") and not isinstance(number, bool)
        if number is not None and not is_whole:
            raise InvalidOption(f"{name}: expected a whole number, got {number!r}")


def require_kind(expected: str, kinds: type | tuple[type, ...], **arguments: object) -> None:
    """Raise InvalidOption where one of the arguments is given and is of none of these kinds."""
    for name, argument in arguments.items():
        if argument is not None and not isinstance(argument, kinds):
            raise InvalidOption(f"{name}: expected {expected}, got {argument!r}")


def require_given(**arguments: object) -> None:
    """Raise InvalidOption where one of the arguments, for which None stands for nothing, is None."""
    for name, argument in arguments.items():
        if argument is None:
            raise InvalidOption(f"{name}: expected a value, got None; leave it out for the default")


def require_json(**mappings: Mapping[Any, Any] | None) -> None:
    """Raise InvalidOption where one of the mappings has a key that is no text, or a value that JSON has not."""
    for name, mapping in mappings.items():
        for key, value in (mapping or {}).items():
            if not isinstance(key, str):
                raise InvalidOption(f"{name}: expected names, got the key {key!r}")
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise InvalidOption(
                    f"{name}: expected values that JSON can hold, since the policy's spec stores them as JSON; "
                    f"got {key}={value!r}"
                ) from error


def require(condition: bool, name: str, expected: str, got: object) -> None:  # noqa: FBT001 - an assertion for users
    """Raise InvalidOption where the `condition` on a hyper-parameter does not hold."""
    if not condition:
        raise InvalidOption(f"{name}: expected {expected}, got {got}")
