"""Names of policies: those that MLflow registers, and those of what a run logs; known without mlflow."""

import re

from polserve.protos.shared.names import POLICY_NAME
from polserve.training.errors import InvalidOption

LONGEST_NAME = 200
"""Characters of the longest name. MLflow's registry has room for 256, and a folder for 255, with the seed in it."""
_NO_PART_OF_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def check_policy_name(name: str, told_by: str = "name") -> None:
    """Raise InvalidOption where a policy cannot have this name, in a folder or in the registry."""
    if not POLICY_NAME.fullmatch(name):
        raise InvalidOption(
            f"{told_by}: expected letters, digits, '-', '_' and '.', not beginning with '-' or '.'; got {name!r}"
        )
    if len(name) > LONGEST_NAME:
        raise InvalidOption(f"{told_by}: expected at most {LONGEST_NAME} characters, got {len(name)}: {name[:40]}...")


def policy_name_from(text: str) -> str:
    """Turn a text into the name of a policy, in lower case: what a name cannot hold becomes '-'; "" for nothing."""
    return _NO_PART_OF_A_NAME.sub("-", text.lower()).strip(".-")[:LONGEST_NAME]


def logged_model_name(policy: str) -> str:
    """Name of the model that a run logs for a policy, which MLflow keeps apart from the name that is registered.

    MLflow 3 refuses '.' there (and '/', ':', '%' and quotes, which no policy's name has), and takes it in the registry.
    """
    return policy.replace(".", "-")
