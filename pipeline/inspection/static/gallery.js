// The gallery: pictures in the order of the filters; only what is in sight is in the page, whatever the number of items.

import { address, get, itemQuery } from "./api.js";
import { $, h, labelWord, number, say, SIGNS } from "./dom.js";
import { filters, refocus } from "./list.js";
import { about, go, state } from "./state.js";

const CHUNK = 48;
const GAP = 4;
const TALLEST = 15e6; // pixels; browsers draw no taller element
const ORDERS = [
  ["score:1", "highest scores first"], ["score:0", "lowest scores first"], ["disagreement:1", "score and label disagree most"],
  ["runs:1", "runs disagree most"], ["label:1", "anomalies first"], ["source:0", "by slide or file"], ["mark:1", "by mark"], ["part:0", "by part"],
];
let chunks = new Map(); // number of a chunk -> its rows, or a promise of them
const shown = new Map(); // place in the order -> the cell that is in the page
let total = 0, key = "", selected = -1, drawing = 0, waiting = 0, marking = 0;
export const measured = { begun: 0, first: 0 };

const side = () => Number(state.size);
const box = () => $("gallery").querySelector(".scroll");
const cells = () => $("gallery").querySelector(".cells");
const across = () => Math.max(1, Math.floor((box().clientWidth - GAP) / (side() + GAP)));
const pitch = () => side() + GAP;
const query = () => itemQuery(state.within);

function build() {
  const orders = ORDERS.filter(([value]) => (value.startsWith("runs") ? about.runs.length > 1 : value.startsWith("source") ? about.columns.includes("source") : true));
  const order = `${state.sort}:${state.desc}`;
  if (!orders.some(([value]) => value === order)) orders.push([order, `${state.sort}, ${state.desc === "1" ? "descending" : "ascending"}`]);
  const slides = about.names.map((name, place) => h("option", { value: place, selected: String(place) === state.within }, name));
  const more = [
    slides.length > 0 && h("label", {}, "Slide ", h("select", { "data-filter": "within", on: { change: (event) => go({ within: event.target.value }) } }, h("option", { value: "" }, "all"), slides)),
    h("label", {}, "Order ", h("select", { "data-filter": "order", on: { change: (event) => { const [sort, desc] = event.target.value.split(":"); go({ sort, desc }); } } },
      orders.map(([value, text]) => h("option", { value, selected: value === order }, text)))),
    h("label", {}, "Size ", h("input", { type: "range", min: 48, max: 256, step: 16, value: state.size, "data-filter": "size", on: { input: (event) => go({ size: event.target.value }, true) } })),
    h("span", { class: "count", role: "status" }),
  ];
  const focused = document.activeElement?.dataset?.filter, caret = document.activeElement?.selectionStart;
  const place = $("gallery");
  if (!place.firstChild) {
    const grid = h("div", { class: "cells", role: "listbox", "aria-label": "Items", tabindex: "0", on: { keydown: keys } });
    place.append(h("div"), h("div", { class: "scroll", on: { scroll: () => (waiting ||= requestAnimationFrame(() => draw())) } }, grid));
    new ResizeObserver(() => !place.hidden && draw(true)).observe(place);
  }
  place.firstChild.replaceChildren(filters("gallery", more));
  refocus(place, focused && `[data-filter="${focused}"]`, caret);
}

/** Redraw the gallery: anew where the question is another one. */
export async function show(force = false) {
  build();
  const now = JSON.stringify(query()), other = now !== key;
  if (other || force) {
    key = now;
    chunks = new Map();
    measured.begun = performance.now();
    measured.first = 0;
    if (other) box().scrollTop = 0;
    try {
      await chunk(0);
    } catch (error) {
      say(error.message, true);
      return;
    }
    if (now !== key) return;
  }
  draw(other || !force); // where only marks are others, cells stay until they have come
}

async function chunk(number) {
  if (chunks.has(number)) return chunks.get(number);
  const mine = key;
  const promise = get("/api/list", { ...query(), offset: number * CHUNK, limit: CHUNK }).then((page) => {
    if (mine !== key) return [];
    total = page.total;
    chunks.set(number, page.rows);
    return page.rows;
  });
  chunks.set(number, promise);
  promise.catch(() => chunks.delete(number));
  return promise;
}

const sheetOf = (rows) => address("/picture/sheet.png", { rows: rows.map((each) => each.row).join(","), side: Math.max(side() > 128 ? 256 : 128, 16) });

/** Put the cells in sight into the page; `anew` throws away those that are there. */
function draw(anew = false) {
  waiting = 0;
  const place = box(), grid = cells();
  const columns = across(), lines = Math.ceil(total / columns);
  const whole = lines * pitch() + GAP, height = Math.min(whole, TALLEST), squeeze = height > place.clientHeight ? (whole - place.clientHeight) / (height - place.clientHeight) : 1;
  const tall = `${height}px`;
  if (grid.style.height !== tall) grid.style.height = tall;
  const count = $("gallery").querySelector(".count"), told = `${number(total)} ${about.kind}`;
  if (count.textContent !== told) count.textContent = told;
  const top = place.scrollTop * squeeze, shift = place.scrollTop - top;
  const first = Math.max(0, Math.floor(top / pitch()) - 2) * columns;
  const last = Math.min(total, (Math.ceil((top + place.clientHeight) / pitch()) + 2) * columns);
  if (anew) {
    grid.replaceChildren();
    shown.clear();
  }
  for (const [at, cell] of shown)
    if (at < first || at >= last) {
      cell.remove();
      shown.delete(at);
    }
  const mine = ++drawing, fresh = document.createDocumentFragment();
  for (let at = first; at < last; at++) {
    let cell = shown.get(at);
    if (!cell) {
      cell = h("div", { class: "cell", role: "option", id: `cell-${at}`, "data-at": at, "aria-posinset": at + 1, "aria-setsize": total, "aria-selected": "false" });
      cell.style.width = cell.style.height = `${side()}px`;
      cell.style.left = `${GAP + (at % columns) * pitch()}px`;
      shown.set(at, cell);
      fresh.append(cell);
    } else if (shift === 0 && cell.style.top) continue;
    cell.style.top = `${shift + GAP + Math.floor(at / columns) * pitch()}px`;
  }
  grid.append(fresh);
  for (let number = Math.floor(first / CHUNK); number * CHUNK < last; number++) {
    const known = chunks.get(number);
    if (Array.isArray(known)) fill(number, known);
    else // what is only passed by is not asked for
      setTimeout(() => drawing === mine && chunk(number).then((rows) => fill(number, rows)).catch((error) => say(error.message, true)), known ? 0 : 30);
  }
}

