/** What this browser keeps: in localStorage, or until the page is closed where the browser forbids that. */

const here = new Map();

function attempt(work, otherwise) {
  try {
    return work();
  } catch {
    return otherwise();
  }
}

export function stored(name) {
  return attempt(() => localStorage.getItem(name), () => here.get(name) ?? null);
}

export function store(name, value) {
  attempt(() => localStorage.setItem(name, value), () => here.set(name, value));
}

export function forget(name) {
  attempt(() => localStorage.removeItem(name), () => here.delete(name));
}

/** Names that begin with `prefix`. */
export function storedNames(prefix) {
  return attempt(() => Object.keys(localStorage), () => [...here.keys()]).filter((name) => name.startsWith(prefix));
}
