/** What is known of a version: its evaluation beside random play, its parity, where it was trained, and its spec. */

import { interval } from "./charts.js";
import { card, facts, h, table } from "./dom.js";
import { count, number, percent, range, seconds } from "./text.js";

/** Make the card of a version's evaluation. */
export function evaluationCard({ evaluation }) {
  if (!evaluation) return card("Evaluation", { id: "evaluation" }, h("p", null, "Nobody evaluated this version."));
  const {
    episodes,
    mean,
    iqm,
    median,
    standard_deviation: spread,
    interval_low: low,
    interval_high: high,
    confidence,
    random_mean: random,
  } = evaluation;
  const label = `Mean return ${number(mean)}, ${percent(confidence, 0)} interval ${range(low, high)}; the random policy's is ${number(random)}`;
  return card(
    "Evaluation",
    {
      id: "evaluation",
      note: `Undiscounted returns of ${count(episodes, "episode")} on seeds that training never used.`,
    },
    interval({ mean, low, high, random }, label),
    facts([
      ["mean return", number(mean)],
      [`${percent(confidence, 0)} interval`, range(low, high)],
      ["interquartile mean", number(iqm)],
      ["median", number(median)],
      ["standard deviation", number(spread)],
      ["at random", number(random)],
    ]),
  );
}

/** Make the card that says where a version comes from, and how well its graph agrees with the network. */
export function provenanceCard({ provenance, parity, sha256, algorithm }) {
  const { source } = provenance;
  const hours = Number(provenance.training_hours ?? 0);
  const compared =
    parity?.compared_with &&
    `${parity.compared_observations.toLocaleString("en")} observations with ${parity.compared_with}`;
  return card(
    "Where it comes from",
    { id: "provenance" },
    facts([
      ["algorithm", algorithm.toUpperCase()],
      ["environment steps", grouped(provenance.environment_steps)],
      ["steps of selection", grouped(provenance.selection_steps)],
      ["training time", hours && seconds(hours * 3600)],
      ["machine", provenance.machine],
      ["seed", source ? "" : (provenance.seed ?? 0)],
      ["began from", provenance.initial_weights],
      ["MLflow run", code(provenance.run_id)],
      ["git commit", code(provenance.git_commit?.slice(0, 12))],
      ["environment's commit", code(provenance.environment_git_commit?.slice(0, 12))],
      ["polserve", provenance.package_version],
      [
        "imported from",
        source && `${source.tool ?? ""}, ${source.file ?? ""}${source.algorithm ? ` (${source.algorithm})` : ""}`,
      ],
      ["sha256 of the graph", code(sha256.slice(0, 16), sha256)],
      [
        "graph against network",
        parity?.observations &&
          `values differ by at most ${parity.largest_value_difference.toExponential(1)} over ${count(parity.observations, "observation")}`,
      ],
      ["graph against original", compared],
    ]),
  );
}

/** Make the card of what a version takes and answers. */
export function specCard({ observation, action, environment, isRecurrent }) {
  const shape = `(${observation.shape.join(", ")})`;
  const bounds = observation.isBounded ? "; one outside the bounds is refused" : "";
  return card(
    "What it takes and answers",
    { id: "spec" },
    h("h3", null, "Observation"),
    h(
      "p",
      null,
      `${observation.dtype}, shape ${shape}${observation.frames ? `, a stack of ${observation.frames} frames` : ""}${bounds}`,
    ),
    observation.components.length > 0 &&
      folded(
        observation.components,
        table(
          "Components of the observation",
          ["component", "unit", "least", "most"],
          observation.components.map(({ name, unit, low, high }) => [name, unit, number(low), number(high)]),
          [2, 3],
        ),
      ),
    h("h3", null, "Action"),
    action.kind === "discrete"
      ? h(
          "ol",
          { class: "labels", start: action.start },
          action.labels.map((label) => h("li", null, label)),
        )
      : table(
          "Components of the action",
          ["component", "unit", "least", "most"],
          action.components.map(({ name, unit, low, high }) => [name, unit, number(low), number(high)]),
          [2, 3],
        ),
    facts([
      ["environment", environment.id],
      ["its arguments", code(environment.kwargs)],
      ["wrappers in the graph", environment.graphWrappers.join(", ")],
      ["wrappers left to clients", environment.clientWrappers.join(", ")],
      ["memory", isRecurrent && "recurrent: it remembers from one observation to the next"],
    ]),
  );
}

const SHORT = 10;

const grouped = (steps) => Number(steps ?? 0) && Number(steps).toLocaleString("en");

/** Fold a table away where it is long. */
const folded = (items, element) =>
  items.length > SHORT ? h("details", null, h("summary", null, `All ${items.length} components`), element) : element;

const code = (text, title) => text && h("code", { title }, text);
