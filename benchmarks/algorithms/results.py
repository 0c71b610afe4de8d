"""Results of runs, a line of JSON each in a file, so that a comparison goes on where it stopped."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is to be made: everything that its result depends on, the code apart."""

    side: str
    """Whose learner it is."""
    algorithm: str
    problem: str
    units: str
    steps: int
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """A run that was made."""

    plan: Plan
    mean_return: float
    """Mean over the greedy games after training."""
    cpu_s: float
    """CPU time of training, evaluations in between included."""


class Results:
    """Results that a file holds."""

    def __init__(self, path: Path) -> None:
        """Read what earlier calls left.

        Raises:
            ValueError: a line is no result; a last line without an end, which a kill leaves, is dropped.
        """
        self._path = path
        self._found: dict[Plan, Result] = {}
        text = path.read_text() if path.exists() else ""
        whole, _, torn = text.rpartition("\n")
        if torn:
            path.write_text(f"{whole}\n" if whole else "")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                fields = json.loads(line)
                result = Result(Plan(**fields["plan"]), float(fields["mean_return"]), float(fields["cpu_s"]))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected a result of this program, got {line[:60]!r}; "
                    "give another file as --results, or remove the line"
                ) from error
            self._found[result.plan] = result

    def __contains__(self, plan: Plan) -> bool:
        return plan in self._found

    def __iter__(self) -> Iterator[Result]:
        return iter(self._found.values())

    def add(self, result: Result) -> None:
        """Keep a result."""
        self._found[result.plan] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(result)) + "\n")
