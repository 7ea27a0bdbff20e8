// The arithmetic of the chart. Pure.
export const extent = (values, log = false) => {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value == null || !Number.isFinite(value) || (log && value <= 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? null : [low, high];
};

const niceStep = (span, count) => {
  const rough = span / Math.max(1, count), power = 10 ** Math.floor(Math.log10(rough)), rest = rough / power;
  return (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10) * power;
};

export const linearTicks = (low, high, count) => {
  if (!(high > low)) return [low];
  const step = niceStep(high - low, count), first = Math.ceil(low / step - 1e-9), ticks = [];
  for (let i = first; i * step <= high + step * 1e-9 && ticks.length < 50; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
};

export const logTicks = (low, high) => {
  const ticks = [], many = Math.log10(high / low) > 6;
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const m of Math.log10(high / low) > 2 ? [1] : [1, 2, 5]) {
      const tick = Number((m * 10 ** p).toPrecision(12));
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9) && !(many && p % 2)) ticks.push(tick);
    }
  return ticks.length ? ticks : [low];
};

/* A scale over values: {at(value) -> pixel, ticks}. `at` gives NaN for what a logarithmic scale cannot show. */
export const scale = (values, from, to, { log = false, count = 5, pad = true } = {}) => {
  let [low, high] = extent(values, log) ?? (log ? [0.1, 1] : [0, 1]);
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  else if (pad && !log) {
    const room = (high - low) * 0.06;
    [low, high] = [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
  }
  const f = log ? Math.log10 : (x) => x, a = f(low), b = f(high);
  const at = (value) => (value == null || (log && value <= 0) ? NaN : from + ((f(value) - a) / (b - a)) * (to - from));
  return { at, low, high, ticks: log ? logTicks(low, high) : linearTicks(low, high, count) };
};

/* An SVG path through points [[x, y], ...]; it is interrupted where a point cannot be drawn. */
export const path = (points, x, y) => {
  const parts = [];
  let pen = false;
  for (const [px, py] of points) {
    const cx = x.at(px), cy = y.at(py), ok = Number.isFinite(cx) && Number.isFinite(cy);
    if (ok) parts.push(pen ? "L" : "M", cx.toFixed(1), " ", cy.toFixed(1));
    pen = ok;
  }
  return parts.join("");
};

/* The index of the point whose x is nearest; points are in the order of their x. -1 if there is none. */
export const nearest = (points, x) => {
  let low = 0, high = points.length - 1;
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= x) low = middle;
    else high = middle;
  }
  return Math.abs(points[high][0] - x) < Math.abs(points[low][0] - x) ? high : low;
};

/* Columns of the service to points in the order of their x. Without a usable x the position counts. */
export const toPoints = (columns, by) => {
  if (!columns) return [];
  const xs = columns[by] ?? [], usable = xs.length > 0 && xs.every((x) => x != null);
  const points = columns.value.map((value, i) => [usable ? xs[i] : i, value]);
  return points.every((point, i) => i === 0 || points[i - 1][0] <= point[0]) ? points : points.sort((a, b) => a[0] - b[0]);
};

/* Every x that any of the series has, in order, without repetition: the stops of the crosshair. */
export const stops = (series) => [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
