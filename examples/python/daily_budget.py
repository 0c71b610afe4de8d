"""What to spend today on each channel, as a nightly job would ask: `python daily_budget.py [TARGET]`."""

import sys

from polserve import BudgetDay, PolicyClient

today = BudgetDay(
    day=3,
    horizon_days=30,
    total_micros=30_000_000_000,
    remaining_micros=27_400_000_000,
    weekday=3,
    spent_micros={  # newest day first
        "facebook": [700_000_000, 655_000_000, 610_000_000],
        "instagram": [210_000_000, 220_000_000, 205_000_000],
    },
    cap_micros={"instagram": 500_000_000},
)
with PolicyClient(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as client:
    split = client.allocate("adbudget", today)
for channel, micros in split.spend_micros.items():
    print(f"{channel:<12}{micros / 1e6:>10.2f}")
print(f"{'kept back':<12}{split.unspent_micros / 1e6:>10.2f}")
