// The page: one view at a time, the selected item beside it, and what stands in the address.

import { get } from "./api.js";
import { $, h, say } from "./dom.js";
import * as gallery from "./gallery.js";
import * as item from "./item.js";
import * as keys from "./keys.js";
import * as list from "./list.js";
import * as marks from "./marks.js";
import * as picture from "./picture.js";
import * as slide from "./slide.js";
import { about, go, listen, start, state } from "./state.js";

const VIEWS = [["list", "List", "l"], ["gallery", "Gallery", "g"], ["slide", "Slide", "s"], ["picture", "Picture", "i"]];
const there = () => VIEWS.filter(([name]) => (name === "slide" ? about.of_slides : name === "picture" ? about.kind === "radiographs" || about.kind === "images" : true));
const OF_LIST = ["view", "run", "sort", "desc", "lsort", "ldesc", "label", "mark", "part", "group", "projection", "least", "most", "text", "page", "slide", "row", "list"];

function head() {
  $("views").replaceChildren(...there().map(([name, title, key]) => h("button", { type: "button", "aria-current": state.view === name ? "page" : null, "aria-keyshortcuts": key, on: { click: () => go({ view: name }) } }, `${title} (${key})`)));
  const option = (run, place, chosen) => h("option", { value: place, selected: String(place) === chosen }, run.name);
  $("run").replaceChildren(...about.runs.map((run, place) => option(run, place, state.run)));
  $("compare").replaceChildren(h("option", { value: "" }, "nothing"), ...about.runs.map((run, place) => option(run, place, state.compare)));
  $("compare-label").hidden = about.runs.length < 2 || state.view !== "slide";
  document.title = `esad view: ${about.runs.map((run) => run.name).join(", ")}`;
}

/** Draw what has changed; `marked` is the one item that has got a mark, where it is only that. */
async function draw(changed, marked = null) {
  if (!there().some(([name]) => name === state.view)) state.view = "list";
  if (!about.runs[Number(state.run)]) state.run = "0";
  head();
  for (const [name] of VIEWS) $(name).hidden = state.view !== name;
  if (state.view !== "slide") slide.close();
  if (state.view !== "picture" && state.view !== "slide") $("notice").hidden = true;
  if (changed.has("row") || changed.has("run") || changed.has("panels") || changed.has("marks") || changed.has("everything")) await item.show();
  if (state.view === "list" && OF_LIST.concat("marks", "everything").some((name) => changed.has(name))) await list.show();
  if (state.view === "gallery") {
    const own = marked?.of === "item" && gallery.marked(marked.row, marked.mark);
    if (!own && [...changed].some((name) => name !== "row")) await gallery.show(changed.has("marks"));
    gallery.mark();
  }
  if (state.view === "slide") {
    await slide.show(changed);
    if (changed.has("row")) slide.select();
  }
  if (state.view === "picture") await picture.show(changed);
}

async function begin() {
  try {
    Object.assign(about, await get("/api/about"));
  } catch (error) {
    say(error.message, true);
    return;
  }
  start();
  listen(draw);
  marks.onMarks((what) => draw(new Set(["marks"]), what));
  marks.watch(about.version);
  marks.showReader();
  $("run").addEventListener("change", (event) => go({ run: event.target.value }));
  $("compare").addEventListener("change", (event) => go({ compare: event.target.value }));
  $("undo").addEventListener("click", async () => {
    const undone = await marks.undo();
    if (undone?.row !== null && undone?.row !== undefined && undone.entry.of === "item") go({ row: undone.row });
  });
  $("reader-button").addEventListener("click", () => marks.askReader(true));
  $("help-button").addEventListener("click", keys.help);
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("main").focus();
  });
  keys.start();
  window.esad = { gallery: gallery.measured, slide }; // what tests measure and look at
  await draw(new Set(["everything", "view"]));
  document.body.dataset.ready = "1";
}

begin();
