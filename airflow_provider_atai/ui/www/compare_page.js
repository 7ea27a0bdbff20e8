import { useAddress } from "./address.js";
import { Chart } from "./chart.js";
import { toPoints } from "./chart_scale.js";
import { getJson, mapQuery, taskPage, taskPath } from "./client.js";
import { colorsOf, differences, drawnKeys, joined, keyOf, labelOf, MOST_DRAWN, ranked } from "./compare_model.js";
import { Controls, CURVES, toggled, xOf } from "./curves.js";
import { Choice, h, Page, Problem, Section, Status, Table } from "./parts.js";
import { remember, usePolling } from "./polling.js";
import { lineColor } from "./theme.js";
import { number, plural, seconds } from "./words.js";

const { useEffect, useMemo, useRef, useState } = globalThis.React;
const DEFAULTS = { x: "step", scale: "linear", metric: "eval_loss", jobs: null, hidden: null, task: null };
const LIST_SECONDS = 20, AT_ONCE = 4;
const e = encodeURIComponent;

/* The metrics of several jobs by key: read four at a time, and again while a job is active. */
const useMetrics = (rows) => {
  const [found, setFound] = useState({});
  const wanted = useRef(rows);
  wanted.current = rows;
  const id = rows.map((row) => `${keyOf(row)}${row.job_id}${row.active}`).join();
  useEffect(() => {
    let over = false, timer = null;
    const controller = new AbortController();
    const load = async (list) => {
      const queue = [...list];
      const work = async () => {
        for (let row = queue.shift(); row && !over; row = queue.shift()) {
          const { data, error } = await getJson(`${taskPath(row)}/metrics${mapQuery(row)}`, controller.signal), key = keyOf(row);
          if (!over) setFound((before) => ({ ...before, [key]: data ? { data } : { data: before[key]?.data, error } }));
        }
      };
      if (!document.hidden) await Promise.all(Array.from({ length: AT_ONCE }, work));
      const active = wanted.current.filter((row) => row.active);
      if (!over && active.length) timer = setTimeout(() => load(active), LIST_SECONDS * 1000);
    };
    load(wanted.current);
    return () => {
      over = true;
      controller.abort();
      clearTimeout(timer);
    };
  }, [id]);
  return found;
};

const Comparison = ({ rows, byRun, state, change }) => {
  const keys = drawnKeys(rows, state.jobs), chosen = rows.filter((row) => keys.includes(keyOf(row)));
  const metrics = useMetrics(chosen);
  const hidden = (state.hidden ?? "").split(",");
  const colors = colorsOf(rows, keys), color = (row) => lineColor(colors.get(keyOf(row)) ?? 0);
  const series = useMemo(() => chosen.map((row) => ({ id: row.job_id, name: labelOf(row, byRun), color: color(row), hidden: hidden.includes(row.job_id), points: toPoints(metrics[keyOf(row)]?.data?.series?.[state.metric], state.x) })).filter((one) => one.points.length), [metrics, state.metric, state.x, state.hidden, keys.join()]);
  const choose = (row, on) => change({ jobs: (on ? [...keys, keyOf(row)] : keys.filter((key) => key !== keyOf(row))).join("\u0002") });
  const name = (row) => h("a", { href: `${taskPage(row)}/plugin/atai-job` }, labelOf(row, byRun));
  const apart = differences(chosen), full = keys.length >= MOST_DRAWN;
  const metricName = CURVES.find(([key]) => key === state.metric)?.[1] ?? state.metric;
  return h("div", null,
    h(Section, { title: "Curves" },
      h("div", { className: "row", style: { marginBottom: 8 } }, h(Choice, { label: "Curve", value: state.metric, options: CURVES, onChange: (metric) => change({ metric }) }), h(Controls, { state, change })),
      series.length ? h(Chart, { label: metricName, series, ...xOf(state), yLabel: metricName, logY: state.scale === "log", onToggle: (id) => change({ hidden: toggled(state.hidden, id) }) })
        : h("p", { className: "muted" }, "None of the chosen jobs has such values yet."),
      full && rows.length > MOST_DRAWN && h("p", { className: "muted" }, `${MOST_DRAWN} jobs are drawn at most.`)),
    h(Section, { title: "Final metrics, best first" }, h(Table, {
      label: "Final metrics of the jobs", head: ["Drawn", byRun ? "Run" : "Task", "Status", "Best evaluation loss", "at step", "Last evaluation loss", "Last loss", "Last step", "Took"], numeric: [3, 4, 5, 6, 7, 8],
      rows: ranked(rows, (row) => metrics[keyOf(row)]?.data).map(({ row, best, bestStep, evalLoss, loss, step }) => {
        const on = keys.includes(keyOf(row));
        return [h("input", { type: "checkbox", checked: on, disabled: !on && full, "aria-label": `Draw ${labelOf(row, byRun)}`, onChange: () => choose(row, !on), style: { accentColor: color(row) } }),
          h("div", null, name(row), on && metrics[keyOf(row)]?.error && h("div", { className: "bad" }, metrics[keyOf(row)].error)),
          h(Status, { status: row.status }), number(best), number(bestStep), number(evalLoss), number(loss), number(step), seconds(row.seconds)];
      }) })),
    chosen.length > 1 && h(Section, { title: "What differs" }, apart.length
      ? h(Table, { label: "Differences in the configuration", head: ["", ...chosen.map((row) => labelOf(row, byRun))], rows: apart.map(([key, values]) => [key, ...values]) })
      : h("p", { className: "muted" }, "The jobs that are drawn have the same model and data.")));
};

