"""The routes of the console: its page and files, what was rolled out, and the past of a policy."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from polserve.serving.access.callers import Role
from polserve.serving.console.assets import INDEX, answer_asset
from polserve.serving.console.rollouts import RolloutLog
from polserve.serving.errors import Unauthenticated, UnknownPolicy
from polserve.serving.http.messages import Answer
from polserve.serving.http.pages import Readiness, home_page
from polserve.serving.http.requests import Request
from polserve.serving.http.routes import NO_SCRIPTS, Route
from polserve.serving.http.schemas import TEXT, Operation, array, obj
from polserve.serving.sources.source import HistoryState, PolicyHistory
from polserve.serving.versions import ByAlias

_RECORDS = array({"type": "object"})
TELLING = Operation(
    obj(
        {
            "policy": TEXT,
            "state": {"enum": [str(state) for state in HistoryState]},
            "moves": _RECORDS,
            "decisions": _RECORDS,
            "rollouts": _RECORDS,
            "refused": _RECORDS,
            "problem": TEXT,
        },
        "policy",
        "state",
        "problem",
    ),
    name="get_history",
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the service knows, for the console to read."""

    readiness: Callable[[], Readiness]
    live: Callable[[], ByAlias[str]]
    history: Callable[[str], PolicyHistory]
    rollouts: RolloutLog


def history_routes(known: Known) -> list[Route]:
    """Make the route to the past of a policy, which the console and the command line read."""

    async def history(request: Request) -> Answer:
        name, live = request.parameters["name"], known.live()
        live = {policy: aliases for policy, aliases in live.items() if request.caller.sees(policy)}
        if name not in live:
            raise UnknownPolicy(name, live)
        # In a thread: a registry follower that hangs takes nothing more, and probes wait for this one.
        past = await asyncio.to_thread(known.history, name)
        refused = [one for one in known.readiness().get("refused", ()) if one["policy"] == name]
        present = {"refused": refused} if refused else {}
        return _json({"policy": name, "state": past.state, **past.record, **present, "problem": past.problem})

    meaning = "moves of @champion, decisions with their games, rollouts, and what is refused now"
    return [Route("GET", "/v1/policies/{name}/history", history, meaning, operation=TELLING)]


def console_routes(known: Known) -> list[Route]:
    """Make the routes of the page: / for browsers, while programs go on getting text, and its files."""
    as_text = home_page(known.readiness)

    async def home(request: Request) -> Answer:
        is_browser = b"text/html" in (request.header(b"accept") or b"")
        if is_browser:  # the page holds nothing of the service; what it reads may need a token, for which it asks
            return answer_asset(request, INDEX)
        if request.caller.role < Role.OBSERVE:
            raise Unauthenticated("none", "the text at / is for those who may observe")
        return await as_text(request)

    async def file(request: Request) -> Answer:
        return answer_asset(request, request.parameters["file"])

    async def rollouts(request: Request) -> Answer:
        tried = [asdict(one) for one in known.rollouts.latest() if request.caller.sees(one.policy)]
        return _json({"rollouts": tried})

    return [
        Route("GET", "/", home, "the console", Role.NONE),
        Route("GET", "/console/rollouts.json", rollouts, "versions that were tried since the start"),
        Route("GET", "/console/{file}", file, "files of the console", Role.NONE),
    ]


def _json(content: dict[str, Any]) -> Answer:
    return Answer(json.dumps(content).encode() + b"\n", headers=NO_SCRIPTS)
