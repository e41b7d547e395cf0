// A radiograph or another picture at full size: heat over it, its window by dragging, its known region.

import { get, itemQuery, picture } from "./api.js";
import { $, h, number, say } from "./dom.js";
import { shown as item } from "./item.js";
import { about, go, keep, state } from "./state.js";

const MOST = 2600; // pixels of a side that are windowed at once
const WHOLE = [128, 256]; // level and width of a window that changes nothing
let source = null, base = null, zoom = 1, asked = 0, heat = null, square = null;

const level = () => (state.window ? state.window.split(".").map(Number) : WHOLE);
const heatOn = () => /(^|\.)heat-/.test(state.layers);
const strength = () => Number(/heat-(\d+)/.exec(state.layers)?.[1] ?? 60) / 100;

function build() {
  const place = $("picture");
  if (place.firstChild) return;
  const stage = h("div", { class: "stage", tabindex: "0", role: "application", "aria-label": "Picture. Drag to set the window: right for more contrast, up for darker. With the keyboard: Shift and arrow keys.", on: { pointerdown: drag, keydown: keys, wheel } });
  stage.append(h("div", { class: "sheets" }, h("canvas", { class: "under" }), h("canvas", { class: "over" })));
  place.append(h("div", { class: "bar tools" }), stage);
}

/** Show the selected item at full size; without one, the first of the order. */
export async function show(changed) {
  build();
  if (state.row === "") {
    const first = await get("/api/list", { ...itemQuery(), offset: 0, limit: 1 }).catch(() => ({ rows: [] }));
    if (first.rows.length) go({ row: first.rows[0].row }, true);
    return;
  }
  const wanted = `${state.row} ${state.run}`;
  if (source !== wanted || changed.has("view")) {
    source = wanted;
    heat = null;
    await load(++asked);
  }
  if (heatOn() && !heat && base) loadHeat(asked);
  draw();
  bars();
}

async function load(mine) {
  const notice = $("notice");
  notice.hidden = true;
  try {
    const known = await get(`/api/full/${state.row}`);
    square = known.square;
    const answer = await picture(known.away ? `/picture/item/${state.row}.png` : `/picture/full/${state.row}.png`);
    if (mine !== asked) return;
    notice.textContent = `The stored picture is shown, not the file: ${known.away}.`;
    notice.hidden = !known.away;
    const bitmap = await createImageBitmap(await answer.blob());
    if (mine !== asked) return;
    const factor = Math.min(1, MOST / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * factor)), Math.max(1, Math.round(bitmap.height * factor)));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    base = { pixels: pen.getImageData(0, 0, canvas.width, canvas.height), width: bitmap.width, height: bitmap.height, factor };
    if (!square) square = [0, 0, bitmap.width, bitmap.height];
  } catch (error) {
    base = null;
    say(error.message, true);
  }
}

async function loadHeat(mine) {
  try {
    const { panels, away, frame } = await get(`/api/panels/${state.run}/${state.row}`);
    if (mine !== asked) return;
    if (!panels.includes("contribution")) throw new Error(away || "this method has no contributions");
    const answer = await picture(`/picture/panel/${state.run}/${state.row}/contribution.png`, { over: 1 });
    const bitmap = await createImageBitmap(await answer.blob());
    if (mine !== asked) return;
    heat = { bitmap, frame };
    draw();
  } catch (error) {
    heat = { bitmap: null };
    say(`No heat: ${error.message}`);
  }
}

/** Where the item's own part lies on the picture, in its pixels. */
function part(frame) {
  const [left, top, width, height] = square;
  return [left + frame[0] * width, top + frame[1] * height, frame[2] * width, frame[3] * height];
}

