// All of it by keyboard. Letters can be switched off, since screen readers and voices use them, too.

import { get, itemQuery, slideQuery } from "./api.js";
import { $, h, say } from "./dom.js";
import * as gallery from "./gallery.js";
import * as item from "./item.js";
import { ofSlides } from "./list.js";
import * as marks from "./marks.js";
import * as picture from "./picture.js";
import * as slide from "./slide.js";
import { about, go, state } from "./state.js";

const LETTERS = "esad-letters";
let on = localStorage.getItem(LETTERS) !== "off";
const HELP = [
  ["n, p", "next, previous item in the order of the filters (in a slide: of its tiles; in the list: of slides)"], ["u", "next item without a mark"],
  ["1, 2, 3", "mark as normal, anomaly, unsure; the same again takes it away"], ["0", "no mark"], ["c", "write a comment; Ctrl+Enter saves, Esc leaves"],
  ["z", "undo your last mark"], ["l, g, s, i", "list, gallery, slide, picture"], ["h, b, d, k, t, o", "layers: heat, tiles, candidates, marks, tissue, outlines or known region"],
  ["[, ]", "fade the heat"], ["+, −", "zoom"], ["arrow keys", "in a slide: move; in the gallery: choose"], ["Shift+arrow keys", "in a picture: level and window"],
  ["f", "next candidate of a slide"], ["e", "explain: compute the panels of the item now"], ["r", "next run"], ["Esc", "close the item, or this help"], ["?", "this help"],
];

export function help() {
  const dialog = $("help");
  const box = h("input", { type: "checkbox", checked: on, on: { change: (event) => { on = event.target.checked; localStorage.setItem(LETTERS, on ? "on" : "off"); } } });
  dialog.replaceChildren(
    h("h2", { id: "help-title" }, "Keys"),
    h("table", {}, h("tbody", {}, HELP.map(([key, text]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, text))))),
    h("p", {}, h("label", {}, box, " Keys of one letter are on")),
    h("p", { class: "quiet" }, "Scores say how unlike normal items something is. They are no diagnosis."),
    h("button", { type: "button", on: { click: () => dialog.close() } }, "Close"));
  dialog.showModal();
}

const listed = () => state.view === "list" && ofSlides();
const query = () => (listed() ? slideQuery() : itemQuery(state.view === "slide" ? state.slide : state.view === "gallery" ? state.within : null));

/** Go to the `next`, `previous` or `unreviewed` one of the order. */
export async function step(which) {
  const own = listed() ? state.slide : state.row;
  try {
    let found = await get(`/api/around/${own === "" ? 0 : own}`, query()), row = found[which];
    if (own === "" && found.total) {
      const first = (await get("/api/list", { ...query(), offset: 0, limit: 1 })).rows[0].row;
      row = which === "unreviewed" ? found.unreviewed : first;
    }
    if (row === null || row === undefined) {
      say(which === "unreviewed" ? "Everything here is reviewed." : found.total ? `There is no ${which} one.` : "Nothing fits the filters.");
      return;
    }
    if (listed()) go({ slide: row });
    else go({ row });
    if (state.view === "gallery") gallery.reveal((await get(`/api/around/${row}`, query())).place);
  } catch (error) {
    say(error.message, true);
  }
}

const IN_ORDER = new Set(["n", "p", "u", "0", "1", "2", "3", "z", "s", "f"]); // what asks the server, and what is asked by what is selected
let busy = Promise.resolve();
let candidate = -1;
const RULES = {
  n: () => step("next"), p: () => step("previous"), u: () => step("unreviewed"),
  1: () => item.mark("normal"), 2: () => item.mark("anomaly"), 3: () => item.mark("unsure"), 0: () => item.mark(null),
  c: () => $("comment")?.focus(), z: () => marks.undo(), "?": help,
  l: () => go({ view: "list" }), g: () => go({ view: "gallery" }),
  s: () => about.of_slides && go({ view: "slide", slide: item.shown?.slide ?? state.slide }), i: () => !about.of_slides && about.pictures && go({ view: "picture" }),
  h: () => slide.toggle("heat"), b: () => slide.toggle("boxes"), d: () => slide.toggle("candidates"), k: () => slide.toggle("marks"), t: () => slide.toggle("tissue"), o: () => slide.toggle("outlines"),
  "[": () => slide.fade(-10), "]": () => slide.fade(10), e: () => go({ panels: state.panels === "1" ? "" : "1" }),
  r: () => about.runs.length > 1 && go({ run: (Number(state.run) + 1) % about.runs.length }),
  f: () => {
    const found = slide.current()?.candidates[Number(state.run)] ?? [];
    if (state.view === "slide" && found.length) slide.showCandidate((candidate = (candidate + 1) % found.length));
  },
  "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), Escape: () => go({ row: "" }),
};

function zoom(by) {
  if (state.view === "slide") slide.viewport()?.zoomBy(by);
  if (state.view === "picture") picture.zoomBy(by);
}

export function start() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.key === "z" && !typing(event.target)) {
      event.preventDefault();
      marks.undo();
      return;
    }
    if (event.key === "Escape" && typing(event.target) && !document.querySelector("dialog[open]")) {
      $("main").focus(); // out of a field: keys are keys again
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target) || document.querySelector("dialog[open]")) return;
    const rule = RULES[event.key];
    if (!rule || (!on && event.key !== "Escape" && event.key !== "?")) return;
    if (event.target.closest?.(".deep") && /^[+=-]$/.test(event.key)) return; // the slide's own
    event.preventDefault();
    if (!IN_ORDER.has(event.key)) return void rule();
    busy = busy.then(rule).catch((error) => say(String(error), true)).then(() => item.pending); // one after the other, however quick the hand
  });
}

function typing(element) {
  return element.closest?.("textarea, select, input:not([type=checkbox]):not([type=range])") !== null && element.closest !== undefined;
}
