import { getJson } from "./client.js";

// The host may mount a page anew at any time. What was shown last is shown at once.
const seen = new Map();
const MOST_SEEN = 100;
const AFTER_ERROR = 10;
// Another try cannot help before the person does something.
const FINAL = new Set([401, 403, 404, 422]);

export const remember = (path, data) => {
  seen.delete(path);
  seen.set(path, data);
  if (seen.size > MOST_SEEN) seen.delete(seen.keys().next().value);
};

/* Reads a path again and again while the tab is visible. `interval(data)` says after how many seconds, 0 for never.
   Returns {data, error, status, reload}. An error leaves the data in place. */
export const usePolling = (path, interval) => {
  const { useEffect, useRef, useState } = globalThis.React;
  const [shown, show] = useState({ path, data: seen.get(path) ?? null });
  const again = useRef(() => {});
  const rule = useRef(interval);
  rule.current = interval;
  useEffect(() => {
    if (path == null) return undefined;
    let timer = null, over = false, busy = false, controller = null;
    const load = async () => {
      clearTimeout(timer);
      if (over || busy || document.hidden) return;
      busy = true;
      controller = new AbortController();
      const { data, error, status, aborted } = await getJson(path, controller.signal);
      busy = false;
      if (over || aborted) return;
      if (data) remember(path, data);
      show({ path, data: data ?? seen.get(path) ?? null, error, status });
      const wait = error ? (FINAL.has(status) ? 0 : AFTER_ERROR) : rule.current(data);
      if (wait > 0) timer = setTimeout(load, wait * 1000);
    };
    const wake = () => {
      if (document.hidden) clearTimeout(timer);
      else load();
    };
    again.current = load;
    document.addEventListener("visibilitychange", wake);
    load();
    return () => {
      over = true;
      clearTimeout(timer);
      controller?.abort();
      document.removeEventListener("visibilitychange", wake);
    };
  }, [path]);
  const current = shown.path === path ? shown : { data: seen.get(path) ?? null };
  return { data: current.data, error: current.error, status: current.status, reload: () => again.current() };
};

/* The time in milliseconds, anew each second while `active`. */
export const useNow = (active) => {
  const [now, setNow] = globalThis.React.useState(Date.now());
  globalThis.React.useEffect(() => {
    if (!active) return undefined;
    const timer = setInterval(() => document.hidden || setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [active]);
  return now;
};
