"""Random Allocate requests put through the service's allocation and ledger, by the million: how often it overspends.

Each has 1 to 8 channels, amounts of any size up to int64, floors, caps or none, and float32 wishes of any size, as a
network might answer that was never trained. No call is made: what is counted is the arithmetic.
"""

import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.tables import finish, options, show
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.calls import MOST_MICROS
from polserve.protos.shared.names import BUDGET_COMPONENTS
from polserve.serving.allocation import AllocationContract, ChannelDay, Day
from polserve.serving.ledger import allocate

MOST_CHANNELS = 8
CHUNK = 50_000


@dataclass
class Count:
    """What was found in some requests."""

    requests: int = 0
    scaled: int = 0
    """Requests whose wishes exceeded what was left."""
    overspent: int = 0
    outside: int = 0
    """Requests with a spend below its floor or above its cap."""
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
    """Draw an amount of any order of magnitude, up to `most`."""
    return min(most, int(2 ** rng.uniform(0, 63))) if most else 0


def contract_of(channels: int) -> AllocationContract:
    """Draw what an allocator with so many channels takes."""
    names = [f"channel{index}" for index in range(channels)]
    action = pb.ActionSpec(continuous=pb.ContinuousActions(low=[0.0] * channels, high=[1.0] * channels))
    block = pb.AllocationSpec(channels=names, history_days=0, max_horizon_days=30, components=BUDGET_COMPONENTS)
    observation = pb.ObservationSpec(dtype=pb.FLOAT32, shape=[len(BUDGET_COMPONENTS)])
    return AllocationContract(pb.PolicySpec(observation=observation, action=action, allocation=block))


CONTRACTS = [contract_of(channels) for channels in range(1, MOST_CHANNELS + 1)]


def draw(rng: random.Random, names: tuple[str, ...]) -> Day:
    """Draw a request that may be answered."""
    remaining = left = amount(rng, MOST_MICROS)
    channels = []
    for name in names:
        floor = amount(rng, left) if rng.random() < 0.3 else 0  # noqa: PLR2004
        left -= floor
        cap = floor + amount(rng, MOST_MICROS - floor) if rng.random() < 0.5 else None  # noqa: PLR2004
        channels.append(ChannelDay(name, (), floor, cap))
    return Day(rng.randrange(30), 30, rng.randint(remaining, MOST_MICROS), remaining, rng.randrange(7), 1.0, channels)


def count(seed: int, requests: int) -> Count:
    """Answer random requests."""
    rng, found = random.Random(seed), Count(requests)  # noqa: S311 - no secret
    for _ in range(requests):
        contract = rng.choice(CONTRACTS)
        day = draw(rng, contract.channels)
        contract.check(day)
        spends_wanted = np.array([2 ** rng.uniform(-20, 60) for _ in contract.channels], np.float32)
        wishes = contract.wishes(day, spends_wanted)
        wanted = sum(min(max(wish.wanted_micros, wish.floor_micros), wish.cap_micros) for wish in wishes)
        spends = [spend.micros for spend in allocate(wishes, day.remaining_micros)]
        spent = sum(spends)
        found.scaled += wanted > day.remaining_micros
        found.overspent += spent > day.remaining_micros
        found.outside += any(
            micros < channel.floor_micros or (channel.cap_micros is not None and micros > channel.cap_micros)
            for channel, micros in zip(day.channels, spends, strict=True)
        )
        lost = min(wanted, day.remaining_micros) - spent
        found.most_lost = max(found.most_lost, lost - (len(wishes) - 1))
    return found


def main() -> None:
    """Count in all cores."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000_000, help="random requests")
    arguments = parser.parse_args()
    requests = 100_000 if arguments.quick else arguments.requests
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
