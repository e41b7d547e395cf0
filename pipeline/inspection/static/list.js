// The list: of slides, or of items where there are no slides; sorted and filtered by the server, fifty rows at a time.

import { get, itemQuery, slideQuery } from "./api.js";
import { $, h, labelWord, later, markSign, number, say } from "./dom.js";
import { about, go, state } from "./state.js";

const ROWS = 50;
let asked = 0;

const SLIDE_COLUMNS = [
  ["source", "Slide"], ["tiles", "Tiles", number], ["max", "Highest", number], ["top_mean", "Mean of ten highest", number],
  ["p99", "99 % quantile", number], ["suspicious", "Above threshold", (share) => (share === null ? "–" : `${number(100 * share, 3)} %`)],
  ["label", "Label", labelWord], ["group", "Group"], ["reviewed", "Tiles marked", number], ["mark", "Mark", markSign],
];
const ITEM_COLUMNS = [
  ["item_id", "Item"], ["score", "Score", number], ["percentile", "Percentile", number], ["p_value", "p-value", number],
  ["threshold", "Threshold", number], ["label", "Label", labelWord], ["class_name", "Class"], ["finding", "Finding"], ["view", "Projection"],
  ["group", "Group"], ["part", "Part"], ["mark", "Mark", markSign],
];
const NUMBERS = new Set(["tiles", "max", "top_mean", "p99", "suspicious", "reviewed", "score", "percentile", "p_value", "threshold"]);

/** Whether the list shows slides: there are some, and the person did not ask for the tiles. */
export const ofSlides = () => about.of_slides && state.list !== "items";

function columns() {
  if (ofSlides()) return SLIDE_COLUMNS;
  const there = new Set([...about.columns, ...about.figures, "mark"]);
  return ITEM_COLUMNS.filter(([name]) => there.has(name));
}

/** The filters above a list or a gallery; `more` is what else stands there. */
export function filters(where, more = []) {
  const choose = (name, label, options) =>
    h("label", {}, `${label} `, h("select", { "data-filter": name, on: { change: (event) => go({ [name]: event.target.value, page: 0 }) } },
      options.map(([value, text]) => h("option", { value, selected: String(state[name]) === value }, text))));
  const typed = later((name, value) => go({ [name]: value, page: 0 }), 300);
  const field = (name, label, attributes) =>
    h("label", {}, `${label} `, h("input", { ...attributes, value: state[name], "data-filter": name, on: { input: (event) => typed(name, event.target.value) } }));
  const choice = (name) => [["", "all"], ...(about.choices[name] || []).map((value) => [value, value]), ["none", "none"]];
  const items = where !== "list" || !ofSlides();
  return h("form", { class: "bar", "aria-label": "Filters", on: { submit: (event) => event.preventDefault() } },
    field("text", "Name", { type: "search", size: 14 }),
    choose("label", "Label", [["", "all"], ["normal", "normal"], ["anomaly", "anomaly"], ["none", "unknown"]]),
    choose("mark", "Mark", [["", "all"], ["none", "not reviewed"], ["any", "reviewed"], ["normal", "normal"], ["anomaly", "anomaly"], ["unsure", "unsure"]]),
    items && about.choices.part && choose("part", "Part", choice("part")),
    items && about.choices.view && choose("projection", "Projection", choice("view")),
    about.choices.group && choose("group", "Group", choice("group")),
    items && field("least", "Percentile from", { type: "number", min: 0, max: 1, step: 0.01 }),
    ...more);
}

function heads(chosen) {
  const slides = ofSlides(), [by, down] = slides ? ["lsort", "ldesc"] : ["sort", "desc"];
  return h("tr", {}, chosen.map(([name, title]) => {
    const current = state[by] === name;
    const order = current ? (state[down] === "1" ? "descending" : "ascending") : "none";
    const sort = () => go({ [by]: name, [down]: current && state[down] === "1" ? "0" : "1", page: 0 });
    return h("th", { scope: "col", "aria-sort": order, class: NUMBERS.has(name) ? "number" : null },
      h("button", { type: "button", "data-sort": name, on: { click: sort } }, title, current ? (state[down] === "1" ? " ▼" : " ▲") : ""));
  }), h("th", { scope: "col" }, "Picture"));
}

