// Where a person is: all of it stands behind the # of the address, so that a link opens it again.

const DEFAULTS = {
  view: "list", run: "0", compare: "", sort: "score", desc: "1", lsort: "max", ldesc: "1", label: "", mark: "", part: "", group: "",
  projection: "", least: "", most: "", text: "", slide: "", row: "", page: "0", layers: "heat-60", from: "", x: "", y: "", zoom: "",
  size: "96", within: "", panels: "", window: "", list: "",
};

export const state = { ...DEFAULTS };
export const about = {};
const heard = [];

export const listen = (act) => heard.push(act);

function read() {
  const words = new URLSearchParams(location.hash.slice(1));
  const before = { ...state };
  for (const name of Object.keys(DEFAULTS)) state[name] = words.get(name) ?? DEFAULTS[name];
  return Object.keys(state).filter((name) => state[name] !== before[name]);
}

function written() {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (String(value) !== DEFAULTS[name]) words.set(name, value);
  return `#${words}`;
}

function tell(changed) {
  if (changed.length) for (const act of heard) act(new Set(changed));
}

/** Go somewhere: a new step of the browser's history, unless it is a `small` one, such as a pan. */
export function go(values, small = false) {
  const changed = Object.keys(values).filter((name) => String(values[name]) !== String(state[name]));
  for (const name of changed) state[name] = String(values[name]);
  if (!changed.length) return;
  history[small ? "replaceState" : "pushState"](null, "", written());
  tell(changed);
}

/** Keep what needs no redrawing, where the view stands, in the address. */
export function keep(values) {
  for (const [name, value] of Object.entries(values)) state[name] = String(value);
  history.replaceState(null, "", written());
}

export function start() {
  read();
  addEventListener("hashchange", () => tell(read()));
  addEventListener("popstate", () => tell(read()));
}

export const numberOf = (text) => (text === "" ? null : Number(text));
