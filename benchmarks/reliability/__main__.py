"""Overload, many calls in flight, a soak, and kills: the table of docs/reliability.md.

`python -m benchmarks.reliability [overload] [inflight] [soak] [kills]` runs the named parts, or all.
"""

from benchmarks.act import Report
from benchmarks.load import require_h2load
from benchmarks.reliability.inflight import measure_in_flight
from benchmarks.reliability.kills import measure_kills
from benchmarks.reliability.overload import measure_overload
from benchmarks.reliability.soak import measure_soak
from benchmarks.tables import finish, options, show

PARTS = {
    "overload": measure_overload,
    "inflight": measure_in_flight,
    "soak": measure_soak,
    "kills": measure_kills,
}


def main() -> None:
    """Measure the parts, and print what they found."""
    parser = options(__doc__ or "")
    parser.add_argument("parts", nargs="*", help="what to measure; all by default")
    parser.add_argument("--minutes", type=float, default=20.0, help="length of the soak")
    parser.add_argument("--kills", type=int, default=100, help="number of kills")
    parser.add_argument("--times", type=float, default=3.0, help="overload: calls that come, to the capacity")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"parts: expected some of {', '.join(PARTS)}, got {', '.join(unknown)}")
    require_h2load()
    report = Report()
    for name in arguments.parts or PARTS:
        PARTS[name](report, arguments)
    show("reliability", ("what", "measured", "to", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
