/** The first page: how the service is doing, and what is live. */

import { bars, sparkline } from "./charts.js";
import { card, h, replace, say } from "./dom.js";
import { aliasesOf } from "./model.js";
import { moment, number, percent, range, rate, seconds } from "./text.js";

/** Make the page; `update` shows the latest of what is known. */
export function overview() {
  const tiles = [
    tile("Observations/s", "observations", ({ now }) => rate(now.observations)),
    tile("Calls/s", "calls", ({ now }) => rate(now.calls)),
    tile("Failed calls/s", "errors", ({ now }) => rate(now.errors), errorNote),
    tile(
      "Median time of a call",
      "p50",
      ({ latency }) => seconds(latency.p50),
      ({ latency }) => `90 %: ${seconds(latency.p90)}`,
    ),
    tile(
      "99 % of calls within",
      "p99",
      ({ latency }) => seconds(latency.p99),
      ({ queue }) => `of which waiting: ${seconds(queue.p99)}`,
    ),
    tile(
      "Open episodes",
      null,
      ({ episodes }) => number(episodes, 0),
      ({ batch }) => batch && `${number(batch, 1)} observations a run`,
    ),
  ];
  const policies = h("div", { class: "grid" });
  const rollouts = h("div");
  const rolloutCard = card(
    "Rollouts since the service started",
    {
      id: "rollouts",
      note: "Each version that was tried, and why one was refused. What was live before a refusal stays live.",
    },
    rollouts,
  );
  const element = h(
    "div",
    { class: "page" },
    h("h1", { class: "hidden", tabindex: -1 }, "Overview"),
    h(
      "section",
      { class: "tiles", "aria-label": "How the service is doing" },
      tiles.map((one) => one.element),
    ),
    h("section", { "aria-labelledby": "live" }, h("h2", { id: "live" }, "What is live"), policies),
    rolloutCard,
  );
  const cards = new Map();
  const update = ({ live, summary, results }) => {
    if (summary) for (const one of tiles) one.update(summary);
    if (live) showPolicies(policies, cards, live, summary);
    if (results) showRollouts(rollouts, results);
  };
  return { element, title: "Overview", update, stop: () => {} };
}

function errorNote({ errors }) {
  const worst = errors.sort((a, b) => b.n - a.n)[0];
  return worst ? `mostly ${worst.code} of ${worst.method}` : "none in the last minute";
}

function tile(name, line, write, writeNote) {
  const [value, note] = [h("p", { class: "tile-value" }, "–"), h("p", { class: "tile-note" })];
  const spark = line && sparkline();
  return {
    element: h("div", { class: "tile" }, h("h3", null, name), value, note, spark?.element),
    update: (summary) => {
      say(value, write(summary));
      say(note, (writeNote && writeNote(summary)) || "");
      spark?.update(summary.lines[line]);
    },
  };
}

function showPolicies(parent, cards, live, summary) {
  const text = JSON.stringify(live);
  if (cards.text !== text) {
    cards.clear();
    cards.text = text;
    const made = live.flatMap((policy) =>
      [...policy.versions].reverse().map((version) => versionCard(policy, version, cards)),
    );
    replace(parent, made.length ? made : h("p", { class: "note" }, "No policy is live yet."));
  }
  if (!summary) return;
  for (const { policy, version, show } of cards.values()) show(summary.version(policy, version));
}

function versionCard(policy, version, cards) {
  const [observations, time] = [h("dd", null, "–"), h("dd", null, "–")];
  const address = `#/policies/${encodeURIComponent(policy.name)}/${encodeURIComponent(version.number)}`;
  cards.set(address, {
    policy: policy.name,
    version: version.number,
    show: (now) => {
      say(observations, `${rate(now.observations.rate)} a second`);
      say(time, seconds(now.inference.p50));
    },
  });
  const names = aliasesOf(policy, version.number);
  return h(
    "article",
    { class: "card policy" },
    h(
      "div",
      { class: "card-head" },
      h(
        "h3",
        null,
        h("a", { href: address }, policy.name),
        " ",
        h("span", { class: "version" }, `version ${version.number}`),
      ),
      h(
        "span",
        { class: "tags" },
        names.map((alias) => h("span", { class: alias === "@champion" ? "tag champion" : "tag" }, alias)),
      ),
    ),
    h("p", { class: "note" }, [version.environment.id, version.algorithm.toUpperCase()].filter(Boolean).join(" · ")),
    earned(version.evaluation),
    h(
      "dl",
      { class: "facts" },
      h("div", null, h("dt", null, "answers"), observations),
      h("div", null, h("dt", null, "time of the model"), time),
    ),
  );
}

function earned(evaluation) {
  if (!evaluation) return h("p", { class: "note" }, "Not evaluated.");
  const { mean, random_mean: random, interval_low: low, interval_high: high, confidence } = evaluation;
  const [from, to] = [Math.min(0, mean, random), Math.max(0, mean, random)];
  const part = (value) => (value - from) / (to - from || 1);
  const shown = bars("Mean return beside random play");
  const zero = part(0);
  const row = (name, value, text, isMarked) => ({
    name,
    part: Math.abs(part(value) - zero),
    from: Math.min(part(value), zero),
    text,
    isMarked,
  });
  shown.update([row("mean return", mean, number(mean), true), row("at random", random, number(random), false)]);
  const between = `${percent(confidence, 0)} interval ${range(low, high)}`;
  return [shown.element, h("p", { class: "note" }, between)];
}

function showRollouts(parent, results) {
  const items = [...results]
    .reverse()
    .map(({ policy, version, outcome, at, reason }) =>
      h(
        "li",
        { class: outcome === "live" ? "good" : "bad" },
        h(
          "div",
          { class: "event-head" },
          h("h3", null, `${policy} version ${version} ${outcome === "live" ? "went live" : "was refused"}`),
          h("time", { datetime: at }, moment(at)),
        ),
        reason && h("p", null, reason),
      ),
    );
  const text = JSON.stringify(results);
  if (parent.dataset.shown === text) return;
  parent.dataset.shown = text;
  replace(parent, items.length ? h("ol", { class: "events" }, items) : h("p", { class: "note" }, "None yet."));
}
