/** A form that is built from the spec of a version: one number for each component, and the answer as bars. */

import { act } from "./api.js";
import { bars } from "./charts.js";
import { card, h, say } from "./dom.js";
import { size } from "./model.js";
import { seconds } from "./text.js";
import { choiceRows, componentRows } from "./values.js";

const MOST_FIELDS = 64;
const OPEN_END = 3; // how far a slider goes where a component has no bound
const NO_BOUND = 1e6; // what environments write for "no bound"
const SETTLED_MS = 40; // after which a slider's move is asked about

/** Make the card in which one observation is asked about. */
export function formCard({ policy, asked, version, grpcPort }) {
  const { observation, action } = version;
  if (!observation.isFlat || observation.components.length > MOST_FIELDS) return tooLarge(policy, version, grpcPort);
  const fields = observation.components.map((component, i) => makeField(component, i, observation.dtype));
  const answer = makeAnswer(action);
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(
      () =>
        answer.ask(policy, {
          observation: shaped(fields, observation),
          version: asked,
          with_values: action.kind === "discrete",
        }),
      SETTLED_MS,
    );
  };
  const setAll = (choose) => {
    for (const field of fields) field.set(choose(field));
    later();
  };
  const element = card(
    "Ask for one action",
    { id: "form", note: "The answer follows the numbers as you change them." },
    h(
      "form",
      { class: "split", onsubmit: (event) => event.preventDefault(), oninput: later },
      h(
        "div",
        { class: "fields", role: "group", "aria-label": "Observation" },
        fields.map((field) => field.element),
      ),
      h("div", { "aria-live": "off" }, h("h3", null, answer.title), answer.element),
    ),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", onclick: () => setAll(() => 0) }, "All zero"),
      h(
        "button",
        { type: "button", onclick: () => setAll(({ low, high }) => low + (high - low) * Math.random()) },
        "At random",
      ),
    ),
  );
  later();
  return { element, stop: () => clearTimeout(timer) };
}

function tooLarge(policy, { observation }, grpcPort) {
  const what = `${observation.dtype} of shape (${observation.shape.join(", ")})`;
  const note = `An observation is ${what}: ${size(observation.shape).toLocaleString("en")} numbers, too many to type. A program sends it:`;
  const code = `from polserve import PolicyClient\n\nwith PolicyClient("${location.hostname}:${grpcPort}") as client:\n    with client.episode("${policy}") as episode:\n        action = episode.act(observation).action`;
  return {
    element: card("Ask for an action", { id: "form", note }, h("pre", { tabindex: 0 }, h("code", null, code))),
    stop: () => {},
  };
}

/** Make the field of one component: a number that can be typed, and a slider for it. */
function makeField({ name, unit, low, high }, i, dtype) {
  const [from, to] = [end(low, -OPEN_END, high), end(high, OPEN_END, low)];
  const isWhole = /int|bool/.test(dtype);
  const step = isWhole ? 1 : (to - from) / 400;
  const id = `component-${i}`;
  const start = Math.min(to, Math.max(from, 0));
  const typed = h("input", { id, type: "number", step: isWhole ? 1 : "any", value: start, inputmode: "decimal" });
  const slider = h("input", {
    type: "range",
    min: from,
    max: to,
    step,
    value: start,
    "aria-labelledby": `${id}-label`,
  });
  slider.addEventListener("input", () => (typed.value = tidy(slider.valueAsNumber)));
  typed.addEventListener("input", () => (slider.value = typed.value));
  return {
    low: from,
    high: to,
    element: h(
      "div",
      { class: "field" },
      h("label", { id: `${id}-label`, for: id }, name, unit && h("span", { class: "unit" }, ` ${unit}`)),
      typed,
      slider,
    ),
    value: () => typed.valueAsNumber,
    set: (value) => {
      const clipped = Math.min(to, Math.max(from, value));
      typed.value = slider.value = tidy(isWhole ? Math.round(clipped) : clipped);
    },
  };
}

/** Return how far a slider goes: to a bound, or some way beyond the other one where there is none. */
function end(bound, distance, other) {
  if (Math.abs(bound) < NO_BOUND) return bound;
  return Math.abs(other) < NO_BOUND ? other + 2 * distance : distance;
}

const tidy = (value) => Number(value.toPrecision(4));

/** Return what is asked: numbers in the shape that the spec says; a number alone where there is no axis. */
function shaped(fields, { shape }) {
  const values = fields.map((field) => field.value());
  return shape.length ? values : values[0];
}

/** Make the place for an answer: bars, and a line on who answered and how fast. */
export function makeAnswer(action) {
  const isChoice = action.kind === "discrete";
  const title = isChoice ? "Values, and the action that is chosen" : "Action";
  const rows = bars(title);
  const status = h("p", { class: "note", role: "status" });
  let latest = 0;
  const show = (answer, began) => {
    const items = isChoice
      ? choiceRows(action.labels, answer.values, answer.action, action.start)
      : componentRows(action.components, [answer.action].flat(Infinity));
    rows.update(items);
    say(status, `Answered by version ${answer.version} in ${seconds((performance.now() - began) / 1000)}.`);
    status.classList.remove("problem");
  };
  const ask = async (policy, request) => {
    const [turn, began] = [(latest += 1), performance.now()];
    try {
      const answer = await act(policy, request);
      if (turn === latest) show(answer, began);
    } catch (error) {
      if (turn !== latest) return;
      say(status, error.message);
      status.classList.add("problem");
    }
  };
  return { title, element: h("div", null, rows.element, status), ask };
}
