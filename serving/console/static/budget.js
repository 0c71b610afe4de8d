/** An advertising budget: today's split beside the equal one, and the plan for the days that are left. */

import { allocate } from "./api.js";
import { bars, key, stack } from "./charts.js";
import { card, h, replace, say, table } from "./dom.js";
import { money, number } from "./text.js";

const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const BOUNDS = { BOUND_FLOOR: "its floor", BOUND_CAP: "its cap", BOUND_BUDGET: "limited by what is left" };
const MICROS = 1e6;
const SETTLED_MS = 60;

/** Make the card of an allocator: sliders, today's split, and the month's plan. */
export function budgetCard({ policy, asked, version }) {
  const { channels, currency, maxHorizonDays, historyDays } = version.allocation;
  const mostTotal = version.observation.components.find(({ name }) => name === "total")?.high ?? 100_000;
  const fields = makeFields(channels, currency, maxHorizonDays, mostTotal);
  const today = bars("Spend today, beside the equal split");
  const [status, plan] = [h("p", { class: "note", role: "status" }), h("div", { class: "plan" })];
  let [turn, timer] = [0, 0];
  const refresh = async () => {
    const mine = (turn += 1);
    try {
      const days = await simulate(policy, asked, fields.read(), { channels, historyDays }, () => mine === turn);
      if (mine !== turn) return;
      today.update(splitRows(days[0], currency));
      replace(plan, ...planFigures(days, channels, currency));
      say(
        status,
        `Answered by version ${days[0].version}; ${money(days[0].unspent, currency)} is left for later days.`,
      );
      status.classList.remove("problem");
    } catch (error) {
      if (mine !== turn) return;
      say(status, error.message);
      status.classList.add("problem");
    }
  };
  const later = () => {
    fields.settle();
    clearTimeout(timer);
    timer = setTimeout(refresh, SETTLED_MS);
  };
  const element = card(
    "Split a budget",
    {
      id: "budget",
      note: "Each day's split comes from the service; the plan spends every day as it says, with the same demand.",
    },
    h(
      "form",
      { class: "split", onsubmit: (event) => event.preventDefault(), oninput: later },
      h("div", { class: "fields", role: "group", "aria-label": "The budget" }, fields.elements),
      h("div", null, h("h3", null, "Today"), today.element, status),
    ),
    h("h3", null, "The plan for the days that are left"),
    plan,
  );
  later();
  return {
    element,
    stop: () => {
      turn += 1;
      clearTimeout(timer);
    },
  };
}

/** Make the sliders; `read` gives their numbers, `settle` keeps each within what the others allow. */
function makeFields(channels, currency, mostDays, mostTotal) {
  const write = (value) => money(value * MICROS, currency);
  const total = slider("Budget for the whole horizon", {
    low: 100,
    high: mostTotal,
    step: 100,
    start: round(mostTotal / 3, 100),
    write,
  });
  const horizon = slider("Days of the horizon", { low: 1, high: mostDays, step: 1, start: mostDays, write: String });
  const day = slider("Days that are over", { low: 0, high: mostDays - 1, step: 1, start: 0, write: String });
  const remaining = slider("Money that is left", {
    low: 0,
    high: mostTotal,
    step: 50,
    start: round(mostTotal / 3, 100),
    write,
  });
  const demand = slider("Demand, 1 on an ordinary day", {
    low: 0.25,
    high: 3,
    step: 0.05,
    start: 1,
    write: (value) => number(value, 2),
  });
  const spent = channels.map((name) =>
    slider(`Spent a day so far: ${name}`, {
      low: 0,
      high: round(mostTotal / 30, 10),
      step: 10,
      start: round(mostTotal / 180, 10),
      write,
    }),
  );
  const weekday = h(
    "select",
    { id: "weekday" },
    DAYS.map((name, i) => h("option", { value: i }, name)),
  );
  const settle = () => {
    day.limit(horizon.value() - 1);
    remaining.limit(total.value());
    for (const one of spent) one.element.hidden = day.value() === 0;
  };
  return {
    settle,
    elements: [
      ...[total, horizon, day, remaining, demand, ...spent].map((one) => one.element),
      h("div", { class: "field" }, h("label", { for: "weekday" }, "Day of the week"), weekday),
    ],
    read: () => ({
      total: total.value(),
      horizon: horizon.value(),
      day: day.value(),
      remaining: remaining.value(),
      demand: demand.value(),
      weekday: Number(weekday.value),
      spent: spent.map((one) => one.value()),
    }),
  };
}

