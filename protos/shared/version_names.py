"""How a person writes which version is meant."""

import re
from dataclasses import dataclass

_FOLDER = re.compile(r"[.~/].*|[^/]*/[^/]*/.*")


def names_folder(text: str) -> bool:
    """Return whether a text names a folder, not a version: ./1, ~/policies/cartpole/1, policies/cartpole/1."""
    return _FOLDER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class VersionName:
    """The name of a version as a person writes it: POLICY, POLICY/VERSION or POLICY@ALIAS (also POLICY/@ALIAS)."""

    policy: str
    version: str = ""
    alias: str = ""

    @classmethod
    def parse(cls, text: str) -> "VersionName":
        """Read the name that a person wrote."""
        policy, _, rest = text.partition("@") if "@" in text else text.partition("/")
        if "@" in text:
            return cls(policy.rstrip("/"), alias=rest)
        return cls(policy, version=rest)
