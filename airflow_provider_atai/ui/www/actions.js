import { mapQuery, postJson, taskPath } from "./client.js";
import { h } from "./parts.js";

const { useEffect, useId, useRef, useState } = globalThis.React;
const NAMES = { stop: "Stop gracefully", cancel: "Cancel" };
const QUESTIONS = { stop: "Stop this job gracefully?", cancel: "Cancel this job?" };

// The browser's own dialog keeps the focus inside, and closes on Escape.
const Confirm = ({ action, sentence, jobId, busy, onYes, onNo }) => {
  const dialog = useRef(null), id = useId();
  useEffect(() => {
    const shown = dialog.current;
    shown.showModal();
    return () => shown.close();
  }, []);
  return h("dialog", { ref: dialog, "aria-labelledby": id, onCancel: (event) => (event.preventDefault(), busy || onNo()) },
    h("h2", { id, style: { fontSize: 16 } }, QUESTIONS[action]), h("p", null, sentence), h("p", { className: "muted", style: { marginTop: 8 } }, "Job ", h("code", null, jobId)),
    h("div", { className: "row", style: { marginTop: 16, justifyContent: "flex-end" } },
      h("button", { type: "button", onClick: onNo, disabled: busy, autoFocus: true }, "Keep it running"),
      h("button", { type: "button", className: "main", onClick: onYes, disabled: busy }, busy ? "Asking the service…" : NAMES[action])));
};

export const Actions = ({ task, job, actions, onDone }) => {
  const [asked, ask] = useState(null), [busy, setBusy] = useState(false), [said, say] = useState(null);
  const id = useId();
  const act = async () => {
    setBusy(true);
    const { data, error } = await postJson(`${taskPath(task)}/${asked}${mapQuery(task)}`, { job_id: job.job_id });
    setBusy(false);
    ask(null);
    say(data ? { text: data.message } : { text: error, bad: true });
    onDone();
  };
  const reasons = [...new Set(Object.values(actions).map((one) => one.reason).filter(Boolean))];
  // What the service has said stays when the job is over and the buttons are gone.
  return h("div", { style: { marginTop: job.active || said ? 12 : 0 } },
    job.active && h("div", { className: "row" }, Object.entries(actions).map(([name, one]) => h("button", { key: name, type: "button", disabled: !one.allowed, "aria-describedby": one.reason ? id : undefined, onClick: () => ask(name) }, NAMES[name])),
      h("span", { id, className: "muted" }, reasons.join(" "))),
    h("p", { role: "status", className: said?.bad ? "bad" : undefined, style: { marginTop: said ? 6 : 0 } }, said?.text),
    asked && job.active && h(Confirm, { action: asked, sentence: actions[asked].consequence, jobId: job.job_id, busy, onYes: act, onNo: () => ask(null) }));
};
