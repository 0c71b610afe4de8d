"""Random budgets put into the ledger, by the million: how often it overspends, and what rounding leaves.

Each has 1 to 8 channels, amounts of any size up to int64, floors and caps, and wishes of any size, as a network might
answer that was never trained.
"""

import sys

sys.path[0] = sys.path[0].removesuffix("/benchmarks")  # else serving.py there would hide the package serving

import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from benchmarks.tables import finish, options, show
from serving.ledger import Wish, allocate

MOST_MICROS = 2**63 - 1
CHUNK = 100_000


@dataclass
class Count:
    """What was found in some requests."""

    requests: int = 0
    scaled: int = 0
    """Of which the wishes exceeded what was left."""
    overspent: int = 0
    outside: int = 0
    """With a spend below its floor or above its cap."""
    most_lost: int = 0
    """Micros that rounding left, beyond the number of channels less one."""

    def add(self, other: "Count") -> None:
        """Count those of `other` too."""
        self.requests += other.requests
        self.scaled += other.scaled
        self.overspent += other.overspent
        self.outside += other.outside
        self.most_lost = max(self.most_lost, other.most_lost)


def amount(rng: random.Random, most: int) -> int:
    """An amount of any order of magnitude, up to `most`."""
    return min(most, int(2 ** rng.uniform(0, 63))) if most else 0


def count(seed: int, requests: int) -> Count:
    """Put random requests into the ledger."""
    rng, found = random.Random(seed), Count(requests)  # noqa: S311 - no secret
    for _ in range(requests):
        remaining, wishes, left = amount(rng, MOST_MICROS), [], 0
        left = remaining
        for _ in range(rng.randint(1, 8)):
            floor = amount(rng, left) if rng.random() < 0.3 else 0  # noqa: PLR2004
            left -= floor
            cap = floor + amount(rng, MOST_MICROS - floor) if rng.random() < 0.5 else max(floor, remaining)  # noqa: PLR2004
            wishes.append(Wish(amount(rng, MOST_MICROS), floor, cap))
        wanted = sum(min(max(wish.wanted_micros, wish.floor_micros), wish.cap_micros) for wish in wishes)
        spends = [spend.micros for spend in allocate(wishes, remaining)]
        spent = sum(spends)
        found.scaled += wanted > remaining
        found.overspent += spent > remaining
        found.outside += any(
            not wish.floor_micros <= micros <= wish.cap_micros for wish, micros in zip(wishes, spends, strict=True)
        )
        found.most_lost = max(found.most_lost, min(wanted, remaining) - spent - (len(wishes) - 1))
    return found


def main() -> None:
    """Count in all cores."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000_000, help="random requests")
    arguments = parser.parse_args()
    requests = 200_000 if arguments.quick else arguments.requests
    started, total = time.monotonic(), Count()
    chunks = [CHUNK] * (requests // CHUNK) + ([requests % CHUNK] if requests % CHUNK else [])
    with ProcessPoolExecutor() as pool:
        for found in pool.map(count, range(len(chunks)), chunks):
            total.add(found)
    rows = [
        ("requests", f"{total.requests:,}"),
        ("of which wanted more than was left", f"{total.scaled:,}"),
        ("overspent", f"{total.overspent:,}"),
        ("outside of a floor or a cap", f"{total.outside:,}"),
        ("lost more than one micro for each channel but one", "yes" if total.most_lost > 0 else "never"),
    ]
    show(f"the ledger, in {time.monotonic() - started:.0f} s", ("what", "count"), rows)
    figures = {"requests": total.requests, "overspent": total.overspent, "outside": total.outside}
    finish({**figures, "lost_beyond_rounding": max(0, total.most_lost)}, as_json=arguments.json)
    if total.overspent or total.outside or total.most_lost > 0:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
