/** Numbers and times as people write them. */

/** Write a number: whole above 1000, else with as many decimals as tell something. */
export function number(value, digits) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const decimals = digits ?? (size >= 1000 || size === 0 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3);
  return value.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: decimals }).replace("-", "−");
}

/** Write a number with its sign. */
export const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));

/** Write an interval. */
export const range = (low, high, write = number) => `${write(low)} to ${write(high)}`;

/** Write a duration that is given in seconds. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 1e-3) return `${number(value * 1e6, 0)} µs`;
  if (value < 1) return `${number(value * 1e3, value < 0.1 ? 2 : 0)} ms`;
  if (value < 120) return `${number(value, 1)} s`;
  return value < 7200 ? `${number(value / 60, 0)} min` : `${number(value / 3600, 1)} h`;
}

/** Write a rate a second. */
export const rate = (value) => (value === null || value === undefined ? "–" : number(value, value < 10 ? 1 : 0));

/** Write a part of one as a percentage. */
export const percent = (value, digits = 1) =>
  value === null || Number.isNaN(value) ? "–" : `${number(100 * value, digits)} %`;

/** Write a moment, given in ISO 8601, in the reader's own time zone. */
export function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

/** Write money that is given in micros. */
export function money(micros, currency) {
  const value = micros / 1e6;
  try {
    return value.toLocaleString("en", { style: "currency", currency, maximumFractionDigits: value >= 1000 ? 0 : 2 });
  } catch {
    return `${number(value)} ${currency}`; // a currency that the browser does not know
  }
}

/** Write "1 game", "2 games". */
export const count = (n, noun) => `${number(n, 0)} ${noun}${n === 1 ? "" : "s"}`;
