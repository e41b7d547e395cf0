// Marks: said, commented, undone; what another tab did meanwhile is shown, never overwritten.

import { get, post, Refused } from "./api.js";
import { $, say } from "./dom.js";

const KEY = "esad-reader";
let version = "";
const heard = [];

export const onMarks = (act) => heard.push(act);
export const reader = () => sessionStorage.getItem(KEY) || "";

export function showReader() {
  $("reader-button").textContent = `Reader: ${reader() || "nobody yet"}`;
}

/** The name of who marks; asked for once in a tab. Empty where the person would not say. */
export function askReader(again = false) {
  if (reader() && !again) return Promise.resolve(reader());
  const dialog = $("reader");
  $("reader-name").value = reader();
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const name = $("reader-name").value.trim();
      if (dialog.returnValue === "yes" && name) sessionStorage.setItem(KEY, name);
      showReader();
      done(dialog.returnValue === "yes" ? reader() : "");
    }, { once: true });
  });
}

function changed(now, what) {
  version = now;
  for (const act of heard) act(what);
}

/** Say something of an item or a slide; `seen` is the entry that the person saw. Returns the new entry, or null. */
export async function put(of, row, mark, comment, seen) {
  const name = await askReader();
  if (!name) return null;
  try {
    const answer = await post("/api/marks", { of, row: Number(row), mark, comment, reader: name, seen });
    say(mark ? `Marked as ${mark}.` : "Mark removed.");
    changed(answer.version, { of, row: Number(row), mark });
    return answer.entry;
  } catch (error) {
    say(error.message, true);
    if (error instanceof Refused && error.status === 409) changed("", null);
    return null;
  }
}

export async function undo() {
  const name = await askReader();
  if (!name) return null;
  try {
    const answer = await post("/api/undo", { reader: name });
    if (!answer.entry) {
      say("There is nothing of yours to undo.");
      return null;
    }
    say(`Undone: ${answer.entry.mark || "removed mark"} of ${answer.entry.name}.`);
    changed(answer.version, null);
    return answer;
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

/** Look whether another tab or reader has marked something. */
export async function refresh() {
  try {
    const now = (await get("/api/version")).version;
    if (version && now !== version) changed(now, null);
    version = now;
  } catch (error) {
    if (error.status === 0) say(error.message, true);
  }
}

export function watch(first) {
  version = first;
  setInterval(() => document.visibilityState === "visible" && refresh(), 5000);
  addEventListener("focus", refresh);
}
export const markVersion = () => version;