/** Open a row: a slide in deep zoom, a picture large. */
export function open(row) {
  if (ofSlides()) go({ view: "slide", slide: row, row: "", x: "", y: "", zoom: "" });
  else if (about.of_slides) go({ row });
  else go({ view: !about.pictures ? "list" : "picture", row });
}

function line(record, chosen) {
  const slides = ofSlides(), selected = String(record.row) === (slides ? state.slide : state.row);
  const cells = chosen.map(([name, , shown]) => {
    const value = record[name], first = name === "source" || name === "item_id";
    const content = shown ? shown(value) : value ?? "–";
    if (first) return h("th", { scope: "row" }, h("button", { type: "button", class: "open", on: { click: () => open(record.row) } }, content));
    return h("td", { class: NUMBERS.has(name) ? "number" : "name" }, content);
  });
  const address = slides && !record.overview ? null : slides ? `/picture/slide/${record.row}.png?side=96` : !about.pictures ? null : `/picture/item/${record.row}.png`;
  const image = address && h("img", { src: address, alt: "", loading: "lazy", on: { error: (event) => event.target.remove() } });
  return h("tr", { "aria-selected": String(selected), "data-row": record.row }, cells, h("td", {}, image));
}

/** Redraw the list. What was asked for later wins. */
export async function show() {
  const mine = ++asked, place = $("list"), query = ofSlides() ? slideQuery() : itemQuery();
  if (!place.firstChild) place.append(h("div"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows" }), h("div", { class: "bar" }));
  let page;
  try {
    page = await get("/api/list", { ...query, offset: Number(state.page) * ROWS, limit: ROWS });
  } catch (error) {
    say(error.message, true);
    return;
  }
  if (mine !== asked) return;
  const focused = document.activeElement?.dataset?.filter, caret = document.activeElement?.selectionStart;
  const sorted = document.activeElement?.dataset?.sort;
  const more = about.of_slides
    ? [h("label", {}, "Rows are ", h("select", { "data-filter": "list", on: { change: (event) => go({ list: event.target.value, page: 0 }) } },
        h("option", { value: "", selected: state.list === "" }, "slides"), h("option", { value: "items", selected: state.list === "items" }, "tiles")))]
    : [];
  const chosen = columns(), [top, middle, bottom] = place.children;
  top.replaceChildren(filters("list", more));
  const name = `${number(page.total)} ${ofSlides() ? "slides" : about.kind}`;
  middle.replaceChildren(h("table", {}, h("caption", { class: "quiet" }, name), h("thead", {}, heads(chosen)), h("tbody", {}, page.rows.map((record) => line(record, chosen)))));
  const last = Math.max(0, Math.ceil(page.total / ROWS) - 1), now = Number(state.page);
  bottom.replaceChildren(
    h("button", { type: "button", disabled: now <= 0, on: { click: () => go({ page: now - 1 }) } }, "Previous rows"),
    h("span", {}, page.total ? `${page.offset + 1} to ${page.offset + page.rows.length} of ${number(page.total)}` : "nothing fits the filters"),
    h("button", { type: "button", disabled: now >= last, on: { click: () => go({ page: now + 1 }) } }, "Next rows"),
    h("span", { class: "spring" }),
    h("a", { href: "/marks/items.csv", download: "" }, "Marks of items (CSV)"),
    about.of_slides && h("a", { href: "/marks/slides.csv", download: "" }, "Marks of slides (CSV)"));
  refocus(place, focused && `[data-filter="${focused}"]`, caret);
  refocus(place, sorted && `[data-sort="${sorted}"]`);
}

/** Put the focus back where it was before a part was drawn anew. */
export function refocus(place, selector, caret) {
  const element = selector && place.querySelector(selector);
  if (!element) return;
  element.focus({ preventScroll: true });
  if (caret !== undefined && caret !== null && element.type === "search") element.setSelectionRange(caret, caret);
}
