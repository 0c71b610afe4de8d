/** What the metrics of the service say of the last minute: rates, latencies and returns, from the differences of two looks. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { n: "\n", '"': '"', "\\": "\\" };

/** Seconds that percentiles and means speak of. */
export const WINDOW_S = 60;
/** Points that a line of rates has. */
export const POINTS = 60;

/** Read a page of metrics: name → [{labels, value}]. */
export function parse(text) {
  const families = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const [, name, labelled, value] = found;
    const labels = {};
    for (const [, key, raw] of (labelled ?? "").matchAll(LABEL))
      labels[key] = raw.replace(/\\(.)/g, (_, c) => ESCAPES[c] ?? c);
    if (!families.has(name)) families.set(name, []);
    families.get(name).push({ labels, value: value === "+Inf" ? Infinity : Number(value) });
  }
  return families;
}

/** Looks at the metrics, of which the latest is compared with the earlier ones. */
export class Looks {
  #looks = [];
  #lines = { observations: [], calls: [], errors: [], p50: [], p99: [] };

  /** Add a look, taken at `now` in seconds; return the summary since the looks before. */
  add(text, now) {
    const latest = { at: now, families: parse(text) };
    const before = this.#looks.at(-1);
    this.#looks.push(latest);
    while (this.#looks.length > 2 && now - this.#looks[1].at > WINDOW_S) this.#looks.shift();
    const first = this.#looks[0];
    const recent = new Change(before ?? latest, latest);
    const minute = new Change(first, latest);
    const summary = { ...summarise(minute), now: rates(recent), lines: this.#lines, seconds: minute.seconds };
    if (before) this.#extend(summary.now, summarise(recent));
    return summary;
  }

  #extend(now, recent) {
    const points = { ...now, p50: recent.latency.p50, p99: recent.latency.p99 };
    for (const [name, line] of Object.entries(this.#lines)) {
      line.push(points[name]);
      if (line.length > POINTS) line.shift();
    }
  }
}

/** The increase of every counter from one look to a later one. */
class Change {
  constructor(before, after) {
    this.seconds = after.at - before.at;
    this.after = after.families;
    this.before = before.families;
  }

  /** Increases of a family's series: [{labels, value}]; a counter that fell began again with its process. */
  of(name) {
    const key = (series) => JSON.stringify(Object.entries(series.labels).sort());
    const earlier = new Map((this.before.get(name) ?? []).map((series) => [key(series), series.value]));
    return (this.after.get(name) ?? []).map((series) => {
      const risen = series.value - (earlier.get(key(series)) ?? 0);
      return { labels: series.labels, value: risen >= 0 ? risen : series.value };
    });
  }

  /** Sum of the increases of the series that `isWanted`. */
  sum(name, isWanted = () => true) {
    return total(this.of(name).filter((series) => isWanted(series.labels)));
  }

  /** Percentiles of a histogram over this change; undefined where nothing was observed. */
  percentiles(name, isWanted = () => true) {
    const buckets = new Map();
    for (const { labels, value } of this.of(`${name}_bucket`)) {
      if (!isWanted(labels)) continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      buckets.set(bound, (buckets.get(bound) ?? 0) + value);
    }
    const sorted = [...buckets].sort(([a], [b]) => a - b);
    return Object.fromEntries([50, 90, 99].map((p) => [`p${p}`, quantile(sorted, p / 100)]));
  }
}

/** Estimate a quantile from cumulative buckets [[bound, count]], evenly spread inside each. */
export function quantile(buckets, q) {
  const n = buckets.at(-1)?.[1] ?? 0;
  if (!n) return undefined;
  const place = buckets.findIndex(([, count]) => count >= q * n);
  const [bound, count] = buckets[place];
  const [low, below] = place ? buckets[place - 1] : [Math.min(0, bound), 0];
  if (bound === Infinity) return low;
  return count === below ? bound : low + ((bound - low) * (q * n - below)) / (count - below);
}

const total = (series) => series.reduce((sum, { value }) => sum + value, 0);
const isCall = (labels) => !/Health|Reflection/.test(labels.grpc_service) && labels.grpc_type !== "bidi_stream";

function rates(change) {
  const aSecond = (value) => (change.seconds > 0 ? value / change.seconds : undefined);
  return {
    observations: aSecond(change.sum("polserve_observations_total")),
    calls: aSecond(change.sum("grpc_server_handled_total", isCall)),
    errors: aSecond(change.sum("grpc_server_handled_total", (labels) => labels.grpc_code !== "OK")),
  };
}

function summarise(change) {
  const value = (name) => total(change.after.get(name) ?? []);
  const runs = change.sum("polserve_batch_size_count");
  return {
    latency: change.percentiles("grpc_server_handling_seconds", isCall),
    queue: change.percentiles("polserve_queue_seconds"),
    batch: runs ? change.sum("polserve_batch_size_sum") / runs : undefined,
    episodes: value("polserve_episodes_active"),
    errors: change
      .of("grpc_server_handled_total")
      .filter(({ labels, value: n }) => labels.grpc_code !== "OK" && n > 0)
      .map(({ labels, value: n }) => ({ method: labels.grpc_method, code: labels.grpc_code, n })),
    version: (policy, version) => summariseVersion(change, policy, version),
  };
}

/** Summarise one version: its rate, the time of its model, its actions and the returns of its episodes. */
function summariseVersion(change, policy, version) {
  const isIts = (labels) => labels.policy === policy && labels.version === version;
  const ever = (name) => (change.after.get(name) ?? []).filter(({ labels }) => isIts(labels));
  const observations = change.sum("polserve_observations_total", isIts);
  const parts = ever("polserve_episode_return_parts_total");
  const sign = (wanted) => total(parts.filter(({ labels }) => labels.sign === wanted));
  const returned = total(ever("polserve_episode_return_count"));
  return {
    observations: {
      rate: change.seconds > 0 ? observations / change.seconds : undefined,
      total: total(ever("polserve_observations_total")),
    },
    inference: change.percentiles("polserve_inference_seconds", isIts),
    actions: ever("polserve_actions_total").map(({ labels, value }) => ({ action: labels.action, n: value })),
    means: means(ever("polserve_action_value_sum"), ever("polserve_action_value_count")),
    episodes: total(ever("polserve_episodes_ended_total")),
    returns: {
      n: returned,
      mean: returned ? (sign("+") - sign("-")) / returned : undefined,
      buckets: histograms(ever("polserve_episode_return_bucket"), () => "")[0]?.buckets ?? [],
    },
  };
}

/** Divide the sums of components by their counts: component → mean. */
function means(sums, counts) {
  const of = (series) => Object.fromEntries(series.map(({ labels, value }) => [labels.component, value]));
  const [sum, n] = [of(sums), of(counts)];
  return Object.fromEntries(
    Object.keys(sum)
      .filter((name) => n[name])
      .map((name) => [name, sum[name] / n[name]]),
  );
}

/** Take cumulative buckets apart, by what `nameOf` says of a series: [{name, buckets: [{low, high, n}]}]. */
function histograms(series, nameOf) {
  const named = new Map();
  for (const one of series) named.set(nameOf(one), [...(named.get(nameOf(one)) ?? []), one]);
  return [...named].map(([name, ones]) => {
    const sorted = ones
      .map(({ labels, value }) => [labels.le === "+Inf" ? Infinity : Number(labels.le), value])
      .sort(([a], [b]) => a - b);
    const buckets = sorted.map(([high, n], i) => ({
      low: i ? sorted[i - 1][0] : -Infinity,
      high,
      n: n - (i ? sorted[i - 1][1] : 0),
    }));
    return { name, buckets };
  });
}
