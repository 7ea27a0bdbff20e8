// What a person has chosen, kept in the address, so that a reload and a link show the same. Pure but for the last two.
const PREFIX = "atai_";

export const parsed = (search, defaults) => {
  const found = new URLSearchParams(search);
  return Object.fromEntries(Object.entries(defaults).map(([key, value]) => [key, found.get(PREFIX + key) ?? value]));
};

export const merged = (search, state, defaults) => {
  const found = new URLSearchParams(search);
  for (const [key, value] of Object.entries(state)) {
    if (value == null || value === defaults[key]) found.delete(PREFIX + key);
    else found.set(PREFIX + key, value);
  }
  const text = found.toString();
  return text ? `?${text}` : "";
};

export const useAddress = (defaults) => {
  const [state, setState] = globalThis.React.useState(() => parsed(location.search, defaults));
  const change = (changes) => {
    const next = { ...state, ...changes };
    setState(next);
    // The router of the host keeps its own state in the entry.
    history.replaceState(history.state, "", location.pathname + merged(location.search, next, defaults) + location.hash);
  };
  return [state, change];
};
