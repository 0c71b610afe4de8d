/** Charts, drawn in SVG and by bars of HTML; each has its figures in words for those who do not see it. */

import { h, s, say } from "./dom.js";
import { number } from "./text.js";

/** Make rows of a name, a bar and a figure; `update` takes [{name, part, text, isMarked}], where part is in [0, 1]. */
export function bars(label) {
  const list = h("ul", { class: "bars", "aria-label": label });
  const rows = [];
  const update = (items) => {
    while (rows.length < items.length) rows.push(addBar(list));
    while (rows.length > items.length) rows.pop().element.remove();
    items.forEach((item, i) => {
      const { element, name, fill, figure } = rows[i];
      say(name, item.name);
      say(figure, item.text);
      element.classList.toggle("marked", Boolean(item.isMarked));
      fill.style.setProperty("--part", String(Math.min(1, Math.max(0, item.part || 0))));
      fill.style.setProperty("--from", String(item.from ?? 0));
    });
  };
  return { element: list, update };
}

function addBar(list) {
  const name = h("span", { class: "bar-name" });
  const fill = h("span", { class: "bar-fill" });
  const figure = h("span", { class: "bar-figure" });
  const element = h("li", null, name, h("span", { class: "bar-track", "aria-hidden": "true" }, fill), figure);
  list.append(element);
  return { element, name, fill, figure };
}

/** Draw a line of the latest values, with the area beneath it; gaps where nothing was measured. */
export function sparkline(points = 60) {
  const line = s("path", { class: "spark-line" });
  const area = s("path", { class: "spark-area" });
  const element = s(
    "svg",
    { class: "spark", viewBox: `0 0 ${points - 1} 32`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area,
    line,
  );
  const update = (values) => {
    const most = Math.max(...values.filter(Number.isFinite), 1e-12);
    const runs = [[]];
    values.forEach((value, i) => {
      const x = points - values.length + i;
      if (Number.isFinite(value)) runs.at(-1).push(`${x},${(30 - (28 * value) / most).toFixed(2)}`);
      else if (runs.at(-1).length) runs.push([]);
    });
    const drawn = runs.filter((run) => run.length > 1);
    line.setAttribute("d", drawn.map((run) => `M${run.join("L")}`).join(""));
    area.setAttribute("d", drawn.map((run) => `M${run.join("L")}V32H${run[0].split(",")[0]}Z`).join(""));
  };
  return { element, update };
}

const WIDE = 640; // of the main column
const NARROW = 380; // of the column beside it
const PAD = 16;

/** Place numbers from low to high on the width of a chart. */
function scale(low, high, from = PAD, to = WIDE - PAD) {
  const span = high - low || 1;
  return (value) => from + ((to - from) * (value - low)) / span;
}

/** Choose about n round numbers between low and high. */
export function ticks(low, high, n = 5) {
  const raw = (high - low || 1) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => (first + i) * step);
}

function axis(place, low, high, y, n = 6) {
  return ticks(low, high, n).map((value) => [
    s("line", { class: "grid-line", x1: place(value), x2: place(value), y1: 8, y2: y }),
    s("text", { class: "tick", x: place(value), y: y + 16, "text-anchor": "middle" }, number(value)),
  ]);
}

