// What the comparison makes of the jobs and their metrics. Pure.
export const MOST_DRAWN = 8;

export const keyOf = (row) => [row.run_id, row.task_id, row.map_index].join("\u0001");

export const labelOf = (row, byRun) => {
  const task = row.map_index >= 0 ? `${row.task_id} [${row.map_index}]` : row.task_id;
  return byRun ? row.run_id : task;
};

/* The jobs that are drawn: those that were chosen, else the first few. */
export const drawnKeys = (rows, chosen, most = MOST_DRAWN) => {
  const known = rows.map(keyOf);
  const wanted = chosen == null ? known : chosen.split("\u0002").filter((key) => known.includes(key));
  return wanted.slice(0, most);
};

/* The number of its colour per drawn key: its place in the list if that is free, so that it keeps its colour, else the next. */
export const colorsOf = (rows, keys, most = MOST_DRAWN) => {
  const known = rows.map(keyOf), taken = new Set();
  return new Map(keys.map((key) => {
    let color = Math.max(0, known.indexOf(key)) % most;
    while (taken.has(color)) color = (color + 1) % most;
    taken.add(color);
    return [key, color];
  }));
};

const last = (metrics, key) => metrics?.series?.[key]?.value.at(-1) ?? null;

/* A line per job, the best evaluation loss first, then the loss; jobs without values come last. */
export const ranked = (rows, metricsOf) => {
  const lines = rows.map((row) => {
    const metrics = metricsOf(row);
    return { row, best: metrics?.best?.eval_loss ?? null, bestStep: metrics?.best?.step ?? null, evalLoss: last(metrics, "eval_loss"), loss: last(metrics, "loss"), step: metrics?.last_step ?? null };
  });
  const order = (a, b, key) => (a[key] == null) - (b[key] == null) || (a[key] ?? 0) - (b[key] ?? 0);
  return lines.sort((a, b) => order(a, b, "best") || order(a, b, "loss"));
};

const configOf = (row) => ({
  Name: row.name ?? null,
  "Base model": row.model ?? null,
  ...Object.fromEntries((row.datasets ?? []).map((one) => [`${one.split ?? "?"} data: ${one.name ?? "?"}`, one.file_ids.join(", ")])),
});

/* Only what differs between the jobs: [[setting, [value per row]]]. */
export const differences = (rows) => {
  const configs = rows.map(configOf), keys = [...new Set(configs.flatMap(Object.keys))];
  return keys.map((key) => [key, configs.map((config) => config[key] ?? "-")]).filter(([, values]) => new Set(values).size > 1);
};

/* More rows below those that are there, without repeating one. */
export const joined = (rows, more) => {
  const known = new Set(rows.map((row) => `${row.dag_id}\u0001${keyOf(row)}`));
  return [...rows, ...more.filter((row) => !known.has(`${row.dag_id}\u0001${keyOf(row)}`))];
};
