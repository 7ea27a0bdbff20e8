// Calls to the routes of the API server. An error is data: {error: sentence, status}.
export const base = () => new URL(document.querySelector("head > base")?.getAttribute("href") ?? "/", location.origin).pathname.replace(/\/$/, "");

const e = encodeURIComponent;
export const taskPath = (t) => `/v1/dags/${e(t.dag_id)}/runs/${e(t.run_id)}/tasks/${e(t.task_id)}`;
export const mapQuery = (t) => `?map_index=${t.map_index ?? -1}`;
export const taskPage = (t) => `${base()}/dags/${e(t.dag_id)}/runs/${e(t.run_id)}/tasks/${e(t.task_id)}${t.map_index >= 0 ? `/mapped/${t.map_index}` : ""}`;

const WORDS = { 401: "You are logged out. Log in again to see the job.", 403: "You may not see this.", 404: "Airflow does not know this task instance." };

const call = async (path, options) => {
  let answer;
  try {
    answer = await fetch(`${base()}/atai${path}`, { credentials: "same-origin", ...options });
  } catch (error) {
    if (options.signal?.aborted) return { aborted: true };
    return { error: "Airflow cannot be reached. Trying again.", status: 0 };
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body) return { data: body };
  const detail = typeof body?.detail === "string" ? body.detail : null;
  const words = answer.status === 401 ? WORDS[401] : detail ?? WORDS[answer.status];
  return { error: words ?? `Airflow answered ${answer.status}. Trying again.`, status: answer.status };
};

export const getJson = (path, signal) => call(path, { signal });
export const postJson = (path, body) => call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