/** Draw the mean return with its interval beside the random policy's. */
export function interval({ mean, low, high, random }, label) {
  const [least, most] = [Math.min(low, random, mean), Math.max(high, random, mean)];
  const margin = (most - least || Math.abs(most) || 1) * 0.08;
  const [from, to] = [least - margin, most + margin];
  const place = scale(from, to, PAD, NARROW - PAD);
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${NARROW} 92`, role: "img", "aria-label": label },
    axis(place, from, to, 66, 4),
    s("circle", { class: "mark-random", cx: place(random), cy: 40, r: 6 }),
    s("text", { class: "mark-text", x: place(random), y: 24, "text-anchor": anchor(place(random)) }, "random"),
    s("line", { class: "mark-interval", x1: place(low), x2: place(high), y1: 40, y2: 40 }),
    [low, high].map((end) => s("line", { class: "mark-end", x1: place(end), x2: place(end), y1: 32, y2: 48 })),
    s("circle", { class: "mark-mean", cx: place(mean), cy: 40, r: 7 }),
    s("text", { class: "mark-text strong", x: place(mean), y: 24, "text-anchor": anchor(place(mean)) }, "this version"),
  );
}

const anchor = (x) => (x < 60 ? "start" : x > NARROW - 60 ? "end" : "middle");

/** Draw two distributions over the same bins, one over the other, each with the figure that decided. */
export function distributions({ low, high, sides }, label) {
  const height = 150;
  const place = scale(low, high);
  const most = Math.max(1, ...sides.flatMap(({ counts }) => counts));
  const shape = (counts) => {
    const width = (high - low) / counts.length;
    const steps = counts.map((n, i) => `V${height - (130 * n) / most}H${place(low + width * (i + 1)).toFixed(1)}`);
    return `M${place(low)},${height}${steps.join("")}V${height}Z`;
  };
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${WIDE} 178`, role: "img", "aria-label": label },
    axis(place, low, high, height),
    sides.map(({ counts, kind }) => s("path", { class: `area ${kind}`, d: shape(counts) })),
    sides.map(({ mean, kind }) =>
      s("line", { class: `mean-line ${kind}`, x1: place(mean), x2: place(mean), y1: 6, y2: height }),
    ),
    s("line", { class: "base", x1: PAD, x2: WIDE - PAD, y1: height, y2: height }),
  );
}

/** Draw stacked areas: `series` are [{name, values}], one value for each of `labels`. */
export function stack({ series, labels, write }, label) {
  const [height, left] = [190, 70];
  const totals = labels.map((_, i) => series.reduce((sum, { values }) => sum + values[i], 0));
  const most = Math.max(...totals, 1e-9) * 1.08;
  const x = scale(0, Math.max(1, labels.length - 1), left);
  const y = (value) => height - ((height - 10) * value) / most;
  const beneath = labels.map(() => 0);
  const areas = series.map(({ values }, k) => {
    const lower = beneath.map((value, i) => `${x(i)},${y(value)}`).reverse();
    values.forEach((value, i) => (beneath[i] += value));
    const upper = beneath.map((value, i) => `${x(i)},${y(value)}`);
    return s("path", { class: `series series-${k % 6}`, d: `M${upper.join("L")}L${lower.join("L")}Z` });
  });
  const every = Math.ceil(labels.length / 10);
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${WIDE} 216`, role: "img", "aria-label": label },
    areas,
    ticks(0, most, 4).map((value) => [
      s("line", { class: "grid-line", x1: left, x2: WIDE - PAD, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, write(value)),
    ]),
    labels.map(
      (text, i) =>
        i % every === 0 && s("text", { class: "tick", x: x(i), y: height + 18, "text-anchor": "middle" }, text),
    ),
  );
}

/** Draw the counts of uneven buckets as columns, those at the empty ends left out; null where all are empty. */
export function columns(buckets, label) {
  const first = buckets.findIndex(({ n }) => n > 0);
  if (first < 0) return null;
  const last = buckets.findLastIndex(({ n }) => n > 0);
  const shown = buckets.slice(Math.max(0, first - 1), last + 2);
  const most = Math.max(...shown.map(({ n }) => n));
  const width = Math.min(90, (NARROW - 2 * PAD) / shown.length);
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${NARROW} 140`, role: "img", "aria-label": label },
    shown.map(({ low, high, n }, i) => {
      const x = PAD + i * width;
      const tall = (96 * n) / most;
      return [
        s("rect", { class: "column", x: x + 2, y: 112 - tall, width: width - 4, height: tall, rx: 2 }),
        n > 0 && s("text", { class: "tick", x: x + width / 2, y: 106 - tall, "text-anchor": "middle" }, number(n, 0)),
        Number.isFinite(high) &&
          s("text", { class: "tick", x: x + width, y: 130, "text-anchor": "middle" }, number(high)),
        i === 0 &&
          Number.isFinite(low) &&
          s("text", { class: "tick", x, y: 130, "text-anchor": "middle" }, number(low)),
      ];
    }),
    s("line", { class: "base", x1: PAD, x2: PAD + width * shown.length, y1: 112, y2: 112 }),
  );
}

/** Make the key to a chart: [{kind, name}]. */
export const key = (items) =>
  h(
    "ul",
    { class: "key" },
    items.map(({ kind, name }) => h("li", null, h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), name)),
  );
