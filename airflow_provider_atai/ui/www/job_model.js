// What the job's tab makes of an answer of the server. Pure.
import { ago, number, plural, seconds } from "./words.js";

const STALE_SECONDS = 60;

/* How fresh the status is, as a sentence and whether to worry. */
export const freshness = (remote, now) => {
  const age = remote.read_at == null ? null : (now - Date.parse(remote.read_at)) / 1000;
  const words = {
    ok: `Read from the service ${ago(remote.read_at, now)}.`,
    unreachable: "The service cannot be reached.",
    refused: "The service refuses the connection's key.",
    not_found: "The service does not know this job.",
    no_connection: "Airflow's API server cannot use the task's connection.",
  }[remote.state] ?? "The service has not been asked.";
  if (remote.state === "ok") return { text: age > STALE_SECONDS ? `${words} It may have changed since.` : words, bad: age > STALE_SECONDS };
  return { text: `${words} ${age == null ? "What is shown comes from the task's records." : `Last read ${ago(remote.read_at, now)}.`}`, bad: true, detail: remote.detail };
};

/* Seconds since the job was created: they go on while it is active. `at` is when the answer came, by this clock. */
export const elapsed = (job, now, at) => (job.seconds == null ? null : job.seconds + (job.active ? Math.max(0, now - at) / 1000 : 0));

export const estimateText = (estimate, passed = 0) =>
  estimate && estimate.seconds_left > passed ? `about ${seconds(estimate.seconds_left - passed)} left, an estimate from ${plural(estimate.from_jobs, "earlier job")} of this task` : null;

/* What training shows in words: the last step, and whether it has been quiet for long. */
export const progress = (metrics, active, passed = 0) => {
  if (!metrics || !metrics.records) return { text: active ? "No checkpoint yet." : "The service has no metrics of this job.", quiet: null };
  const step = metrics.last_step == null ? plural(metrics.records, "record") : `Step ${number(metrics.last_step)}`;
  const idle = metrics.quiet_seconds == null ? null : metrics.quiet_seconds + passed;
  return { text: step, quiet: active && idle >= 120 ? `No new step for ${Math.floor(idle / 60)} min.` : null };
};

/* The lengths of the bars of the timeline, as shares of the longest. */
export const bars = (timeline) => {
  const longest = Math.max(1, ...timeline.map((entry) => entry.seconds ?? 0));
  return timeline.map((entry) => ({ ...entry, share: (entry.seconds ?? 0) / longest }));
};
