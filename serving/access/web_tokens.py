"""JSON web tokens: who signed them, for whom, until when, and what their claims let one do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polserve.serving.access.callers import ROLES, Caller, Role, visible
from polserve.serving.access.keys import Keys, KeySet
from polserve.serving.errors import Unauthenticated

ROLE_PREFIX = "polserve:"
"""What may stand before a role in a claim that others use too, such as `scope`."""


@dataclass(frozen=True, slots=True)
class WebTokenRules:
    """What a JSON web token must say."""

    issuer: str
    audience: str
    leeway_s: float = 0.0
    """Seconds by which clocks may differ."""
    role_claim: str = "role"
    policies_claim: str = "policies"


class WebTokens:
    """Verifies JSON web tokens."""

    def __init__(self, rules: WebTokenRules, keys: Keys) -> None:
        self._rules, self._keys = rules, keys

    @property
    def keys(self) -> KeySet:
        """The keys that tokens are verified with now."""
        return self._keys.current

    def look(self) -> None:
        """Take in keys that have changed; called every second."""
        self._keys.look()

    def caller(self, token: str) -> Caller:
        """Return who a token is for.

        Raises:
            Unauthenticated: it is not valid.
            KeysAwaited: that will be known soon.
            NotReady: the keys cannot be had now.
        """
        import jwt

        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise Unauthenticated("key", "the token's key is not among those of the issuer")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=self._rules.leeway_s,
                options={"require": ["exp", "iss", "aud"], "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            # NOTE: PyJWT's own words may repeat what is in the token.
            reason, text = _REASONS.get(type(error).__name__, ("invalid", "the token is not valid"))
            raise Unauthenticated(reason, text) from error
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        name = str(claims.get("sub") or claims.get("client_id") or "unnamed")[:200]
        policies = _claim(claims, self._rules.policies_claim)
        patterns = None if policies is None else _words(policies)
        return Caller(name, self._role(claims), visible(patterns), float(claims["exp"]) + self._rules.leeway_s)

    def _role(self, claims: Mapping[str, Any]) -> Role:
        words = _words(_claim(claims, self._rules.role_claim))
        named = [ROLES.get(word.removeprefix(ROLE_PREFIX), Role.NONE) for word in words]
        return max(named, default=Role.NONE)


_REASONS = {
    "ExpiredSignatureError": ("expired", "the token has expired"),
    "ImmatureSignatureError": ("early", "the token is not valid yet"),
    "InvalidAudienceError": ("audience", "the token is for another audience"),
    "InvalidIssuerError": ("issuer", "the token has another issuer"),
    "MissingRequiredClaimError": ("claims", "the token lacks one of the claims exp, iss and aud"),
    "InvalidAlgorithmError": ("algorithm", "the token is signed by an algorithm that its key is not for"),
    "InvalidSignatureError": ("signature", "the token's signature is wrong"),
}
"""Why a token is not valid, in a word for the metrics and in one for the caller."""


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """Return a claim by its name, or by the dotted path to it; None where there is none."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _words(value: object) -> list[str]:
    """Return the texts of a claim: a list of them, or one with spaces between."""
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
