import { useAddress } from "./address.js";
import { getJson, taskPage } from "./client.js";
import { joined } from "./compare_model.js";
import { Choice, h, Page, Problem, Section, Status, Table, TaskState } from "./parts.js";
import { usePolling } from "./polling.js";
import { moment, seconds } from "./words.js";

const { useState } = globalThis.React;
const STATES = [["", "All"], ["active", "Active"], ["completed", "Completed"], ["stopped", "Stopped"], ["cancelled", "Cancelled"], ["failed", "Failed"]];
const LIST_SECONDS = 20;

/* The jobs of all DAGs that the user may read. */
export const JobsPage = () => {
  const [state, change] = useAddress({ state: "" });
  const first = `/v1/jobs?limit=50${state.state ? `&state=${encodeURIComponent(state.state)}` : ""}`;
  const { data, error, status } = usePolling(first, (page) => (page.jobs.some((row) => row.active) ? LIST_SECONDS : 0));
  const [older, setOlder] = useState({ path: first, rows: [] });
  const more = older.path === first ? older : { path: first, rows: [] };
  const rows = data ? joined(data.jobs, more.rows) : [], next = more.rows.length ? more.next : data?.next_before;
  const load = async () => {
    const answer = await getJson(`${first}&before=${encodeURIComponent(next)}`);
    setOlder(answer.data ? { path: first, rows: joined(more.rows, answer.data.jobs), next: answer.data.next_before } : { ...more, error: answer.error });
  };
  return h(Page, null,
    h("div", { className: "row" }, h("h1", null, "Fine-tune jobs"), h("span", { className: "push" }, h(Choice, { label: "State", value: state.state, options: STATES, onChange: (value) => change({ state: value }) }))),
    h(Problem, { error: error ?? more.error, status }),
    !data ? !error && h("p", { className: "muted" }, "Reading…")
      : h(Section, { "aria-label": "Jobs" }, rows.length
        ? h(Table, { label: "Fine-tuning jobs, newest first", head: ["Job", "Status", "DAG", "Run", "Task", "Task state", "Created", "Took"], numeric: [7],
          rows: rows.map((row) => [h("div", null, h("a", { href: `${taskPage(row)}/plugin/atai-job` }, row.name ?? row.job_id), h("div", { className: "muted" }, h("code", null, row.job_id))), h(Status, { status: row.status }), row.dag_id, row.run_id,
            row.map_index >= 0 ? `${row.task_id} [${row.map_index}]` : row.task_id, h(TaskState, { state: row.task_state }), moment(row.created_at), seconds(row.seconds)]) })
        : h("p", { className: "muted" }, state.state ? "No job has this state." : "No task that you may see has recorded a fine-tune job.")),
    next && h("p", { style: { marginTop: 12 } }, h("button", { type: "button", onClick: load }, "Show older jobs")));
};
