/** The console: keeps what is known of the service fresh, and shows the page that the address names. */

import * as api from "./api.js";
import { h, replace, say } from "./dom.js";
import { Looks } from "./metrics.js";
import { findVersion, readPolicies } from "./model.js";
import { overview } from "./overview.js";
import { policyPage } from "./policy.js";

const LOOK_MS = 2000; // between two looks at the metrics
const LIVE_EVERY = 2; // looks between two of what is live

const [main, nav, state, alert] = ["main", "nav", "state", "alert"].map((id) => document.getElementById(id));
const known = { live: null, summary: null, results: null, readiness: null };
const looks = new Looks();
let page = { key: "", element: null, stop: () => {}, update: () => {} };
let turn = 0;
let needsToken = false; // then nothing is asked: each try without a token counts against this address

async function look() {
  try {
    const isLiveTurn = turn % LIVE_EVERY === 0;
    const [text, readiness, policies, rollouts] = await Promise.all([
      api.metrics(),
      api.readiness(),
      isLiveTurn ? api.policies() : null,
      isLiveTurn ? api.rollouts() : null,
    ]);
    known.summary = text === null ? null : looks.add(text, performance.now() / 1000);
    known.readiness = readiness;
    if (policies) known.live = readPolicies(policies);
    if (rollouts) known.results = rollouts.rollouts;
    turn += 1;
    complain(null);
  } catch (error) {
    complain(error);
  }
  show();
}

async function keepLooking() {
  if (!document.hidden && !needsToken) await look();
  setTimeout(keepLooking, LOOK_MS);
}

/** Show what is known: the state of the service, the links, and the page that the address names. */
function show() {
  showState(known.readiness);
  if (!known.live) return;
  const [, , name, number] = location.hash.split("/").map(decodeURIComponent);
  const policy = known.live.find((one) => one.name === name);
  const version = policy && findVersion(policy, number ?? "");
  const key = version ? JSON.stringify([name, version, policy.aliases, policy.versions.length]) : "overview";
  if (key !== page.key)
    open(key, version ? policyPage(policy, version, known.readiness) : overview(), version ? name : "");
  page.update(known);
}

function open(key, next, name) {
  const isFirst = page.key === "";
  page.stop();
  page = { ...next, key };
  document.title = `${next.title} · polserve`;
  replace(main, next.element);
  const links = [["", "Overview"], ...known.live.map((policy) => [policy.name, policy.name])];
  replace(
    nav,
    h(
      "ul",
      null,
      links.map(([target, text]) =>
        h(
          "li",
          null,
          h(
            "a",
            {
              href: target ? `#/policies/${encodeURIComponent(target)}` : "#/",
              "aria-current": target === name ? "page" : null,
            },
            text,
          ),
        ),
      ),
    ),
  );
  if (!isFirst) {
    scrollTo(0, 0);
    next.element.querySelector("h1").focus(); // so that a screen reader tells of the new page
  }
}

function showState(readiness) {
  if (!readiness) return;
  state.className = readiness.ready ? "state good" : "state bad";
  const registry =
    readiness.registry && !readiness.registry.up
      ? `; the registry is down, so the last good versions go on (${readiness.registry.error})`
      : "";
  say(state, readiness.ready ? `Ready${registry}` : `Not ready: ${readiness.reason}`);
  if (registry) state.className = "state warn";
}

function complain(error) {
  alert.hidden = !error;
  if (!error) return;
  needsToken = error.status === 401;
  if (needsToken) replace(alert, tokenForm(error.message));
  else say(alert, `${error.message} Trying again.`);
}

function tokenForm(message) {
  if (alert.querySelector("form")) return [...alert.childNodes];
  const field = h("input", { id: "token", type: "password", autocomplete: "off" });
  const submit = (event) => {
    event.preventDefault();
    api.useToken(field.value.trim());
    needsToken = false;
    replace(alert);
    look();
  };
  return h(
    "form",
    { onsubmit: submit },
    h("p", null, message),
    h("label", { for: "token" }, "Token"),
    field,
    h("button", { class: "primary" }, "Use it"),
  );
}

/** Turn from light to dark or back; the choice is kept for this browser. */
function turnTheme() {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const present = document.documentElement.dataset.theme ?? (isDark ? "dark" : "light");
  document.documentElement.dataset.theme = present === "dark" ? "light" : "dark";
  localStorage.setItem("polserve.theme", document.documentElement.dataset.theme);
}

const theme = localStorage.getItem("polserve.theme");
if (theme) document.documentElement.dataset.theme = theme;
document.getElementById("theme").addEventListener("click", turnTheme);
addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => document.hidden || needsToken || look());
keepLooking();
