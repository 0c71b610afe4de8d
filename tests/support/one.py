"""An environment of which only one may exist at a time, as where a simulator listens on a port."""

from typing import Any, ClassVar

from tests.support.strangers import Line


class OnlyOne(Line):
    """A line whose episodes take ten steps; it keeps account of those that exist, and of its seeds."""

    existing: ClassVar[int] = 0
    made: ClassVar[int] = 0
    seeds: ClassVar[list[int]] = []
    length = 10

    def __init__(self) -> None:
        if OnlyOne.existing:
            raise RuntimeError("port 5555 is in use")
        OnlyOne.existing += 1
        OnlyOne.made += 1
        self._is_open = True

    def close(self) -> None:
        OnlyOne.existing -= self._is_open
        self._is_open = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        if seed is not None:
            OnlyOne.seeds.append(seed)
        return super().reset(seed=seed, options=options)

    def is_over(self) -> bool:
        return self.steps >= self.length

    @classmethod
    def forget(cls) -> None:
        """Begin the account anew."""
        OnlyOne.existing, OnlyOne.made, OnlyOne.seeds = 0, 0, []
