"""How a person writes which version is meant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VersionName:
    """Which version is meant: POLICY, POLICY/VERSION or POLICY@ALIAS (also POLICY/@ALIAS)."""

    policy: str
    version: str = ""
    alias: str = ""

    @classmethod
    def parse(cls, text: str) -> "VersionName":
        """Read the name that `text` writes."""
        policy, _, rest = text.partition("@") if "@" in text else text.partition("/")
        if "@" in text:
            return cls(policy.rstrip("/"), alias=rest)
        return cls(policy, version=rest)
