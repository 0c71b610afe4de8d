"""Visit the console in Chromium, and print what was seen as one JSON object; runs where playwright is installed.

The argument is JSON: the browser, the file of axe-core, the address of a service with the bundled policies, and that of
one whose registry is full of scripts.
"""

import json
import sys
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright  # type: ignore[import-not-found]

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TIMEOUT_MS = 90_000


class Visit:
    """A page of the console in a tab of its own, which notes whatever goes wrong there."""

    def __init__(self, browser: Browser, address: str, awaited: str = "main .page") -> None:
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.page: Page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 900})
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(address)
        self.page.wait_for_selector(awaited)

    def _note(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.problems.append(said.text)

    def _dismiss(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def shows(self, selector: str, condition: str) -> None:
        """Wait until the text of an element is as a condition in JavaScript on `text` says."""
        text = "const text = document.querySelector(at)?.textContent ?? ''"
        self.page.wait_for_function(f"(at) => {{ {text}; return {condition}; }}", arg=selector)

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))

    def texts(self, selector: str) -> list[str]:
        return list(self.page.locator(selector).all_text_contents())

    def violations(self, axe: str) -> list[str]:
        """What axe-core finds in light and in dark, each with the first element that it finds it at."""
        self.page.evaluate(axe)
        found: list[str] = []
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            result = self.page.evaluate(
                "(levels) => axe.run(document, { runOnly: levels, resultTypes: ['violations'] })", LEVELS
            )
            found += [f"{scheme}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in result["violations"]]
        return found

    def outcome(self, violations: list[str], **seen: Any) -> dict[str, Any]:
        """Close the tab; return what was seen, with what is wrong."""
        self.page.close()
        return {**seen, "violations": violations, "problems": self.problems}


def main() -> None:
    given = json.loads(sys.argv[1])
    axe = open(given["axe"], encoding="utf-8").read()  # noqa: PTH123, SIM115 - a script of a few lines
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given["chromium"], args=["--no-sandbox"])
        seen = {
            "overview": overview(browser, given["bundled"], axe),
            "cartpole": cartpole(browser, given["bundled"], axe),
            "mountaincar": mountaincar(browser, given["bundled"], axe),
            "mspacman": mspacman(browser, given["bundled"], axe),
            "adbudget": adbudget(browser, given["bundled"], axe),
            "guarded": guarded(browser, given["guarded"], given["token"], axe),
            "hostile": hostile(browser, given["hostile"], axe),
        }
        browser.close()
    sys.stdout.write(json.dumps(seen))


def overview(browser: Browser, address: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, address)
    visit.page.wait_for_selector("article.policy")
    seen: dict[str, Any] = {"policies": visit.texts("article.policy h3 a"), "state": visit.text("#state")}
    violations = visit.violations(axe)
    visit.page.keyboard.press("Tab")  # the name of the page, then the links
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#budget")
    seen["after three tabs and enter"] = visit.page.evaluate("document.activeElement.textContent")
    seen["title"] = visit.page.title()
    return visit.outcome(violations, **seen, hosts=sorted(visit.hosts))


def cartpole(browser: Browser, address: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, f"{address}/#/policies/cartpole")
    visit.shows(".stage-status", "Number(/step (\\d+)/.exec(text)?.[1]) > 40")
    seen: dict[str, Any] = {
        "status": visit.text(".stage-status"),
        "values": visit.texts("[aria-labelledby=play] .bar-name"),
    }
    visit.page.focus("canvas")
    for _ in range(12):
        visit.page.keyboard.press("ArrowLeft")
    visit.shows(".stage-status", "/episode [2-9]/.test(text)")
    visit.page.fill("#component-2", "0.2")
    visit.shows("[aria-labelledby=form] .marked .bar-name", "text === 'push right'")
    visit.page.fill("#component-2", "-0.2")
    visit.shows("[aria-labelledby=form] .marked .bar-name", "text === 'push left'")
    seen["problems before"] = list(visit.problems)
    visit.page.fill("#component-2", "")
    visit.shows("[aria-labelledby=form] .problem", "text.length > 0")
    seen["refusal"] = visit.text("[aria-labelledby=form] .problem")
    visit.page.wait_for_selector("[aria-labelledby=doing] .bars li")
    seen["actions"] = visit.texts("[aria-labelledby=doing] .bar-name")
    seen["history"] = visit.text("[aria-labelledby=history]")
    visit.problems.clear()  # of the refusal, which the browser notes as an error
    return visit.outcome(visit.violations(axe), **seen)


def mountaincar(browser: Browser, address: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, f"{address}/#/policies/mountaincar")
    visit.shows(".stage-status", "Number(/step (\\d+)/.exec(text)?.[1]) > 20")
    return visit.outcome(visit.violations(axe), status=visit.text(".stage-status"))


def mspacman(browser: Browser, address: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, f"{address}/#/policies/mspacman")
    visit.shows(".stage-status", "Number(/step (\\d+)/.exec(text)?.[1]) > 5")
    image = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 160, 210)"
    colors = visit.page.evaluate(f"new Set(new Uint32Array({image}.data.buffer)).size")
    return visit.outcome(visit.violations(axe), status=visit.text(".stage-status"), colors=colors)


def adbudget(browser: Browser, address: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, f"{address}/#/policies/adbudget")
    visit.page.wait_for_selector(".plan table tbody tr", state="attached")
    seen: dict[str, Any] = {
        "days": visit.page.locator(".plan tbody tr").count(),
        "today": visit.texts("[aria-labelledby=budget] .bar-name"),
    }
    visit.page.locator("label", has_text="Days of the horizon").locator("..").locator("input").fill("7")
    visit.page.wait_for_function("() => document.querySelectorAll('.plan tbody tr').length === 7")
    seen["left"] = visit.texts(".plan tbody tr:last-child td")[-1]
    return visit.outcome(visit.violations(axe), **seen)


def guarded(browser: Browser, address: str, token: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, address, awaited="#token")
    violations = visit.violations(axe)
    seen = {"asked": visit.text("#alert p"), "shown before": visit.page.locator("article.policy").count()}
    visit.page.fill("#token", token)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("article.policy")
    return visit.outcome(violations, **seen, policies=visit.texts("article.policy h3 a"))


def hostile(browser: Browser, address: str, axe: str) -> dict[str, Any]:
    visit = Visit(browser, address)
    visit.page.wait_for_selector("article.policy a")
    visit.page.click("article.policy a")
    visit.page.wait_for_selector(".events li svg")
    seen = {
        "text": visit.text("main"),
        "is owned": visit.page.evaluate("'owned' in window"),
        "scripts": visit.page.locator("main script, main img, main iframe").count(),
    }
    return visit.outcome(visit.violations(axe), **seen)


main()
