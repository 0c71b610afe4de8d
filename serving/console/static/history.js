/** The past of a policy: the moves of @champion, the decisions with their evidence, and what services refused. */

import { history } from "./api.js";
import { distributions, key } from "./charts.js";
import { card, h, replace, table } from "./dom.js";
import { count, moment, number, percent, range, signed } from "./text.js";

const AGAIN_MS = 700; // while the registry has not answered yet
const REFRESH_MS = 15_000;
const KINDS = {
  promoted: ["Promoted", "good"],
  forced: ["Promoted without games", "warn"],
  refused: ["Refused", "bad"],
  lost: ["Lost to another promotion", "warn"],
};

/** Make the card of a policy's past, which is asked for again from time to time until `stop`. */
export function historyCard(policy) {
  const body = h("div", { class: "timeline", "aria-busy": "true" }, h("p", { class: "note" }, "Asking the registry …"));
  let [shown, timer] = ["", 0];
  const refresh = async () => {
    let wait = REFRESH_MS;
    try {
      const answer = await history(policy);
      if (answer.state === "asked") wait = AGAIN_MS;
      const text = JSON.stringify(answer);
      if (answer.state !== "asked" && text !== shown) replace(body, ...render(answer));
      shown = text;
    } catch (error) {
      replace(body, h("p", { class: "problem" }, error.message));
    }
    body.removeAttribute("aria-busy");
    timer = setTimeout(refresh, wait);
  };
  refresh();
  const note = "Every move of @champion, the games that each decision rests on, and what services refused.";
  return { element: card("History", { id: "history", note }, body), stop: () => clearTimeout(timer) };
}

function render(answer) {
  if (answer.state === "none") {
    return [
      h(
        "p",
        null,
        "This service follows a folder, where nothing records promotions. Follow an MLflow registry to see them here: set MLFLOW_TRACKING_URI.",
      ),
    ];
  }
  const events = [
    ...answer.moves.map(moveEvent),
    ...answer.decisions.map(decisionEvent),
    ...answer.rollouts.map(rolloutEvent),
  ];
  events.sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : a.order - b.order));
  const problem =
    answer.problem && h("p", { class: "problem" }, `The registry did not answer the last time: ${answer.problem}`);
  if (!events.length) return [problem, h("p", null, "Nothing is on record yet.")];
  return [problem, h("ol", { class: "events" }, events.map(eventItem))];
}

function eventItem({ at, tone, title, detail, more }) {
  return h(
    "li",
    { class: tone },
    h("div", { class: "event-head" }, h("h3", null, title), at && h("time", { datetime: at }, moment(at))),
    detail && h("p", null, detail),
    more,
  );
}

const moveEvent = ({ version, at, by, is_rollback: isRollback }) => ({
  at,
  order: 1,
  tone: isRollback ? "warn" : "good",
  title: isRollback ? `@champion rolled back to version ${version}` : `@champion is version ${version}`,
  detail: by,
});

function rolloutEvent({ version, service, outcome, at, reason }) {
  const isLive = outcome === "live";
  const title = isLive ? `Version ${version} went live on ${service}` : `${service} refused version ${version}`;
  return { at, order: 0, tone: isLive ? "quiet" : "bad", title, detail: reason };
}

function decisionEvent({ version, champion, kind, reason, at, run_id: run, evidence, criteria, problem }) {
  const [verb, tone] = KINDS[kind] ?? [kind, "quiet"];
  const against = champion ? ` against version ${champion}` : "";
  const rule = criteria?.rule && `Rule: ${criteria.rule}.${allowed(evidence)} `;
  return {
    at,
    order: 2,
    tone,
    title: `${verb}: version ${version}${against}`,
    detail: reason,
    more: [
      evidence && evidenceFigures(version, champion, evidence),
      problem && h("p", { class: "note" }, `Not shown: ${problem}.`),
      run && h("p", { class: "note" }, rule, "All of it is in MLflow run ", h("code", null, run), "."),
    ],
  };
}

/** Say which loss a candidate was allowed, where that is on record. */
const allowed = (evidence) => {
  const loss = evidence?.loss_allowed;
  return loss === null || loss === undefined ? "" : ` Its mean may be lower by ${number(loss)}.`;
};

function evidenceFigures(version, champion, evidence) {
  const { candidate, champion: theirs, iqm_difference: iqm, mean_difference: mean, improvement, low, high } = evidence;
  const [ours, others] = [`version ${version}`, `version ${champion}`];
  const [figure, name] = evidence.deciding === "mean" ? ["mean", "mean"] : ["iqm", "interquartile mean"];
  const games = count(evidence.episodes, "game");
  const label = `Returns of ${games} each; the ${name} of ${ours} is ${number(candidate[figure])}, of ${others} ${number(theirs[figure])}`;
  const sides = [
    { counts: evidence.champion_counts, mean: theirs[figure], kind: "champion" },
    { counts: evidence.candidate_counts, mean: candidate[figure], kind: "candidate" },
  ];
  const difference = ({ value, low: from, high: to }) => [signed(value), range(from, to, signed)];
  const row = (title, field, estimate) => [
    title,
    number(candidate[field]),
    number(theirs[field]),
    ...(estimate ? difference(estimate) : ["", ""]),
  ];
  return [
    h(
      "p",
      { class: "note" },
      `${games} of ${evidence.environment} each, on the same seeds from ${evidence.first_seed} on. The dashed lines are the ${name}s, whose difference decided.`,
    ),
    distributions({ low, high, sides }, label),
    key([
      { kind: "champion", name: `${others}, the champion` },
      { kind: "candidate", name: `${ours}, the candidate` },
    ]),
    table(
      "Figures of both sides",
      ["return", ours, others, "difference", `${percent(evidence.confidence, 0)} interval`],
      [
        row("interquartile mean", "iqm", iqm),
        row("mean", "mean", mean),
        row("standard deviation", "standard_deviation"),
        ["P(improvement)", number(improvement.value, 3), "", "", range(improvement.low, improvement.high)],
      ],
      [1, 2, 3, 4],
    ),
  ];
}
