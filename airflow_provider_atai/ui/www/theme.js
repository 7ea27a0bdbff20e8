// Airflow's own colours, which change with its light and dark mode. The second value is for a version without the token.
const v = (token, fallback) => `var(--chakra-colors-${token}, ${fallback})`;

const STATES = {
  COMPLETED: ["success-solid", "#16a34a"],
  FAILED: ["failed-solid", "#dc2626"],
  CANCELLED: ["failed-solid", "#dc2626"],
  STOPPED: ["up_for_retry-solid", "#eab308"],
  STOPPING: ["restarting-solid", "#8b5cf6"],
  RUNNING: ["running-solid", "#06b6d4"],
  FINALIZING: ["running-solid", "#06b6d4"],
  STARTING: ["scheduled-solid", "#a1a1aa"],
  REGISTERED: ["queued-solid", "#71717a"],
};
const TASK_STATES = new Set(["success", "failed", "running", "queued", "deferred", "scheduled", "skipped", "up_for_retry", "up_for_reschedule", "upstream_failed", "restarting"]);
const LINES = [["blue-solid", "#2563eb"], ["orange-solid", "#ea580c"], ["green-solid", "#16a34a"], ["purple-solid", "#9333ea"], ["pink-solid", "#db2777"], ["teal-solid", "#0d9488"], ["yellow-solid", "#ca8a04"], ["red-solid", "#dc2626"]];

export const statusColor = (status) => v(...(STATES[status] ?? ["none-solid", "#71717a"]));
export const taskColor = (state) => v(...(TASK_STATES.has(state) ? [`${state}-solid`, "#71717a"] : ["none-solid", "#71717a"]));
// The solid colours are the same in both modes: mixed with the text's, a line stands out from either background.
export const lineColor = (index) => {
  const [token, fallback] = LINES[index % LINES.length];
  return `color-mix(in oklab, ${v(token, fallback)} 60%, ${v(token.replace("solid", "fg"), fallback)})`;
};

export const CSS = `
.atai{--fg:${v("fg", "#18181b")};--muted:${v("fg-muted", "#52525b")};--bg:${v("bg", "#fff")};--subtle:${v("bg-subtle", "#fafafa")};--line:${v("border", "#e4e4e7")};--accent:${v("brand-solid", "#017cee")};--on-accent:${v("brand-contrast", "#fff")};--bad:${v("red-fg", "#b91c1c")};--focus:${v("blue-fg", "#1d4ed8")};
 box-sizing:border-box;height:100%;overflow:auto;padding:16px;color:var(--fg);background:var(--bg);font-size:14px;line-height:1.45;container-type:inline-size}
.atai *{box-sizing:border-box}
.atai h1{font-size:18px;font-weight:600;margin:0}
.atai h2{font-size:14px;font-weight:600;margin:0 0 8px}
.atai p{margin:0}
.atai section{border:1px solid var(--line);border-radius:6px;padding:12px 16px;margin-top:12px;min-width:0}
.atai .row{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center}
.atai .push{margin-left:auto}
.atai .muted{color:var(--muted)}
.atai .bad{color:var(--bad)}
.atai .notice{border-left:4px solid var(--bad)}
.atai .grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:0 12px}
.atai dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 16px;margin:0}
.atai dt{color:var(--muted)}
.atai dd{margin:0;min-width:0;overflow-wrap:anywhere}
.atai code{font-family:ui-monospace,SFMono-Regular,Menlo,monospace;font-size:13px;overflow-wrap:anywhere}
.atai .facts{display:flex;flex-wrap:wrap;gap:12px 28px}
.atai .facts dt{font-size:12px}
.atai .facts>div{min-width:0}
.atai .badge{display:inline-flex;align-items:center;gap:6px;border:1px solid var(--line);border-radius:999px;padding:1px 10px;font-size:13px;font-weight:500;white-space:nowrap}
.atai .badge i{width:9px;height:9px;border-radius:50%}
.atai button,.atai select{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:4px;padding:3px 10px;cursor:pointer}
.atai button:hover:not(:disabled){background:var(--subtle)}
.atai button:disabled{color:var(--muted);cursor:not-allowed;border-style:dashed}
.atai button.main{background:var(--accent);color:var(--on-accent);border-color:transparent}
.atai button[aria-pressed=true]{border-color:var(--focus);box-shadow:inset 0 0 0 1px var(--focus)}
.atai :focus-visible{outline:2px solid var(--focus);outline-offset:2px}
.atai a{color:${v("blue-fg", "#1d4ed8")};text-decoration:underline}
.atai .scroll{overflow-x:auto}
.atai table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.atai th,.atai td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
.atai th{font-weight:500;color:var(--muted);font-size:12px}
.atai td.num,.atai th.num{text-align:right}
.atai .whole{white-space:nowrap}
.atai .bar{height:6px;border-radius:3px;min-width:3px}
.atai .hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.atai dialog{margin:auto;max-width:min(460px,92vw);border:1px solid var(--line);border-radius:8px;padding:20px;color:var(--fg);background:var(--bg);box-shadow:0 10px 30px #0006}
.atai dialog::backdrop{background:#0008}
.atai-chart{position:relative;touch-action:pan-y}
.atai-chart svg{display:block;width:100%;overflow:visible}
.atai-chart text{fill:var(--muted);font-size:11px}
.atai-chart .grid-line{stroke:var(--line)}
.atai-chart .tip{position:absolute;top:4px;pointer-events:none;background:var(--bg);border:1px solid var(--line);border-radius:4px;padding:4px 8px;font-size:12px;box-shadow:0 2px 8px #0003;font-variant-numeric:tabular-nums;max-width:60%}
.atai-chart .tip i,.atai-legend i{display:inline-block;width:14px;height:0;border-top:3px solid;margin-right:6px;vertical-align:middle}
.atai-legend{display:inline-flex;align-items:center}
.atai-legend[aria-pressed=false]{opacity:.75;text-decoration:line-through}
`;
