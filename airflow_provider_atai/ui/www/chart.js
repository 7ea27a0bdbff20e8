import { nearest, path, scale, stops } from "./chart_scale.js";
import { h } from "./parts.js";
import { number } from "./words.js";

const { memo, useEffect, useId, useMemo, useRef, useState } = globalThis.React;
const TOP = 28, BOTTOM = 34, LEFT = 56, MOST_TABLE_ROWS = 200;

// Drawn again only if a series or the size changes, not when the crosshair moves.
const Lines = memo(({ drawn, x, left, right, box, labels }) =>
  h("g", null,
    left.ticks.map((tick) => h("g", { key: tick }, h("line", { className: "grid-line", x1: box.x0, x2: box.x1, y1: left.at(tick), y2: left.at(tick) }),
      h("text", { x: box.x0 - 6, y: left.at(tick) + 4, textAnchor: "end" }, number(tick)))),
    right && right.ticks.map((tick) => h("text", { key: tick, x: box.x1 + 6, y: right.at(tick) + 4 }, number(tick))),
    x.ticks.map((tick) => h("text", { key: tick, x: x.at(tick), y: box.y1 + 16, textAnchor: "middle" }, labels.format(tick))),
    h("text", { x: box.x0, y: 14 }, labels.y),
    right && h("text", { x: box.x1, y: 14, textAnchor: "end" }, labels.right),
    h("text", { x: (box.x0 + box.x1) / 2, y: box.y1 + 31, textAnchor: "middle" }, labels.x),
    drawn.map((one) => h("path", { key: one.id, d: one.d, fill: "none", style: { stroke: one.color }, strokeWidth: 2, strokeLinejoin: "round", strokeDasharray: one.dashed ? "5 4" : undefined })),
    // One point makes no line.
    drawn.filter((one) => one.dot).map((one) => h("circle", { key: one.id, cx: one.dot[0], cy: one.dot[1], r: 3, style: { fill: one.color } }))));

