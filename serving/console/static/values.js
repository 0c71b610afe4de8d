/** Actions and values of an answer, as rows of bars. */

import { number, signed } from "./text.js";

/** Make a row for each action, its bar from the lowest value to the highest; only the choice where there are no values. */
export function choiceRows(labels, values, chosen, start = 0) {
  const [low, high] = values ? [Math.min(...values), Math.max(...values)] : [0, 1];
  return labels.map((name, i) => {
    const isMarked = i + start === chosen;
    if (!values) return { name, part: isMarked ? 1 : 0, text: isMarked ? "chosen" : "", isMarked };
    const part = high > low ? 0.06 + (0.94 * (values[i] - low)) / (high - low) : 1;
    return { name, part, text: number(values[i], 3), isMarked };
  });
}

/** Make a row for each component of an action, its bar between the bounds. */
export function componentRows(components, action) {
  return components.map(({ name, unit, low, high }, i) => {
    const isOpen = !Number.isFinite(high - low);
    const [from, to] = isOpen ? [0, 1] : [low, high];
    const text = low < 0 ? signed(action[i]) : number(action[i]);
    return {
      name,
      part: isOpen ? 1 : (action[i] - from) / (to - from || 1),
      text: unit ? `${text} ${unit}` : text,
      isMarked: true,
    };
  });
}
