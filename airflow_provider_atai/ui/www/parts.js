import { base } from "./client.js";
import { CSS, statusColor, taskColor } from "./theme.js";

const React = globalThis.React;
export const h = React.createElement;

export const Page = ({ children }) => h("div", { className: "atai" }, h("style", null, CSS), children);
export const Section = ({ title, children, ...rest }) => h("section", { "aria-label": title, ...rest }, title && h("h2", null, title), children);
export const Badge = ({ text, color }) => h("span", { className: "badge" }, h("i", { style: { background: color }, "aria-hidden": true }), text);
export const Status = ({ status }) => h(Badge, { text: status ?? "not read yet", color: statusColor(status) });
export const TaskState = ({ state }) => h(Badge, { text: state ?? "no state", color: taskColor(state) });
export const Fact = ({ name, children }) => h("div", null, h("dt", null, name), h("dd", null, children));

export const Problem = ({ error, status }) =>
  error ? h("section", { className: "notice", role: "status" }, error, status === 401 && [" ", h("a", { key: "a", href: `${base()}/` }, "Log in")]) : null;

export const Choice = ({ label, value, options, onChange }) =>
  h("span", { role: "group", "aria-label": label, className: "row", style: { gap: 4 } },
    options.map(([key, text]) => h("button", { key, type: "button", "aria-pressed": value === key, onClick: () => onChange(key) }, text)));

export const Copy = ({ text, name, children }) => {
  const [done, setDone] = React.useState(null);
  React.useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(null), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  // Browsers offer the clipboard to secure pages only.
  const copy = () => (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(() => setDone("Copied"), () => setDone("Select it and copy"));
  return h("span", { className: "row", style: { gap: 8, flexWrap: "nowrap" } }, h("code", null, children ?? text),
    h("button", { type: "button", "aria-label": `Copy ${name}`, onClick: copy, style: { padding: "0 8px", fontSize: 12, flexShrink: 0 } }, h("span", { "aria-live": "polite" }, done ?? "Copy")));
};

export const Table = ({ label, head, rows, numeric = [] }) =>
  // Wide tables are scrolled by keyboard, too.
  h("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": label }, h("table", { "aria-label": label },
    h("thead", null, h("tr", null, head.map((name, i) => h("th", { key: i, scope: "col", className: numeric.includes(i) ? "num" : undefined }, name)))),
    h("tbody", null, rows.map((cells, r) => h("tr", { key: r }, cells.map((cell, i) => h("td", { key: i, className: numeric.includes(i) ? "num" : undefined }, cell)))))));
