// How values are written. Pure.
export const seconds = (value) => {
  if (value == null || !Number.isFinite(value)) return "-";
  let rest = Math.max(0, Math.round(value));
  if (rest < 60) return `${rest} s`;
  if (rest < 3600) return `${Math.floor(rest / 60)} min ${rest % 60} s`;
  rest = Math.round(rest / 60);
  return rest < 1440 ? `${Math.floor(rest / 60)} h ${rest % 60} min` : `${Math.floor(rest / 1440)} d ${Math.floor((rest % 1440) / 60)} h`;
};

export const ago = (at, now) => (at == null ? "never" : now - Date.parse(at) < 1500 ? "just now" : `${seconds((now - Date.parse(at)) / 1000)} ago`);

export const number = (value) => {
  if (value == null || !Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(Number.isInteger(value) ? 12 : 5)));
};

export const moment = (at) => (at == null || Number.isNaN(Date.parse(at)) ? "-" : new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }));

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
