"""Open the console in Chromium and print, as JSON, how soon it paints and how fast it plays.

`benchmarks.console` runs this file with a Python that has playwright; its arguments are the browser, an address and a
number of rounds.
"""

import json
import re
import sys
import time
from typing import Any

from playwright.sync_api import Page, sync_playwright  # type: ignore[import-not-found]

PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
SETTLE_S, PLAY_S = 3.0, 8.0
PACE = re.compile(r"(\d+) steps/s · (.*?) a call")


def main() -> None:
    """Look at the pages, and print what was seen."""
    chromium, address, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        paints: dict[str, list[float]] = {"/livez": [], "/": []}
        for _ in range(rounds):
            for path, seen in paints.items():
                page = browser.new_page()
                seen.append(paint_ms(page, address + path))
                page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        played = play(page, f"{address}/#/policies/cartpole")
        browser.close()
    sys.stdout.write(json.dumps({"paints": paints, **played}))


def paint_ms(page: Page, url: str) -> float:
    """Milliseconds from the start of loading a page to its first text or picture."""
    page.goto(url)
    return float(page.wait_for_function(PAINTED).json_value())


def play(page: Page, url: str) -> dict[str, Any]:
    """Watch CartPole; return its steps a second, by the page's own count, and what a call took."""
    page.goto(url)
    page.wait_for_selector(".stage-status")
    time.sleep(SETTLE_S + PLAY_S)
    status = page.text_content(".stage-status")
    found = PACE.search(status)
    if found is None:
        raise SystemExit(f"expected steps a second, got {status!r}")
    return {"steps_per_second": float(found[1]), "call": found[2]}


main()