function fill(number_, rows) {
  if (!rows.length) return;
  const [high, wide] = about.shape ? [about.shape[0], about.shape[1]] : [1, 1];
  const most = Math.max(high, wide), limit = side() > 128 ? 256 : 128, scale = side() / Math.min(most, limit), shrunk = most > limit ? limit / most : 1;
  const cell_width = Math.max(1, Math.round(wide * shrunk)) * scale, cell_height = Math.max(1, Math.round(high * shrunk)) * scale;
  const sheet = !about.pictures || !about.shape ? null : sheetOf(rows);
  rows.forEach((record, place) => {
    const cell = shown.get(number_ * CHUNK + place);
    const seen = `${record.row} ${record.mark} ${record.score}`;
    if (!cell || cell.dataset.seen === seen) return;
    cell.dataset.seen = seen;
    cell.dataset.row = record.row;
    const marked = record.mark ? `, marked ${record.mark}` : "";
    cell.setAttribute("aria-label", `${record.item_id}, score ${number(record.score)}, label ${labelWord(record.label)}${marked}`);
    cell.replaceChildren(h("span", { class: "caption", text: number(record.score) }));
    flag(cell, record.mark);
    if (sheet) {
      cell.style.backgroundImage = `url("${sheet}")`;
      cell.style.backgroundSize = `${cell_width * rows.length}px ${cell_height}px`;
      cell.style.backgroundPosition = `${-place * cell_width}px 0`;
    }
    cell.onclick = () => choose(number_ * CHUNK + place, record.row);
    cell.ondblclick = () => go(record.slide === null ? { view: !about.pictures ? "gallery" : "picture", row: record.row } : { view: "slide", slide: record.slide, row: record.row, x: "", y: "", zoom: "" });
  });
  if (sheet && !measured.first) {
    const image = new Image();
    image.onload = () => (measured.first ||= performance.now());
    image.src = sheet;
  }
  clearTimeout(marking);
  marking = setTimeout(mark, 0);
}

function flag(cell, mark) {
  cell.querySelector(".flag")?.remove();
  if (mark) cell.append(h("span", { class: "flag", text: SIGNS[mark] }));
}

/** An item has got a mark: where neither order nor filter ask for marks, its cell alone is another one. Returns whether that is so. */
export function marked(row, mark) {
  if (state.mark || ["mark", "disagreement"].includes(state.sort)) return false;
  for (const rows of chunks.values()) {
    const record = Array.isArray(rows) && rows.find((each) => each.row === row);
    if (record) record.mark = mark;
  }
  for (const cell of shown.values()) if (cell.dataset.row === String(row)) flag(cell, mark);
  return true;
}

function choose(at, row) {
  selected = at;
  go({ row });
  mark();
}

/** Show which item is selected. */
export function mark() {
  const grid = cells();
  if (!grid) return;
  let active = "";
  for (const cell of grid.children) {
    const own = state.row !== "" && cell.dataset.row === state.row;
    cell.setAttribute("aria-selected", String(own));
    if (own) {
      active = cell.id;
      selected = Number(cell.dataset.at);
    }
  }
  if (active) grid.setAttribute("aria-activedescendant", active);
  else grid.removeAttribute("aria-activedescendant");
}

/** Bring the item at a place of the order into sight. */
export async function reveal(at) {
  if (at === null || at === undefined || $("gallery").hidden) return;
  selected = at;
  draw(); // the item beside it may just have taken width: the height follows first
  const place = box(), line = Math.floor(at / across()) * pitch(), whole = Math.ceil(total / across()) * pitch() + GAP;
  const height = Math.min(whole, TALLEST), squeeze = height > place.clientHeight ? (whole - place.clientHeight) / (height - place.clientHeight) : 1;
  const top = place.scrollTop * squeeze;
  if (line < top || line + pitch() > top + place.clientHeight) place.scrollTop = Math.max(0, (line - place.clientHeight / 2) / squeeze);
  draw();
  mark();
}

async function keys(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(), ArrowUp: -across(), PageDown: across() * 5, PageUp: -across() * 5 }[event.key];
  const target = event.key === "Home" ? 0 : event.key === "End" ? total - 1 : step === undefined ? null : selected + step;
  if (target === null || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  event.stopPropagation();
  const at = Math.min(Math.max(target, 0), total - 1);
  const rows = await chunk(Math.floor(at / CHUNK));
  const record = rows[at % CHUNK];
  if (!record) return;
  selected = at;
  go({ row: record.row }, true);
  reveal(at);
}
