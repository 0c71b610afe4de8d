"""The page at /: what is live, and how to call it; without scripts, and nothing is loaded from elsewhere.

A service is named on it as its reader called it: by the request's Host header.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

PAGES = {
    "/readyz": "whether it is ready, and why not",
    "/livez": "whether the process lives",
    "/metrics": "metrics for Prometheus",
}
"""The pages for operators, which this module's users answer, with what they say."""
LISTED = {**PAGES, "/v1/policies": "what is live, in JSON", "/openapi.json": "every call over HTTP, in OpenAPI"}
"""What the page leads to."""
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2em 1.5em .2em 0}"
    "pre{background:#8881;padding:.6em;overflow:auto}:root{color-scheme:light dark}"
)


def as_text(state: Mapping[str, Any], address: str) -> str:
    """Write the page for a terminal.

    Args:
        state: what /readyz says.
        address: by which the service was called: a host, and mostly a port.
    """
    lines = [f"polserve: {_standing(state)}", ""]
    lines += [f"  {name}/{version}  {aliases}".rstrip() for name, version, aliases in _rows(state)]
    lines += [f"  {line}" for line in _refused(state)]
    lines += ["", f"HTTP here, and gRPC on port {state['grpc_port']}:", ""]
    lines += [*(f"  {line}" for line in _calls(state, address)), ""]
    lines += [f"{path:<13} {meaning}" for path, meaning in LISTED.items()]
    return "\n".join(lines) + "\n"


def as_html(state: Mapping[str, Any], address: str) -> str:
    """Write the page for a browser."""
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in _rows(state))
    links = "".join(f'<li><a href="{path}">{path}</a>: {escape(meaning)}</li>' for path, meaning in LISTED.items())
    refused = "".join(f"<li>{escape(line)}</li>" for line in _refused(state))
    ignored = "".join(f"<li>{escape(line)}</li>" for line in state.get("ignored", ()))
    table = f"<table><tr><th>policy</th><th>version</th><th>aliases</th></tr>{rows}</table>" if rows else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>polserve</title>'
        f"<style>{STYLE}</style><h1>polserve</h1><p>{escape(_standing(state))}</p>{table}"
        f"{f'<h2>Refused</h2><ul>{refused}</ul>' if refused else ''}"
        f"{f'<h2>Ignored</h2><ul>{ignored}</ul>' if ignored else ''}"
        f"<h2>Call it</h2><p>By HTTP here, or by gRPC on port {state['grpc_port']}.</p>"
        f"<pre>{escape(chr(10).join(_calls(state, address)))}</pre><h2>Pages</h2><ul>{links}</ul></html>\n"
    )


def _standing(state: Mapping[str, Any]) -> str:
    return "ready" if state["ready"] else f"not ready: {state['reason']}"


def _rows(state: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Policy, version and aliases of everything that is live."""
    for name, aliases in state["policies"].items():
        for version in sorted(set(aliases.values()), key=lambda version: (len(version), version)):
            yield name, version, " ".join(f"@{alias}" for alias, number in sorted(aliases.items()) if number == version)


def _refused(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each alias that names a version which was refused."""
    for one in state.get("refused", ()):
        yield f"{one['policy']}/{one['version']}, which @{one['alias']} names, was refused: {one['reason']}"


def _calls(state: Mapping[str, Any], address: str) -> list[str]:
    target = f"{_without_port(address) or 'localhost'}:{state['grpc_port']}"
    policy = next(iter(state["policies"]), "POLICY")
    scheme, plaintext = ("https", "") if state.get("tls") else ("http", "-plaintext ")
    return [
        f"curl {scheme}://{address}/v1/policies/{policy}",
        f"polserve policies --target {target}",
        f'grpcurl {plaintext}-d \'{{"policy": "{policy}"}}\' {target} polserve.v1.PolicyService/GetPolicy',
    ]


def _without_port(host: str) -> str:
    """Return the host in a Host header without its port, if it has one."""
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdecimal() else host