function draw() {
  if (!base) return;
  const [under, over] = $("picture").querySelectorAll("canvas"), { pixels, factor } = base;
  const [middle, span] = level(), table = new Uint8ClampedArray(256);
  for (let value = 0; value < 256; value++) table[value] = ((value - middle + 0.5) / Math.max(span - 1, 1) + 0.5) * 255; // as DICOM does it (PS3.3 C.11.2.1.2)
  const out = new ImageData(pixels.width, pixels.height);
  for (let place = 0; place < pixels.data.length; place += 4) {
    out.data[place] = table[pixels.data[place]];
    out.data[place + 1] = table[pixels.data[place + 1]];
    out.data[place + 2] = table[pixels.data[place + 2]];
    out.data[place + 3] = 255;
  }
  for (const canvas of [under, over]) {
    if (canvas.width !== pixels.width) canvas.width = pixels.width;
    if (canvas.height !== pixels.height) canvas.height = pixels.height;
  }
  under.getContext("2d").putImageData(out, 0, 0);
  const pen = over.getContext("2d");
  pen.clearRect(0, 0, over.width, over.height);
  if (heat?.bitmap && heatOn()) {
    pen.globalAlpha = strength();
    pen.imageSmoothingEnabled = true;
    pen.drawImage(heat.bitmap, ...part(heat.frame).map((value) => value * factor));
    pen.globalAlpha = 1;
  }
  pen.lineWidth = Math.max(1, over.width / 400);
  if (square && (square[2] < base.width || square[3] < base.height)) {
    pen.strokeStyle = "#8ab4f8";
    pen.setLineDash([6, 6]);
    pen.strokeRect(...square.map((value) => value * factor));
    pen.setLineDash([]);
  }
  if (/(^|\.)outlines-/.test(state.layers) && item?.region_x !== undefined && item?.region_x !== null && about.shape) {
    const [high, wide] = about.shape;
    pen.strokeStyle = "#00c878";
    pen.strokeRect(...part([item.region_x / wide, item.region_y / high, item.region_width / wide, item.region_height / high]).map((value) => value * factor));
  }
  size();
}

function size() {
  const stage = $("picture").querySelector(".stage"), sheets = stage.querySelector(".sheets");
  const fit = Math.min((stage.clientWidth - 4) / base.width, (stage.clientHeight - 4) / base.height);
  const width = Math.max(16, base.width * fit * zoom), height = Math.max(16, base.height * fit * zoom);
  for (const element of [sheets, ...sheets.children]) {
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
  }
}

function bars() {
  const focused = document.activeElement?.dataset?.tool;
  const top = $("picture").querySelector(".bar.tools"), [middle, span] = level();
  const check = (name, title, key) => h("label", {}, h("input", { type: "checkbox", "data-tool": name, checked: new RegExp(`(^|\\.)${name}-`).test(state.layers), "aria-keyshortcuts": key, on: { change: () => import("./slide.js").then((slide) => slide.toggle(name)) } }), ` ${title} (${key})`);
  const slider = (name, title, value, most, act) => h("label", {}, `${title} `, h("input", { type: "range", min: name === "span" ? 2 : 0, max: most, value, "data-tool": name, on: { input: (event) => act(Number(event.target.value)) } }));
  top.replaceChildren(
    h("strong", { class: "name" }, item?.source || ""),
    check("heat", "Heat", "h"),
    heatOn() && slider("strength", "Strength", Math.round(strength() * 100), 100, (value) => go({ layers: state.layers.replace(/heat-\d+/, `heat-${value}`) }, true)),
    about.columns.includes("region_x") && check("outlines", "Known region", "o"),
    slider("middle", "Level", middle, 255, (value) => setWindow(value, span)), slider("span", "Window", span, 256, (value) => setWindow(middle, value)),
    h("button", { type: "button", on: { click: () => go({ window: "" }, true) } }, "Reset window"),
    h("button", { type: "button", "aria-label": "Zoom in", on: { click: () => zoomBy(1.5) } }, "+"), h("button", { type: "button", "aria-label": "Zoom out", on: { click: () => zoomBy(1 / 1.5) } }, "−"),
    base && h("span", { class: "quiet" }, `${number(base.width)} × ${number(base.height)} px; dashed: what the model saw; colour: more than 99 in 100 pixels of normal items`));
  if (focused) top.querySelector(`[data-tool="${focused}"]`)?.focus();
}

function setWindow(middle, span) {
  go({ window: `${Math.round(Math.min(Math.max(middle, 0), 255))}.${Math.round(Math.min(Math.max(span, 2), 512))}` }, true);
}

export function zoomBy(by) {
  zoom = Math.min(Math.max(zoom * by, 0.5), 16);
  if (base) size();
}

function drag(event) {
  if (event.button !== 0) return;
  const stage = event.currentTarget, [middle, span] = level(), { clientX, clientY } = event;
  stage.setPointerCapture(event.pointerId);
  const move = (now) => {
    const next = [Math.min(Math.max(middle + (clientY - now.clientY) / 2, 0), 255), Math.min(Math.max(span - (now.clientX - clientX), 2), 512)];
    keep({ window: next.map(Math.round).join(".") });
    requestAnimationFrame(draw);
  };
  const end = () => {
    stage.removeEventListener("pointermove", move);
    bars();
  };
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", end, { once: true });
  stage.addEventListener("pointercancel", end, { once: true });
}

function wheel(event) {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
}

function keys(event) {
  if (!event.shiftKey) return;
  const [middle, span] = level();
  const next = { ArrowUp: [middle + 8, span], ArrowDown: [middle - 8, span], ArrowRight: [middle, span - 12], ArrowLeft: [middle, span + 12] }[event.key];
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  setWindow(...next);
}
