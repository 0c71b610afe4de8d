/** The page of one version of a policy: try it, how it is doing, what is known of it, and its past. */

import { budgetCard } from "./budget.js";
import { bars, columns } from "./charts.js";
import { card, h, replace, say } from "./dom.js";
import { evaluationCard, provenanceCard, specCard } from "./evaluation.js";
import { formCard } from "./form.js";
import { historyCard } from "./history.js";
import { aliasesOf } from "./model.js";
import { gameFor, playCard } from "./play.js";
import { hasRecording, recordingCard } from "./recording.js";
import { number, percent, rate, seconds } from "./text.js";
import { componentRows } from "./values.js";

/** Make the page of a version; "" is asked for where it is the one that answers by default, so that a promotion shows. */
export function policyPage(policy, version, readiness) {
  const asked = version.number === policy.defaultVersion ? "" : version.number;
  const subject = { policy: policy.name, asked, version, grpcPort: readiness.grpc_port };
  const doing = doingCard(policy.name, version);
  const tries = tryCards(subject);
  const past = historyCard(policy.name);
  const element = h(
    "div",
    { class: "page" },
    h(
      "div",
      { class: "title" },
      h("h1", { tabindex: -1 }, policy.name, " ", h("span", { class: "version" }, `version ${version.number}`)),
      h(
        "span",
        { class: "tags" },
        aliasesOf(policy, version.number).map((alias) =>
          h("span", { class: alias === "@champion" ? "tag champion" : "tag" }, alias),
        ),
      ),
      versionLinks(policy, version),
    ),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "column-main" },
        tries.map((one) => one.element),
        past.element,
      ),
      h(
        "div",
        { class: "column-side" },
        doing.element,
        evaluationCard(version),
        specCard(version),
        provenanceCard(version),
      ),
    ),
  );
  return {
    element,
    title: `${policy.name} version ${version.number}`,
    update: ({ summary }) => summary && doing.update(summary),
    stop: () => [...tries, past].forEach((one) => one.stop()),
  };
}

function versionLinks(policy, version) {
  if (policy.versions.length < 2) return null;
  const link = ({ number: other }) =>
    h(
      "a",
      {
        href: `#/policies/${encodeURIComponent(policy.name)}/${encodeURIComponent(other)}`,
        "aria-current": other === version.number ? "page" : null,
      },
      `version ${other}`,
    );
  return h("nav", { class: "versions", "aria-label": "Live versions" }, policy.versions.map(link));
}

/** Choose how a version can be tried: played, split, watched, and asked by a form. */
function tryCards(subject) {
  const { version } = subject;
  if (version.allocation) return [budgetCard(subject)];
  const game = gameFor(version);
  const played = game ? [playCard(game, subject)] : [];
  const watched = hasRecording(version) ? [recordingCard(version)] : [];
  return [...played, ...watched, formCard(subject)];
}

/** Make the card of what the metrics say of a version. */
function doingCard(policy, version) {
  const figures = h("dl", { class: "facts" });
  const actions = h("div");
  const returns = h("div");
  const rows = bars("Actions answered since the service started");
  const shown = {};
  const update = (summary) => {
    const now = summary.version(policy, version.number);
    showFigures(figures, now);
    showActions(actions, rows, version.action, now);
    const drawn = JSON.stringify(now.returns);
    if (shown.returns !== drawn) replace(returns, ...returnFigures(now));
    shown.returns = drawn;
  };
  const note = "Rates and times of the last minute; everything else since the service started.";
  return { element: card("How it is doing", { id: "doing", note }, figures, actions, returns), update };
}

function showFigures(parent, { observations, inference, episodes, returns }) {
  const pairs = [
    ["observations", `${rate(observations.rate)} a second, ${number(observations.total, 0)} in all`],
    ["time of the model", `${seconds(inference.p50)}; 99 % within ${seconds(inference.p99)}`],
    ["episodes ended", number(episodes, 0)],
    ["mean return", returns.n ? number(returns.mean) : "none was reported"],
  ];
  if (!parent.children.length)
    replace(
      parent,
      pairs.map(([term]) => h("div", null, h("dt", null, term), h("dd"))),
    );
  pairs.forEach(([, value], i) => say(parent.children[i].lastChild, value));
}

function showActions(parent, rows, action, { actions, means }) {
  const isContinuous = action.kind === "continuous";
  const title = isContinuous ? "Mean action, between the bounds" : "Actions";
  if (!parent.children.length) replace(parent, h("h3", null, title), rows.element);
  if (isContinuous) {
    const known = action.components.filter(({ name }) => name in means);
    rows.update(
      componentRows(
        known,
        known.map(({ name }) => means[name]),
      ),
    );
    return;
  }
  const all = actions.reduce((sum, { n }) => sum + n, 0);
  const named = (text) => (action.kind === "discrete" ? (action.labels[Number(text) - action.start] ?? text) : text);
  const sorted = [...actions].sort((a, b) => a.action.localeCompare(b.action, "en", { numeric: true }));
  const row = ({ action: which, n }) => ({
    name: named(which),
    part: all ? n / all : 0,
    text: all ? percent(n / all) : "0",
  });
  rows.update(sorted.map(row));
}

function returnFigures({ returns }) {
  const drawn = columns(returns.buckets, `Returns of ${returns.n} episodes; their mean is ${number(returns.mean)}`);
  return drawn
    ? [h("h3", null, "Returns that clients reported"), drawn]
    : [h("p", { class: "note" }, "Clients that report rewards in an Episode show their returns here.")];
}