let sliders = 0;

function slider(name, { low, high, step, start, write }) {
  const id = `slider-${(sliders += 1)}`;
  const input = h("input", { id, type: "range", min: low, max: high, step, value: start });
  const shown = h("output", { for: id }, write(start));
  const show = () => {
    say(shown, write(input.valueAsNumber));
    input.setAttribute("aria-valuetext", write(input.valueAsNumber));
  };
  input.addEventListener("input", show);
  show();
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, name), shown, input),
    value: () => input.valueAsNumber,
    limit: (most) => {
      input.max = most; // which moves a slider that is beyond it
      show();
    },
  };
}

/** Ask for the split of every day that is left, each with what the days before it spent. */
async function simulate(
  policy,
  asked,
  { total, horizon, day, remaining, demand, weekday, spent },
  { channels, historyDays },
  isWanted,
) {
  const past = channels.map((_, k) =>
    Array.from({ length: Math.min(day, historyDays) }, () => Math.round(spent[k] * MICROS)),
  );
  let left = Math.round(remaining * MICROS);
  const days = [];
  for (let today = day; today < horizon && isWanted(); today += 1) {
    const answer = await allocate(policy, {
      version: asked,
      day: today,
      horizon_days: horizon,
      total_micros: Math.round(total * MICROS),
      remaining_micros: left,
      demand,
      weekday: (weekday + today - day) % DAYS.length,
      channels: channels.map((name, k) => ({ name, spent_micros: past[k].slice(0, historyDays) })),
    });
    const spends = answer.allocations.map((one) => Number(one.spend_micros ?? 0));
    left -= spends.reduce((sum, spend) => sum + spend, 0);
    spends.forEach((spend, k) => past[k].unshift(spend));
    days.push({
      day: today + 1,
      spends,
      left,
      unspent: Number(answer.unspent_micros ?? 0),
      version: answer.version,
      allocations: answer.allocations,
    });
  }
  return days;
}

/** Make two rows for each channel: what the policy spends today, and the equal split. */
function splitRows({ allocations }, currency) {
  const micros = (value) => Number(value ?? 0);
  const most = Math.max(1, ...allocations.flatMap((one) => [micros(one.spend_micros), micros(one.equal_split_micros)]));
  return allocations.flatMap((one) => {
    const why = BOUNDS[one.bound] ? `, ${BOUNDS[one.bound]}` : "";
    return [
      {
        name: one.name,
        part: micros(one.spend_micros) / most,
        text: money(micros(one.spend_micros), currency) + why,
        isMarked: true,
      },
      {
        name: "equal split",
        part: micros(one.equal_split_micros) / most,
        text: money(micros(one.equal_split_micros), currency),
      },
    ];
  });
}

function planFigures(days, channels, currency) {
  const write = (micros) => money(micros, currency);
  const end = days.at(-1);
  const label = `Spends of ${channels.join(" and ")} from day ${days[0].day} to day ${end.day}; ${write(end.left)} is left at the end`;
  const series = channels.map((name, k) => ({ name, values: days.map(({ spends }) => spends[k]) }));
  const rows = days.map(({ day, spends, left }) => [day, ...spends.map(write), write(left)]);
  const heads = ["day", ...channels, "left in the evening"];
  return [
    stack({ series, labels: days.map(({ day }) => day), write }, label),
    key(channels.map((name, k) => ({ name, kind: `series-${k % 6}` }))),
    h("p", { class: "note" }, `${write(end.left)} is left after day ${end.day}.`),
    h(
      "details",
      null,
      h("summary", null, "The plan as a table"),
      table(
        "The plan, day by day",
        heads,
        rows,
        heads.map((_, i) => i),
      ),
    ),
  ];
}

const round = (value, to) => Math.round(value / to) * to;
