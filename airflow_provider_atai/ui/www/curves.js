import { Chart } from "./chart.js";
import { toPoints } from "./chart_scale.js";
import { Choice, h } from "./parts.js";
import { lineColor } from "./theme.js";
import { number, seconds } from "./words.js";

const { useMemo } = globalThis.React;
export const CURVES = [["loss", "Training loss"], ["eval_loss", "Evaluation loss"], ["learning_rate", "Learning rate"]];

export const Controls = ({ state, change }) => h("div", { className: "row" },
  h(Choice, { label: "Horizontal axis", value: state.x, options: [["step", "By step"], ["time", "By time"]], onChange: (x) => change({ x }) }),
  h(Choice, { label: "Scale of the loss", value: state.scale, options: [["linear", "Linear"], ["log", "Logarithmic"]], onChange: (scale) => change({ scale }) }));

export const toggled = (hidden, id) => {
  const set = new Set(hidden ? hidden.split(",") : []);
  if (!set.delete(id)) set.add(id);
  return [...set].sort().join(",") || null;
};

export const xOf = (state) => (state.x === "time" ? { xLabel: "Time", xFormat: seconds } : { xLabel: "Step", xFormat: number });

export const Curves = ({ metrics, state, change }) => {
  const hidden = (state.hidden ?? "").split(",");
  const series = useMemo(() => CURVES.map(([id, name], i) => ({ id, name, color: lineColor(i), axis: id === "learning_rate" ? "right" : "left", dashed: id === "learning_rate", hidden: hidden.includes(id), points: toPoints(metrics.series[id], state.x) })).filter((one) => one.points.length), [metrics, state.x, state.hidden]);
  const best = metrics.best, at = best && (state.x === "time" ? best.time : best.step);
  return h("div", null, h(Controls, { state, change }),
    h(Chart, { label: "Loss and learning rate", series, ...xOf(state), yLabel: "Loss", rightLabel: "Learning rate", logY: state.scale === "log", marks: at == null ? [] : [{ seriesId: "eval_loss", x: at, y: best.eval_loss, label: `best ${number(best.eval_loss)}` }], onToggle: (id) => change({ hidden: toggled(state.hidden, id) }) }));
};
