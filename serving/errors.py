"""What can go wrong online; every message says what was expected, what came, and what to do.

PolserveError
+-- InvalidRequest       a field of a request is not what it must be
+-- UnknownPolicy        no such policy is live
|   +-- UnknownModel         the same, in the words of the Open Inference Protocol
+-- UnknownVersion       the policy is live, but not in this version or under this alias
|   +-- UnknownModelVersion  the same, in the words of the Open Inference Protocol
+-- UnknownService       a health check asks for what is none of ours
+-- Unsupported          a method is known, and not offered
+-- NotReady             nothing can be answered now: starting, or draining
+-- Overloaded           there is no room for more work now
+-- Expired              the time that a call or an episode had is over
|   +-- RanAway              a run of the model took too much time or memory, and was ended
+-- Unauthenticated      a caller has shown nothing that is valid
+-- PermissionDenied     a caller may not do this
+-- RolloutRefused       a version may not go live
+-- ConfigurationError   a setting is not what it must be
+-- PortInUse            a port cannot be bound
+-- WorkersFailed        the processes that answer calls fail again and again
+-- NoService            no service is ready where one was looked for
"""

from collections.abc import Iterable

from polserve.protos.shared.hosts import without_passwords

DROPPED = "dropped before the model: the deadline has passed, or the client has gone"


class PolserveError(Exception):
    """Base of the errors that a caller or an operator can mend."""

    is_user_error = True  # the command line prints it as one line
    exit_code = 1


class InvalidRequest(PolserveError):
    """A field of a request is not what it must be."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")


class UnknownPolicy(PolserveError):
    """No such policy is live."""

    def __init__(self, policy: str, known: Iterable[str]) -> None:
        super().__init__(f"policy: no policy {policy!r} is live; live are {_list(known)}")


class UnknownVersion(PolserveError):
    """The policy is live, but not in this version or under this alias."""

    def __init__(self, policy: str, version: str, versions: Iterable[str], aliases: Iterable[str]) -> None:
        super().__init__(
            f"version: {policy!r} is not live as {version!r}; live are the versions {_list(versions)} "
            f"and the aliases {_list('@' + alias for alias in aliases)}"
        )


class UnknownService(PolserveError):
    """A health check asks for what is neither the service nor a live policy."""

    def __init__(self, service: str) -> None:
        super().__init__(f"service: expected '' or the name of a live policy, got {service!r}")


class UnknownModel(UnknownPolicy):
    """No such policy is live, in the words that clients of the Open Inference Protocol look for."""

    def __init__(self, policy: str, known: Iterable[str]) -> None:
        PolserveError.__init__(
            self, f"model_name: Request for unknown model: {policy!r} is not found; live are {_list(known)}"
        )


class UnknownModelVersion(UnknownVersion):
    """The policy is live, but not so, in the words that clients of the Open Inference Protocol look for."""

    def __init__(self, policy: str, version: str, versions: Iterable[str], aliases: Iterable[str]) -> None:
        PolserveError.__init__(
            self,
            f"model_version: Request for unknown model: {policy!r} version {version!r} is not at ready state; live are "
            f"the versions {_list(versions)} and the aliases {_list('@' + alias for alias in aliases)}",
        )


class Unsupported(PolserveError):
    """A method is known, and not offered; the error says why."""


class NotReady(PolserveError):
    """Nothing can be answered now: starting, or draining."""


class Overloaded(PolserveError):
    """There is no room for more work now; `reason` says in a word what there is no room for."""

    def __init__(self, message: str, retry_after_s: float, reason: str) -> None:
        super().__init__(f"{message}; try again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s
        self.reason = reason


class Expired(PolserveError):
    """The time that a call or an episode had is over."""


class RanAway(Expired):
    """A run of the model took too much time or memory, and was ended."""

    def __init__(self, policy: str, version: str, problem: str) -> None:
        super().__init__(f"{policy}/{version}: {problem} and was ended; do not send the observations again")


class Unauthenticated(PolserveError):
    """A caller has shown nothing that is valid; `reason` says in a word why, and the message repeats no token."""

    def __init__(self, reason: str, got: str, expected: str = "authorization: expected `Bearer TOKEN`") -> None:
        super().__init__(f"{expected} that is valid here, got none: {got}")
        self.reason = reason


class PermissionDenied(PolserveError):
    """A caller may not do this."""

    def __init__(self, needed: str, role: str) -> None:
        super().__init__(f"authorization: expected a caller who may {needed}, got one with the role {role}")


class RolloutRefused(PolserveError):
    """A version may not go live: it is not the policy that was trained, too slow, or unlike the live version."""


class ConfigurationError(PolserveError):
    """A setting is not what it must be."""

    exit_code = 2


class PortInUse(PolserveError):
    """A port cannot be bound."""


class WorkersFailed(PolserveError):
    """The processes that answer calls fail again and again, so that the service ends."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"workers: expected processes that answer calls, got none: {reason}")


class NoService(PolserveError):
    """No service is ready where one was looked for."""

    def __init__(self, target: str, reason: str, waited_s: float, *, is_there: bool = False) -> None:
        said = f"polserve at {target} is not ready" if is_there else f"no polserve answers at {target}"
        after = f" after {waited_s:.0f} s" if waited_s >= 1 else ""
        remedy = "" if is_there else "; start one with `polserve serve`, or correct --target or POLSERVE_TARGET"
        super().__init__(f"{said}{after} ({reason}){remedy}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, or ONNX Runtime by what it says, had no memory left."""
    return isinstance(error, MemoryError) or any(mark in str(error) for mark in ("bad_alloc", "allocate memory"))


def one_line(error: BaseException) -> str:
    """Return the first line of what an error says, without passwords in it, or its class where it says nothing."""
    return without_passwords((str(error).strip().splitlines() or [""])[0]) or type(error).__name__


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
