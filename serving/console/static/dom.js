/**
 * Elements, made without markup: whatever is no node becomes text, so that no name or tag of a registry can be markup.
 */

const SVG = "http://www.w3.org/2000/svg";

/** Make an HTML element. Attributes that begin with "on" are listeners; null, undefined and false leave one out. */
export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an SVG element, as `h` does. */
export function s(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Put these children in the place of an element's own. */
export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(isShown).map(toNode));
  return element;
}

/** Set an element's text where it differs, so that screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return replace(element, ...children);
}

const isShown = (child) => child !== null && child !== undefined && child !== false;
const toNode = (child) => (child instanceof Node ? child : document.createTextNode(String(child)));

/** Make a card: a title, a note and what is below them. */
export function card(title, { id, note } = {}, ...children) {
  const heading = h("h2", { id }, title);
  return h(
    "section",
    { class: "card", "aria-labelledby": id },
    h("div", { class: "card-head" }, heading),
    note && h("p", { class: "note" }, note),
    ...children,
  );
}

/** Make a table from its heads and its rows of cells; `numeric` names the columns that hold numbers. */
export function table(caption, heads, rows, numeric = []) {
  const kind = (i) => (numeric.includes(i) ? "number" : null);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      null,
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          heads.map((head, i) => h("th", { scope: "col", class: kind(i) }, head)),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            null,
            row.map((cell, i) => (i ? h("td", { class: kind(i) }, cell) : h("th", { scope: "row" }, cell))),
          ),
        ),
      ),
    ),
  );
}

/** Make a list of facts from pairs; those without a value are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => isShown(value) && value !== "");
  return h(
    "dl",
    { class: "facts" },
    known.map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value))),
  );
}
