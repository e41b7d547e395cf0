// What is asked of the server. All addresses are this server's own.

import { state } from "./state.js";

export class Refused extends Error {
  constructor(message, status, now) {
    super(message);
    this.status = status;
    this.now = now;
  }
}

async function answered(response) {
  const content = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Refused(content.error || response.statusText, response.status, content.now);
  return content;
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Refused("The server does not answer: is `esad view` still running?", 0);
  }
  return response;
}

/** An address with its query; empty values are left out. */
export function address(path, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== "" && value !== null && value !== undefined) words.set(name, value);
  const text = words.toString();
  return text ? `${path}?${text}` : path;
}

export const get = async (path, query, options) => answered(await ask(address(path, query), options));
export const picture = async (path, query, options) => {
  const response = await ask(address(path, query), options);
  if (!response.ok) await answered(response);
  return response;
};
export const post = async (path, content) =>
  answered(await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) }));

/** What the filters and the order of items are now; `within` narrows to a slide. */
export const itemQuery = (within = null) => ({
  of: "item", run: state.run, sort: state.sort, descending: state.desc, label: state.label, mark: state.mark, part: state.part,
  group: state.group, view: state.projection, slide: within, least: state.least, most: state.most, text: state.text,
});
export const slideQuery = () => ({
  of: "slide", run: state.run, sort: state.lsort, descending: state.ldesc, label: state.label, mark: state.mark, group: state.group, text: state.text,
});
