/** What the page asks of the service that it came from. */

const TOKEN = "polserve.token";

/** An answer that is not what was asked for; the message says why, in the service's own words. */
export class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Remember a bearer token for as long as this tab is open. */
export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** Ask whether the service is ready, and what of. */
export const readiness = async () => (await ask("readyz", { allowed: [503] })).json();

/** Ask what is live. */
export const policies = async () => (await ask("v1/policies")).json();

/** Ask for the metrics, as Prometheus reads them; null where the caller may not see them. */
export async function metrics() {
  const response = await ask("metrics", { allowed: [403] });
  return response.ok ? response.text() : null;
}

/** Ask what was rolled out since the service started. */
export const rollouts = async () => (await ask("console/rollouts.json")).json();

/** Ask what the registry keeps of a policy's past. */
export const history = async (policy) => (await ask(`v1/policies/${encodeURIComponent(policy)}/history`)).json();

/** Ask for an action. */
export const act = async (policy, request) =>
  (await post(`v1/policies/${encodeURIComponent(policy)}:act`, request)).json();

/** Ask for the split of a day's money. */
export const allocate = async (policy, request) =>
  (await post(`v1/policies/${encodeURIComponent(policy)}:allocate`, request)).json();

/** Ask for the recorded games of an environment. */
export const recording = async (name) => (await ask(`console/${name}`)).arrayBuffer();

const post = (path, body) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

async function ask(path, { allowed = [], headers = {}, ...options } = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const credentials = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...credentials }, cache: "no-cache" });
  } catch {
    throw new ServiceError("The service does not answer.", 0);
  }
  if (!response.ok && !allowed.includes(response.status)) {
    throw new ServiceError(await reason(response), response.status);
  }
  return response;
}

/** Read why the service refused: JSON with an "error", or text. */
async function reason(response) {
  const text = (await response.text()).trim();
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : (error?.message ?? text);
  } catch {
    return text || `The service answered with status ${response.status}.`;
  }
}
