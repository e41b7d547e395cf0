// The selected item: what it is, where its score comes from, where it stands among normals, and the mark it gets.

import { get } from "./api.js";
import { $, h, labelWord, MARKS, markSign, number, s, say } from "./dom.js";
import { put } from "./marks.js";
import { about, go, state } from "./state.js";

export let shown = null; // the item that is shown, as the server described it
export let pending = Promise.resolve();
let asked = 0;
const heard = [];
export const onShown = (act) => heard.push(act);

/** Load and draw the selected item; who marks waits for it, so that a quick key never marks the item before. */
export function show() {
  pending = load();
  return pending;
}

async function load() {
  const mine = ++asked, place = $("item");
  place.hidden = state.row === "";
  if (state.row === "") {
    shown = null;
    for (const act of heard) act(null);
    return;
  }
  let found;
  try {
    found = await get(`/api/item/${state.row}`);
  } catch (error) {
    if (mine === asked) {
      place.replaceChildren(h("p", { class: "quiet" }, error.message));
      shown = null;
    }
    return;
  }
  if (mine !== asked) return;
  const before = $("comment"), typing = document.activeElement === before && before !== null;
  const draft = before && before.value !== before.defaultValue && (typing || shown?.row === found.row) ? before.value : null;
  const caret = before?.selectionStart;
  shown = found;
  place.replaceChildren(...parts(found));
  if (draft !== null && draft !== (found.history[0]?.comment ?? "")) $("comment").value = draft; // what is typed is not lost to a redraw
  if (typing) {
    $("comment").focus();
    $("comment").setSelectionRange(caret, caret);
  }
  for (const act of heard) act(found);
  if (state.panels === "1" && about.pictures) panels(found, mine);
}

const current = () => (shown && shown.history.length ? shown.history[0] : null);

/** Give the selected item a mark, with the comment that stands there; the same mark again takes it away. */
export async function mark(word) {
  await pending;
  if (!shown) {
    say("No item is selected.");
    return;
  }
  const now = current(), comment = $("comment")?.value ?? now?.comment ?? "";
  const wanted = word !== null && now && now.mark === word && comment === now.comment ? null : word;
  await put("item", shown.row, wanted, comment, now ? now.id : 0);
}

function parts(item) {
  const run = item.runs[Number(state.run)], now = current();
  return [
    h("h2", { id: "item-name" }, item.item_id),
    h("div", { class: "buttons", role: "group", "aria-label": "Mark" },
      MARKS.map(([word, title, key]) => h("button", { type: "button", "data-mark": word, "aria-pressed": String(now?.mark === word), "aria-keyshortcuts": key, on: { click: () => mark(word) } }, `${title} (${key})`)),
      h("button", { type: "button", disabled: !now?.mark, "aria-keyshortcuts": "0", on: { click: () => mark(null) } }, "None (0)")),
    h("label", { for: "comment" }, "Comment (c)"),
    h("textarea", { id: "comment", rows: 2, maxlength: 2000, autocomplete: "off", on: { keydown: commentKeys } }, now?.comment || ""),
    h("div", { class: "buttons" }, h("button", { type: "button", on: { click: saveComment } }, "Save comment")),
    ...pictures(item, run),
    h("h3", {}, "Figures"), figures(item, run),
    ...standing(run),
    ...contributions(run),
    ...otherRuns(item),
    ...around(item),
    ...history(item),
    h("div", { class: "buttons" }, h("button", { type: "button", on: { click: copy } }, "Copy a link to this"), h("button", { type: "button", on: { click: () => go({ row: "" }) } }, "Close")),
  ];
}

async function saveComment() {
  await pending;
  const now = current();
  await put("item", shown.row, now?.mark ?? null, $("comment").value, now ? now.id : 0);
}

function commentKeys(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) saveComment();
  if (event.key === "Escape") {
    $("main").focus();
    event.stopPropagation();
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied. It opens on this machine while esad view runs.");
  } catch {
    say(location.href);
  }
}

function pictures(item, run) {
  if (!about.pictures) return [];
  const found = [h("h3", {}, "Pictures")];
  const names = about.runs[Number(state.run)].panels;
  const own = h("figure", {}, h("img", { src: `/picture/item/${item.row}.png`, alt: `Stored picture of ${item.item_id}` }), h("figcaption", {}, "as stored"));
  found.push(h("div", { class: "panels", id: "panels" }, about.store ? h("p", { class: "quiet" }, about.store) : own));
  if (run.overlay && state.panels !== "1") {
    const alt = `Panels of ${item.item_id}: ${(names || ["as esad score drew them"]).join(", ")}`;
    found.push(h("a", { href: `/picture/overlay/${state.run}/${item.row}.png`, target: "_blank", rel: "noopener" }, h("img", { class: "strip", src: `/picture/overlay/${state.run}/${item.row}.png`, alt })));
  }
  found.push(h("div", { class: "buttons" }, h("button", { type: "button", id: "panels-button", "aria-pressed": String(state.panels === "1"), "aria-keyshortcuts": "e", on: { click: () => go({ panels: state.panels === "1" ? "" : "1" }) } }, "Explain: panels computed now (e)")));
  return found;
}

const PANELS = [["input", "input"], ["reconstruction", "reconstruction"], ["contribution", "contribution to the score"], ["pixel_error", "squared reconstruction error"]];

async function panels(item, mine) {
  const place = $("panels");
  if (!place) return;
  const waiting = h("p", { class: "quiet" }, "Computing; the first one loads the model.");
  place.append(waiting);
  try {
    const known = await get(`/api/panels/${state.run}/${item.row}`);
    if (mine !== asked) return;
    waiting.textContent = known.away;
    for (const [name, title] of PANELS.filter(([each]) => known.panels.includes(each))) {
      const own = h("img", { src: `/picture/panel/${state.run}/${item.row}/${name}.png`, alt: `${title} of ${item.item_id}` });
      place.insertBefore(h("figure", {}, own, h("figcaption", {}, title)), waiting);
    }
  } catch (error) {
    if (mine === asked) waiting.textContent = error.message;
  }
}

