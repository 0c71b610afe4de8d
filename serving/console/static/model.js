/** Policies and their specs as the page shows them, read off the JSON of the service. */

/** Read what is live; the policies come by name, the versions oldest first. */
export function readPolicies(json) {
  return (json.policies ?? []).map((policy) => ({
    name: policy.name,
    aliases: policy.aliases ?? {},
    defaultVersion: policy.default_version ?? "",
    versions: (policy.versions ?? []).map(readVersion),
  }));
}

/** Find the version of a policy that is asked for, else the one that answers by default. */
export function findVersion(policy, number) {
  const byNumber = (wanted) => policy.versions.find((version) => version.number === wanted);
  return byNumber(number) ?? byNumber(policy.defaultVersion) ?? policy.versions.at(-1);
}

/** List the aliases of a version, each with its @. */
export function aliasesOf(policy, number) {
  return Object.keys(policy.aliases)
    .filter((alias) => policy.aliases[alias] === number)
    .sort()
    .map((alias) => `@${alias}`);
}

/** Count the numbers in an array of this shape. */
export const size = (shape) => shape.reduce((product, n) => product * n, 1);

/** What the JSON of a spec leaves out where it is zero. */
const NO_RETURNS = {
  mean: 0,
  iqm: 0,
  median: 0,
  interval_low: 0,
  interval_high: 0,
  random_mean: 0,
  standard_deviation: 0,
  first_seed: 0,
};
const NO_DIFFERENCES = {
  observations: 0,
  largest_value_difference: 0,
  compared_observations: 0,
  largest_relative_difference: 0,
  ties: 0,
};

function readVersion(live) {
  const spec = live.spec ?? {};
  return {
    number: live.version,
    sha256: live.sha256 ?? "",
    algorithm: spec.algorithm ?? "",
    environment: readEnvironment(spec.environment ?? {}),
    observation: readObservation(spec.observation ?? {}),
    action: readAction(spec.action ?? {}),
    allocation: spec.allocation ? readAllocation(spec.allocation) : null,
    evaluation: spec.evaluation?.episodes ? { ...NO_RETURNS, ...numbers(spec.evaluation) } : null,
    parity: spec.parity
      ? { ...NO_DIFFERENCES, ...numbers(spec.parity), compared_with: spec.parity.compared_with ?? "" }
      : null,
    provenance: spec.provenance ?? {},
    isRecurrent: Boolean(spec.states?.length),
  };
}

function readEnvironment(environment) {
  return {
    id: environment.id ?? "",
    kwargs: environment.kwargs_json && environment.kwargs_json !== "{}" ? environment.kwargs_json : "",
    graphWrappers: environment.graph_wrappers ?? [],
    clientWrappers: [...(environment.client_wrappers ?? []), ...(environment.client_action_wrappers ?? [])],
  };
}

function readObservation(observation) {
  const shape = (observation.shape ?? []).map(Number);
  const named = observation.components ?? [];
  const parts = observation.parts ?? [];
  const isFlat = shape.length <= 1;
  const length = isFlat ? size(shape) : 0;
  return {
    dtype: (observation.dtype ?? "").toLowerCase(),
    shape,
    frames: Number(observation.frames ?? 0),
    isBounded: Boolean(observation.is_bounded),
    isFlat,
    low: observation.low ?? [],
    high: observation.high ?? [],
    components: Array.from({ length }, (_, i) => ({
      name: named[i]?.name || partName(parts, i) || `component ${i}`,
      unit: named[i]?.unit ?? "",
      low: bound(observation.low, i, -Infinity),
      high: bound(observation.high, i, Infinity),
    })),
  };
}

/** Name component i of an observation that is laid out from parts; "" where it is none. */
function partName(parts, i) {
  for (const part of parts) {
    const shape = (part.shape ?? []).map(Number);
    const place = i - Number(part.offset ?? 0);
    if (place < 0 || place >= size(shape)) continue;
    const path = (part.path ?? []).join(".");
    return path && (shape.length ? `${path}[${place}]` : path);
  }
  return "";
}

function readAction(action) {
  if (action.discrete) {
    const { n, labels = [], start = 0 } = action.discrete;
    const names = Array.from({ length: Number(n) }, (_, i) => labels[i] ?? `action ${i + Number(start)}`);
    return { kind: "discrete", labels: names, start: Number(start) };
  }
  const space = action.continuous ?? action.multi_discrete ?? {};
  const isContinuous = Boolean(action.continuous);
  const length = (isContinuous ? space.low : space.n)?.length ?? 0;
  const components = Array.from({ length }, (_, i) => {
    const start = Number(space.start?.[i] ?? 0);
    return {
      name: space.components?.[i]?.name || `component ${i}`,
      unit: space.components?.[i]?.unit ?? "",
      low: isContinuous ? Number(space.low[i]) : start,
      high: isContinuous ? Number(space.high[i]) : start + Number(space.n[i]) - 1,
    };
  });
  return { kind: isContinuous ? "continuous" : "multi-discrete", components };
}

function readAllocation(allocation) {
  return {
    channels: allocation.channels ?? [],
    currency: allocation.currency ?? "",
    historyDays: Number(allocation.history_days ?? 0),
    maxHorizonDays: Number(allocation.max_horizon_days ?? 1),
  };
}

/** Read every field that is a number; the JSON leaves out zeros and writes large whole numbers as text. */
function numbers(message) {
  return Object.fromEntries(Object.entries(message).map(([name, value]) => [name, Number(value)]));
}

/** Return the bound of component i: there is one for each, one for all, or none. */
function bound(bounds, i, otherwise) {
  if (!bounds?.length) return otherwise;
  return Number(bounds.length === 1 ? bounds[0] : (bounds[i] ?? otherwise));
}