const refresh = (data) => (data.jobs.some((row) => row.active) ? LIST_SECONDS : 0);

/* The jobs of one run, such as those of a sweep. */
export const RunJobsPage = ({ dagId, runId }) => {
  const [state, change] = useAddress(DEFAULTS);
  const { data, error, status } = usePolling(`/v1/dags/${e(dagId)}/jobs?run_id=${e(runId)}`, refresh);
  const rows = data?.jobs ?? [];
  return h(Page, null, h(Problem, { error, status }),
    !data ? !error && h("p", { className: "muted" }, "Reading…")
      : !rows.length ? h("p", { className: "muted" }, "No task of this run knows a fine-tune job.")
      : h("div", null, h("h1", null, plural(rows.length, "job"), " of this run"), data.truncated && h("p", { className: "muted" }, "Only the first of its jobs are shown."), h(Comparison, { rows, byRun: false, state, change })));
};

/* The jobs of one task in the last runs of its DAG. */
export const DagJobsPage = ({ dagId }) => {
  const [state, change] = useAddress(DEFAULTS);
  const first = `/v1/dags/${e(dagId)}/jobs?limit=5${state.task ? `&task_id=${e(state.task)}` : ""}`;
  const { data, error, status } = usePolling(first, refresh);
  const [older, setOlder] = useState({ path: first, rows: [] });
  const more = older.path === first ? older : { path: first, rows: [] };
  const rows = data ? joined(data.jobs, more.rows) : [], next = more.rows.length ? more.next : data?.next_before;
  const load = async () => {
    const path = `${first}&before=${e(next)}`, answer = await getJson(path);
    if (!answer.data) return setOlder({ ...more, error: answer.error });
    remember(path, answer.data);
    return setOlder({ path: first, rows: joined(more.rows, answer.data.jobs), next: answer.data.next_before });
  };
  return h(Page, null, h(Problem, { error: error ?? more.error, status }),
    !data ? !error && h("p", { className: "muted" }, "Reading…")
      : !rows.length ? h("p", { className: "muted" }, "No task of this DAG has recorded a fine-tune job.")
      : h("div", null,
        h("div", { className: "row" }, h("h1", null, "Jobs of the last runs"),
          data.tasks.length > 1 && h("label", { className: "row" }, "Task", h("select", { value: data.task_id, onChange: (event) => change({ task: event.target.value, jobs: null, hidden: null }) }, data.tasks.map((task) => h("option", { key: task, value: task }, task))))),
        h(Comparison, { rows, byRun: true, state, change }),
        next && h("p", { style: { marginTop: 12 } }, h("button", { type: "button", onClick: load }, "Show earlier runs"))));
};