function figures(item, run) {
  const rows = [
    ["Score", `${number(run.score)}${run.threshold !== undefined && run.threshold !== null ? (run.score > run.threshold ? ", above its threshold" : ", below its threshold") : ""}`],
    ["Threshold", run.threshold], ["Percentile among normals", run.percentile], ["p-value", run.p_value],
    ...run.terms.filter((term) => term.name !== "eq9").map((term) => [`Term: ${term.name}`, `${number(term.value)} → ${number(term.part)} of the score`]),
    ["Reconstruction term", run.terms.some((term) => term.name === "reconstruction") ? undefined : run.reconstruction],
    ["Norm term", run.terms.some((term) => term.name === "norm") ? undefined : run.norm],
    ["Label", labelWord(item.label)], ["Mark", markSign(item.mark)], ["Class", item.class_name], ["Finding", item.finding], ["Projection", item.view], ["Part", item.part],
    ["Group", item.group], ["File", item.source], ["Place (level 0)", item.x === undefined ? undefined : `${item.x}, ${item.y}; ${item.width} × ${item.height}`],
    ["Share inside outlines", item.tumour_fraction],
  ];
  return h("table", {}, h("tbody", {}, rows.filter(([, value]) => value !== undefined && value !== null).map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "name" }, typeof value === "number" ? number(value) : value)))));
}

function standing(run) {
  const told = about.runs[Number(state.run)], bars = told.histogram;
  if (!bars) return [];
  const width = 320, height = 90, foot = 16, low = bars.edges[0], high = bars.edges.at(-1), most = Math.max(...bars.counts, 1);
  const x = (value) => Math.min(Math.max(((value - low) / (high - low || 1)) * width, 1), width - 1);
  const beyond = run.score > high ? " (beyond the right end, where the red line stands)" : "";
  const normals = told.thresholds?.held_out === false ? "normals of training" : "held-out normals";
  const text = `Histogram of ${told.normals} ${normals}; this item's score ${number(run.score)} is above ${number(100 * run.percentile, 3)} % of them${beyond}`;
  const drawing = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img", "aria-label": text });
  bars.counts.forEach((count, place) => {
    const left = x(bars.edges[place]), tall = (count / most) * (height - foot - 4);
    drawing.append(s("rect", { class: "bars", x: left, y: height - foot - tall, width: Math.max(1, x(bars.edges[place + 1]) - left - 1), height: tall }));
  });
  if (Number.isFinite(run.threshold) && run.threshold !== null) drawing.append(s("line", { class: "limit", x1: x(run.threshold), x2: x(run.threshold), y1: 0, y2: height - foot }));
  drawing.append(s("line", { class: "here", x1: x(run.score), x2: x(run.score), y1: 0, y2: height - foot }));
  const label = (at, anchor, value) => s("text", { x: at, y: height - 3, "text-anchor": anchor }, value);
  drawing.append(label(0, "start", number(low, 3)), label(width, "end", `${number(high, 3)} and above`));
  return [h("h3", {}, `Among the ${normals}`), drawing, h("p", { class: "quiet" }, `${text}. Red: this item; dashed: the threshold.`)];
}

function contributions(run) {
  if (!run.columns.length) return about.kind === "table" ? [h("p", { class: "quiet" }, "This row was not explained; esad score RUN --overlays all explains every row.")] : [];
  const rows = run.columns.map((each) => h("tr", {}, h("th", { scope: "row" }, each.name), ...["value", "median", "contribution"].map((name) => h("td", { class: "number" }, number(each[name])))));
  return [h("h3", {}, "Columns that raise the score most"), h("table", {}, h("thead", {}, h("tr", {}, ["Column", "Value", "Median", "Contribution"].map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows))];
}

function otherRuns(item) {
  if (about.runs.length < 2) return [];
  const rows = item.runs.map((run, place) => h("tr", { "aria-selected": String(place === Number(state.run)) }, h("th", { scope: "row" }, h("button", { type: "button", class: "open", on: { click: () => go({ run: place }) } }, about.runs[place].name)), h("td", { class: "number" }, number(run.score)), h("td", { class: "number" }, number(run.percentile))));
  return [h("h3", {}, "In all runs"), h("table", {}, h("thead", {}, h("tr", {}, ["Run", "Score", "Percentile"].map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows))];
}

function around(item) {
  const found = [];
  const words = { left: "← left", right: "right →", up: "↑ above", down: "↓ below" };
  const there = Object.entries(item.neighbours);
  if (there.length) found.push(h("h3", {}, "Tiles beside it"), h("div", { class: "panels" }, there.map(([side, row]) => h("button", { type: "button", on: { click: () => go({ row }) } }, h("img", { src: `/picture/item/${row}.png`, alt: "" }), words[side]))));
  if (item.slide !== null && state.view !== "slide") found.push(h("div", { class: "buttons" }, h("button", { type: "button", on: { click: () => go({ view: "slide", slide: item.slide, x: "", y: "", zoom: "" }) } }, "Show on the slide (s)")));
  return found;
}

function history(item) {
  if (!item.history.length) return [];
  return [h("h3", {}, "Marks"), h("ul", {}, item.history.map((entry) => h("li", { class: "name" }, `${entry.mark || "no mark"}, ${entry.reader}, ${entry.at.slice(0, 16).replace("T", " ")} UTC${entry.comment ? `: ${entry.comment}` : ""}`)))];
}