/* series: [{id, name, color, points: [[x, y]], axis?: "right", dashed?, hidden?}]; marks: [{seriesId, x, y, label}]. */
export const Chart = ({ series, xLabel, yLabel, rightLabel, logY = false, marks = [], xFormat = number, height = 280, onToggle, label }) => {
  const root = useRef(null), id = useId();
  const [width, setWidth] = useState(0);
  const [stop, setStop] = useState(null);
  const [table, setTable] = useState(false);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    observer.observe(root.current);
    return () => observer.disconnect();
  }, []);
  const shown = useMemo(() => series.filter((one) => !one.hidden && one.points.length), [series]);
  const plot = useMemo(() => {
    const on = (axis) => shown.filter((one) => (one.axis ?? "left") === axis);
    const hasRight = on("right").length > 0;
    const box = { x0: LEFT, x1: Math.max(LEFT + 40, width - (hasRight ? 62 : 12)), y0: TOP, y1: height - BOTTOM };
    const values = (list, i) => list.flatMap((one) => one.points.map((point) => point[i]));
    const x = scale(values(shown, 0), box.x0, box.x1, { pad: false, count: Math.max(2, Math.floor(width / 110)) });
    const axis = (name) => scale(values(on(name), 1), box.y1, box.y0, { log: logY && name === "left" });
    const left = axis("left"), right = hasRight ? axis("right") : null;
    const y = (one) => (one.axis === "right" ? right : left);
    const drawn = shown.map((one) => ({ ...one, d: path(one.points, x, y(one)), dot: one.points.length === 1 ? [x.at(one.points[0][0]), y(one).at(one.points[0][1])] : null }));
    return { box, x, left, right, y, drawn };
  }, [shown, width, height, logY]);
  const xs = useMemo(() => stops(shown), [shown]);
  const labels = useMemo(() => ({ x: xLabel, y: yLabel + (logY ? " (log)" : ""), right: rightLabel, format: xFormat }), [xLabel, yLabel, rightLabel, xFormat, logY]);

  const at = stop == null || !xs.length ? null : xs[Math.min(stop, xs.length - 1)];
  const read = at == null ? [] : shown.map((one) => [one, one.points[nearest(one.points, at)]]);
  const text = at == null ? "no point chosen" : `${xLabel} ${xFormat(at)}: ${read.map(([one, point]) => `${one.name} ${number(point[1])}`).join(", ")}`;
  const point = (event) => {
    const bounds = root.current.getBoundingClientRect(), { box, x } = plot;
    const share = Math.min(1, Math.max(0, (event.clientX - bounds.left - box.x0) / (box.x1 - box.x0)));
    setStop(nearest(xs.map((value) => [value]), x.low + share * (x.high - x.low)));
  };
  const key = (event) => {
    const last = xs.length - 1, now = stop ?? last + 1, page = Math.max(1, Math.round(xs.length / 10));
    const next = { ArrowLeft: now - 1, ArrowRight: stop == null ? 0 : now + 1, PageDown: now - page, PageUp: now + page, Home: 0, End: last }[event.key];
    if (event.key === "Escape") setStop(null);
    if (next == null || last < 0) return;
    event.preventDefault();
    setStop(Math.min(last, Math.max(0, next)));
  };
  const { box, x, left, right, y, drawn } = plot;
  const px = at == null ? 0 : x.at(at);
  return h("div", null,
    h("div", { className: "atai-chart", ref: root, role: "slider", tabIndex: 0, "aria-label": `${label}: move along the curve with the arrow keys`, "aria-valuemin": 0, "aria-valuemax": Math.max(0, xs.length - 1), "aria-valuenow": stop ?? 0, "aria-valuetext": text,
      onPointerMove: point, onPointerDown: point, onPointerLeave: () => setStop(null), onKeyDown: key, onBlur: () => setStop(null), style: { height } },
      width > 0 && h("svg", { height, width, "aria-hidden": true },
        h(Lines, { drawn, x, left, right, box, labels }),
        marks.filter((mark) => shown.some((one) => one.id === mark.seriesId)).map((mark) => {
          const one = shown.find((found) => found.id === mark.seriesId), cx = x.at(mark.x), cy = y(one).at(mark.y);
          return Number.isFinite(cx) && Number.isFinite(cy) && h("g", { key: mark.seriesId }, h("circle", { cx, cy, r: 5, fill: "var(--bg)", style: { stroke: one.color }, strokeWidth: 2.5 }),
            h("text", { x: cx, y: cy > box.y1 - 24 ? cy - 10 : cy + 18, textAnchor: cx > box.x1 - 60 ? "end" : cx < box.x0 + 60 ? "start" : "middle" }, mark.label));
        }),
        at != null && h("g", null, h("line", { x1: px, x2: px, y1: box.y0, y2: box.y1, style: { stroke: "var(--muted)" }, strokeDasharray: "3 3" }),
          read.map(([one, [ax, ay]]) => Number.isFinite(y(one).at(ay)) && h("circle", { key: one.id, cx: x.at(ax), cy: y(one).at(ay), r: 3.5, style: { fill: one.color } })))),
      at != null && h("div", { className: "tip", style: px > width / 2 ? { right: width - px + 10 } : { left: px + 10 } },
        h("div", { className: "muted" }, `${xLabel} ${xFormat(at)}`),
        read.map(([one, value]) => h("div", { key: one.id }, h("i", { style: { borderColor: one.color } }), `${one.name} ${number(value[1])}`)))),
    h("div", { className: "row", style: { gap: 6, marginTop: 6 } },
      series.map((one) => h("button", { key: one.id, type: "button", className: "atai-legend", "aria-pressed": !one.hidden, onClick: () => onToggle?.(one.id) }, h("i", { style: { borderColor: one.color, borderTopStyle: one.dashed ? "dashed" : "solid" } }), one.name)),
      h("button", { type: "button", className: "push", "aria-expanded": table, "aria-controls": id, onClick: () => setTable(!table) }, table ? "Hide the table" : "Show as a table")),
    h("div", { id, className: "scroll", style: { maxHeight: 260, overflowY: "auto" }, tabIndex: table ? 0 : undefined }, table && h(Values, { shown, xs, xLabel, xFormat, label })));
};

const Values = ({ shown, xs, xLabel, xFormat, label }) => {
  const every = Math.ceil(xs.length / MOST_TABLE_ROWS), rows = xs.filter((_, i) => i % every === 0);
  const lookup = shown.map((one) => new Map(one.points));
  return h("table", { "aria-label": `Values of ${label}` },
    every > 1 && h("caption", { className: "muted" }, `Each ${every}th of ${xs.length} points`),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, xLabel), shown.map((one) => h("th", { key: one.id, scope: "col", className: "num" }, one.name)))),
    h("tbody", null, rows.map((at) => h("tr", { key: at }, h("td", null, xFormat(at)), lookup.map((values, i) => h("td", { key: i, className: "num" }, number(values.get(at))))))));
};
