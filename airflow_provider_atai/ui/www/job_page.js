import { Actions } from "./actions.js";
import { useAddress } from "./address.js";
import { mapQuery, taskPath } from "./client.js";
import { Curves } from "./curves.js";
import { bars, elapsed, estimateText, freshness, progress } from "./job_model.js";
import { Copy, Fact, Page, Problem, Section, Status, Table, TaskState, h } from "./parts.js";
import { useNow, usePolling } from "./polling.js";
import { statusColor } from "./theme.js";
import { moment, number, plural, seconds } from "./words.js";

const { useMemo } = globalThis.React;
const DEFAULTS = { x: "step", scale: "linear", hidden: null };
const METRICS_SECONDS = 15;

const Header = ({ page, now, at, onDone }) => {
  const { job, task, remote } = page, fresh = freshness(remote, now + page.offset);
  const left = estimateText(page.estimate, (now - at) / 1000);
  return h("section", { "aria-label": "The job" },
    h("div", { className: "row", style: { marginBottom: 10 } }, h("h1", null, job.name ?? "Fine-tune job"),
      page.console_url && /^https?:/.test(page.console_url) && h("a", { href: page.console_url, target: "_blank", rel: "noreferrer", className: "push" }, "Job in the console")),
    h("dl", { className: "facts" },
      h(Fact, { name: "Job" }, h("span", { "aria-live": "polite" }, h(Status, { status: job.status }))),
      h(Fact, { name: "Task" }, h(TaskState, { state: task.state })),
      h(Fact, { name: job.active ? "Elapsed" : "Took" }, seconds(elapsed(job, now, at))),
      left && h(Fact, { name: "Time left" }, left),
      h(Fact, { name: "Created" }, moment(job.created_at))),
    h("p", { className: fresh.bad ? "bad" : "muted", role: "status", style: { marginTop: 10 } }, fresh.text),
    fresh.detail && h("p", { className: "muted" }, fresh.detail),
    page.disagreement && h("p", { className: "bad", role: "alert", style: { marginTop: 6, fontWeight: 500 } }, page.disagreement),
    h("div", { style: { marginTop: 10 } }, h(Copy, { text: job.job_id, name: "the job's id" })),
    h(Actions, { task, job, actions: page.actions, onDone }));
};

const Timeline = ({ timeline, passed }) => h(Section, { title: "Timeline" },
  h(Table, { label: "Statuses of the job, oldest first", head: ["Status", "Since", "For", ""],
    rows: bars(timeline).map((entry, i) => {
      const last = i === timeline.length - 1 && entry.seconds != null;
      return [entry.outage ? "Not readable" : h(Status, { status: entry.status }), h("span", { className: "whole" }, moment(entry.at)), h("span", { className: "whole" }, entry.seconds == null ? "" : seconds(entry.seconds + (last ? passed : 0))),
        h("div", { className: "bar", "aria-hidden": true, style: { width: `${Math.round(entry.share * 90)}px`, background: statusColor(entry.status), display: entry.seconds == null ? "none" : "block" } })];
    }) }));

const Training = ({ metrics, active, passed, state, change, error }) => {
  const shown = progress(metrics, active, passed), remote = metrics?.remote;
  return h(Section, { title: "Training" },
    h("div", { className: "row", style: { marginBottom: 8 } }, h("strong", { role: "status" }, shown.text), shown.quiet && h("span", { className: "bad" }, shown.quiet),
      metrics?.best && h("span", { className: "muted" }, `Best evaluation loss ${number(metrics.best.eval_loss)}${metrics.best.step == null ? "" : ` at step ${number(metrics.best.step)}`}`),
      metrics?.unusable > 0 && h("span", { className: "muted" }, `${plural(metrics.unusable, "record has a value that is", "records have values that are")} not a number.`)),
    (error || (remote && remote.state !== "ok")) && h("p", { className: "muted" }, "The metrics cannot be read at the moment; what is shown may be old."),
    metrics?.records > 0 && h(Curves, { metrics, state, change }));
};

const Checkpoints = ({ metrics }) => metrics?.checkpoints?.length > 0 && h(Section, { title: "Checkpoints" },
  h("div", { style: { maxHeight: 260, overflowY: "auto" }, tabIndex: 0, role: "region", "aria-label": "Checkpoints" }, h(Table, { label: "Checkpoints, newest first", head: ["Step", "Loss", "Evaluation loss", "Learning rate", "After"], numeric: [0, 1, 2, 3, 4],
    rows: metrics.checkpoints.map((one) => [number(one.step), number(one.loss), number(one.eval_loss), number(one.learning_rate), seconds(one.time)]) })),
  metrics.records > metrics.checkpoints.length && h("p", { className: "muted" }, `The newest ${metrics.checkpoints.length} of ${metrics.records}.`));

const Made = ({ job }) => h(Section, { title: "Model and data" }, h("dl", null,
  h("dt", null, "Base model"), h("dd", null, job.model ?? "the service's default"),
  h("dt", null, "Inference config"), h("dd", null, job.inference_config_path ? h(Copy, { text: job.inference_config_path, name: "the inference config's path" }) : job.active ? "not yet" : "none"),
  job.datasets.map((one, i) => [h("dt", { key: `t${i}` }, `${one.split ?? "?"} data`), h("dd", { key: `d${i}` }, one.name, one.file_ids.map((id) => h("div", { key: id }, h(Copy, { text: id ?? "", name: "the file id" }))))])));

export const JobPage = ({ dagId, runId, taskId, mapIndex }) => {
  const task = { dag_id: dagId ?? "", run_id: runId ?? "", task_id: taskId ?? "", map_index: Number(mapIndex ?? -1) };
  const path = taskPath(task), query = mapQuery(task);
  const [state, change] = useAddress(DEFAULTS);
  const { data, error, status, reload } = usePolling(`${path}/job${query}`, (page) => page.poll_seconds);
  const active = Boolean(data?.job?.active);
  const metrics = usePolling(data?.job ? `${path}/metrics${query}` : null, () => (active ? METRICS_SECONDS : 0));
  const now = useNow(active);
  // When the answers came, by this clock; the server's clock may differ.
  const page = useMemo(() => data && { ...data, at: Date.now(), offset: Date.parse(data.now) - Date.now() }, [data]);
  const read = useMemo(() => Date.now(), [metrics.data]);
  if (!page) return h(Page, null, h(Problem, { error, status }), !error && h("p", { className: "muted", role: "status" }, "Reading…"));
  if (!page.job) return h(Page, null, h(Problem, { error, status }), h("p", { className: "muted" }, page.poll_seconds ? "This task knows no fine-tune job yet." : "This task has no fine-tune job."));
  const passed = Math.max(0, now - page.at) / 1000, why = page.explanation;
  return h(Page, null,
    h(Problem, { error, status }),
    h(Header, { page, now: Math.max(now, page.at), at: page.at, onDone: reload }),
    why && h("section", { className: "notice", "aria-label": "Why it ended" }, h("p", null, why.what), h("p", { style: { marginTop: 6 } }, why.retry)),
    h(Training, { metrics: metrics.data, error: metrics.error, active, passed: Math.max(0, now - read) / 1000, state, change }),
    h("div", { className: "grid" }, h(Timeline, { timeline: page.timeline, passed: active ? passed : 0 }), h(Made, { job: page.job })),
    h(Checkpoints, { metrics: metrics.data }));
};
