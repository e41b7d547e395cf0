// A slide in deep zoom, with layers over it; a second run beside it where asked for. All places are level-0 pixels.

import { address, get } from "./api.js";
import { $, h, MARKS, markSign, number, say } from "./dom.js";
import { shown as item } from "./item.js";
import { markVersion, put } from "./marks.js";
import { about, go, keep, numberOf, state } from "./state.js";

const OSD = window.OpenSeadragon;
// OpenSeadragon puts a style element into the page unless it finds one of its own. This page allows none, so it finds an element of
// that name which no browser takes for a style.
const found = document.createElementNS("urn:none", "style");
found.setAttribute("data-openseadragon-mobile-css", "none");
document.head.append(found);
const LAYERS = [["heat", "Heat", "h"], ["boxes", "Tiles", "b"], ["candidates", "Candidates", "d"], ["marks", "Marks", "k"], ["tissue", "Tissue", "t"], ["outlines", "Outlines", "o"]];
const NICE = [1, 2, 5];
const UM_AT_10 = 1; // microns a pixel at a magnification of 10
let slide = null, viewers = [], asked = 0, moving = false;

/** Layer -> its strength in percent, of those that are on: `heat-60.boxes-100` in the address. */
export function strengths() {
  const found = new Map();
  for (const word of state.layers.split(".")) {
    const [name, strength] = word.split("-");
    if (LAYERS.some(([known]) => known === name)) found.set(name, Math.min(Math.max(Number(strength) || 0, 0), 100));
  }
  return found;
}

const written = (found) => [...found].map(([name, strength]) => `${name}-${strength}`).join(".") || "none";

export function toggle(name) {
  const found = strengths();
  if (found.has(name)) found.delete(name);
  else found.set(name, name === "heat" ? 60 : 100);
  go({ layers: written(found) }, true);
}

export function fade(by) {
  const found = strengths();
  found.set("heat", Math.min(Math.max((found.get("heat") ?? 60) + by, 0), 100));
  go({ layers: written(found) }, true);
}

const baseSource = () => ({
  width: slide.width, height: slide.height, tileSize: slide.side, tileOverlap: slide.overlap, minLevel: Math.min(8, slide.levels - 1), maxLevel: slide.levels - 1,
  getTileUrl: (level, column, row) => address(`/slide/${slide.row}/picture/${level}/${column}_${row}.jpg`, { kind: slide.real ? "" : "stored" }),
});
const layerSource = (name, run) => ({
  width: slide.width, height: slide.height, tileSize: slide.layer_side, tileOverlap: 0, minLevel: Math.min(8, slide.levels - 1), maxLevel: slide.levels - 1,
  getTileUrl: (level, column, row) => address(`/slide/${slide.row}/${name}/${level}/${column}_${row}.png`, { run, least: name === "heat" ? state.from : "", version: name === "marks" ? markVersion() : "" }),
});

class View {
  /** One deep zoom, with the heat of one run. */
  constructor(place, run) {
    this.run = run;
    this.images = new Map();
    this.keys = new Map();
    this.deep = h("div", { class: "deep", role: "application", "aria-label": `Slide ${slide.source} with the heat of ${about.runs[run].name}. Arrow keys move, plus and minus zoom.` });
    this.rule = h("div", { class: "rule" });
    this.length = h("div", {});
    this.where = h("div", { class: "place" });
    const scale = h("div", { class: "scale", hidden: !slide.mpp }, this.length, this.rule);
    this.element = h("div", { class: "viewer" }, about.runs.length > 1 && h("div", { class: "of" }, about.runs[run].name), this.deep, scale, this.where);
    place.append(this.element);
    this.osd = OSD({
      element: this.deep, drawer: "canvas", imageLoaderLimit: 4, showNavigationControl: false, showNavigator: true, navigatorWidth: "10rem", navigatorHeight: "8rem", navigatorBackground: "#fff", navigatorAutoFade: false,
      navigatorPosition: "TOP_RIGHT", animationTime: 0.35, blendTime: 0, maxZoomPixelRatio: 8, visibilityRatio: 0.4, minZoomImageRatio: 0.6,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, prefixUrl: "/static/openseadragon/images/", tileSources: baseSource(), tabIndex: 0,
    });
    this.osd.addHandler("open", () => this.opened());
    this.osd.addHandler("update-viewport", () => this.measure());
    this.osd.addHandler("viewport-change", () => this.moved());
    this.osd.addHandler("canvas-click", (event) => event.quick && this.click(event.position));
    this.osd.addHandler("canvas-key", (event) => (event.preventDefaultAction = !/^(Arrow|\+|-|=|_)/.test(event.originalEvent.key)));
    this.osd.addHandler("tile-load-failed", (event) => say(event.message || "A part of the slide cannot be read.", true));
    this.deep.addEventListener("pointermove", (event) => this.point(event));
  }

  opened() {
    this.base = this.osd.world.getItemAt(0);
    const x = numberOf(state.x), y = numberOf(state.y), zoom = numberOf(state.zoom);
    if (x !== null && y !== null) {
      this.osd.viewport.zoomTo(zoom ? this.base.imageToViewportZoom(zoom) : this.osd.viewport.getHomeZoom(), null, true);
      this.osd.viewport.panTo(this.base.imageToViewportCoordinates(x, y), true);
    } else if (slide.bounds) this.osd.viewport.fitBounds(this.base.imageToViewportRectangle(...slide.bounds), true);
    this.layers();
    this.select(x === null);
    this.ready = true;
  }

  layers() {
    if (!this.base) return;
    const wanted = strengths();
    LAYERS.forEach(([name]) => {
      const key = name === "heat" ? `${this.run} ${state.from}` : name === "marks" ? markVersion() : name === "candidates" ? this.run : "";
      const there = this.images.get(name), strength = wanted.get(name);
      if (there && this.keys.get(name) !== key) {
        if (there !== "coming") this.osd.world.removeItem(there);
        this.images.delete(name);
      }
      if (strength === undefined || slide.layers[name]) {
        const image = this.images.get(name);
        if (image && image !== "coming") image.setOpacity(0);
        return;
      }
      const image = this.images.get(name);
      if (image && image !== "coming") image.setOpacity(strength / 100);
      else if (!image) {
        this.images.set(name, "coming");
        this.keys.set(name, key);
        this.osd.addTiledImage({
          tileSource: layerSource(name, this.run), opacity: strength / 100,
          success: (event) => {
            if (this.keys.get(name) !== key) this.osd.world.removeItem(event.item);
            else {
              this.images.set(name, event.item);
              this.layers();
            }
          },
        });
      }
    });
  }

  perPixel() {
    return slide.mpp / this.base.viewportToImageZoom(this.osd.viewport.getZoom(true));
  }

  measure() {
    if (!this.base || !slide.mpp) return;
    const um = this.perPixel();
    let length = 10 ** Math.floor(Math.log10(um * 60));
    for (const nice of [...NICE, 10]) if ((length * nice) / um <= 160) this.long = length * nice;
    this.rule.style.width = `${this.long / um}px`;
    this.rule.dataset.um = this.long;
    this.length.textContent = this.long >= 1000 ? `${this.long / 1000} mm` : `${this.long} µm`;
    this.magnification = `${number((10 * UM_AT_10) / um, 3)}×`;
    this.tell();
  }

  point(event) {
    if (!this.base) return;
    const bounds = this.deep.getBoundingClientRect();
    const at = this.osd.viewport.viewerElementToViewportCoordinates(new OSD.Point(event.clientX - bounds.left, event.clientY - bounds.top));
    this.at = this.base.viewportToImageCoordinates(at);
    this.tell();
  }

  tell() {
    const place = this.at ? `x ${Math.floor(this.at.x)}, y ${Math.floor(this.at.y)} px` : "";
    const um = this.at && slide.mpp ? ` (${number(this.at.x * slide.mpp, 5)}, ${number(this.at.y * slide.mpp, 5)} µm)` : "";
    this.where.textContent = [place + um, this.magnification].filter(Boolean).join("; ");
  }

  moved() {
    if (!this.ready || moving) return;
    moving = true;
    const center = this.osd.viewport.getCenter(true), zoom = this.osd.viewport.getZoom(true);
    for (const other of viewers) if (other !== this && other.ready) {
      other.osd.viewport.zoomTo(zoom, null, true);
      other.osd.viewport.panTo(center, true);
    }
    moving = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!viewers.includes(this)) return;
      const at = this.base.viewportToImageCoordinates(this.osd.viewport.getCenter());
      keep({ x: Math.round(at.x), y: Math.round(at.y), zoom: this.base.viewportToImageZoom(this.osd.viewport.getZoom()).toPrecision(4) });
    }, 250);
  }

  async click(position) {
    const at = this.base.viewportToImageCoordinates(this.osd.viewport.pointFromPixel(position));
    try {
      const { row } = await get(`/api/slide/${slide.row}/at`, { x: at.x, y: at.y, run: this.run });
      if (row !== null) go({ row });
    } catch (error) {
      say(error.message, true);
    }
  }

  /** Frame the selected tile, and bring it into sight where it is not (`near`: closely, the first time). */
  select(near = false) {
    if (!this.base) return;
    if (this.frame) this.osd.removeOverlay(this.frame);
    this.frame = null;
    if (!item || item.slide !== slide.row || state.row === "") return;
    const box = this.base.imageToViewportRectangle(item.x, item.y, slide.map_tile || item.width, slide.map_tile || item.height);
    this.frame = h("div", { class: "chosen" });
    this.osd.addOverlay({ element: this.frame, location: box });
    const sight = this.osd.viewport.getBounds();
    if (near) this.osd.viewport.fitBounds(grown(box, 4), true);
    else if (!sight.containsPoint(box.getCenter())) this.osd.viewport.panTo(box.getCenter());
  }

  show(left, top, right, bottom) {
    this.osd.viewport.fitBounds(grown(this.base.imageToViewportRectangle(left, top, right - left, bottom - top), 1.5));
  }

  close() {
    clearTimeout(this.timer);
    this.osd.destroy();
    this.element.remove();
  }
}

const grown = (box, by) => new OSD.Rect(box.x - box.width * by, box.y - box.height * by, box.width * (1 + 2 * by), box.height * (1 + 2 * by));

function legend() {
  const canvas = h("canvas", { width: about.palette.length, height: 1 });
  const pen = canvas.getContext("2d");
  about.palette.forEach((colour, place) => {
    pen.fillStyle = colour;
    pen.fillRect(place, 0, 1, 1);
  });
  const [low, high] = about.runs[Number(state.run)].scale;
  return h("span", { class: "legend", role: "img", "aria-label": `Colours of scores from ${number(low)} to ${number(high)} and above; below, there is no colour` }, number(low, 3), canvas, `${number(high, 3)} and above`);
}

function controls() {
  const found = strengths();
  const layers = LAYERS.map(([name, title, key]) => {
    const why = slide.layers[name], on = found.has(name) && !why;
    return h("span", { class: why ? "layer none" : "layer", title: why || null },
      h("label", {}, h("input", { type: "checkbox", "data-layer": name, checked: on, disabled: Boolean(why), "aria-keyshortcuts": key, on: { change: () => toggle(name) } }), ` ${title} (${key})`),
      on && h("input", { type: "range", min: 0, max: 100, step: 5, value: found.get(name), "data-fade": name, "aria-label": `Strength of ${title}`, on: { input: (event) => { const now = strengths(); now.set(name, Number(event.target.value)); go({ layers: written(now) }, true); } } }));
  });
  const from = h("label", {}, "Colour from ", h("select", { "data-filter": "from", on: { change: (event) => go({ from: event.target.value }, true) } },
    [["", "the threshold"], ["0.9", "percentile 0.9"], ["0.95", "percentile 0.95"], ["0.99", "percentile 0.99"], ["0", "all tiles"]].map(([value, text]) => h("option", { value, selected: state.from === value }, text))));
  const zoom = (title, act) => h("button", { type: "button", "aria-label": title, title, on: { click: act } }, title === "Zoom in" ? "+" : title === "Zoom out" ? "−" : "Whole slide");
  const each = (act) => () => viewers.slice(0, 1).forEach((view) => act(view.osd.viewport));
  const now = slide.history[0];
  return [
    zoom("Zoom in", each((port) => port.zoomBy(2))), zoom("Zoom out", each((port) => port.zoomBy(0.5))), zoom("Whole slide", each((port) => port.goHome())),
    ...layers, found.has("heat") && from, found.has("heat") && legend(),
    h("span", { class: "spring" }),
    h("span", { role: "group", "aria-label": "Mark the whole slide" }, "Slide: ", markSign(now?.mark), " ", MARKS.map(([word, title]) => h("button", { type: "button", "data-slide-mark": word, "aria-pressed": String(now?.mark === word), on: { click: () => put("slide", slide.row, now?.mark === word ? null : word, now?.comment || "", now ? now.id : 0) } }, title))),
  ];
}

function candidates() {
  const found = slide.candidates[Number(state.run)];
  const choice = h("select", { id: "candidate", on: { change: (event) => event.target.value !== "" && showCandidate(Number(event.target.value)) } },
    h("option", { value: "" }, found.length ? `a candidate (${found.length})` : "no candidates"), found.map((each, place) => h("option", { value: place }, `${place + 1}: score ${number(each.score)}, ${each.tiles} tiles`)));
  return h("label", {}, "Go to ", choice);
}

export function showCandidate(place) {
  const found = slide?.candidates[Number(state.run)][place];
  if (!found || !viewers.length) return;
  viewers[0].show(found.left, found.top, found.right, found.bottom);
  get(`/api/slide/${slide.row}/at`, { x: found.x, y: found.y, run: state.run }).then(({ row }) => row !== null && go({ row }));
}

function bars() {
  const focused = document.activeElement?.dataset ?? {};
  const top = $("slide").querySelector(".bar.tools");
  top.replaceChildren(h("strong", { class: "name" }, slide.source), candidates(), ...controls().filter(Boolean));
  for (const name of ["layer", "fade", "filter", "slideMark"]) {
    const attribute = name === "slideMark" ? "slide-mark" : name;
    if (focused[name]) top.querySelector(`[data-${attribute}="${focused[name]}"]`)?.focus();
  }
}

function notice() {
  const place = $("notice");
  place.hidden = !slide || slide.real || state.view !== "slide";
  if (!place.hidden) place.textContent = `Shown from the stored tiles and the overview, not from the slide: ${slide.away}.`;
}

/** Show the slide of the address; `changed` are the parts of the state that are others than before. */
export async function show(changed) {
  const mine = ++asked, place = $("slide");
  if (state.slide === "") state.slide = "0";
  const anew = !slide || String(slide.row) !== state.slide || changed.has("view") || changed.has("everything") || changed.has("marks");
  if (anew) {
    let found;
    try {
      found = await get(`/api/slide/${state.slide}`);
    } catch (error) {
      say(error.message, true);
      return;
    }
    if (mine !== asked) return;
    const other = !slide || slide.row !== found.row || slide.real !== found.real || !viewers.length;
    slide = found;
    if (!place.firstChild) place.append(h("div", { class: "bar tools" }), h("div", { class: "viewers" }));
    if (other) open();
  } else if (changed.has("run") || changed.has("compare")) open();
  else if (changed.has("x") && viewers[0]?.ready && !changed.has("row")) viewers[0].opened();
  bars();
  notice();
  for (const view of viewers) view.layers();
}

function open() {
  close();
  const place = $("slide").querySelector(".viewers");
  const runs = [Number(state.run)];
  if (state.compare !== "" && state.compare !== state.run && about.runs[Number(state.compare)]) runs.push(Number(state.compare));
  viewers = runs.map((run) => new View(place, run));
}

/** The selected item is another one. */
export function select() {
  for (const view of viewers) view.select(false);
}

export function close() {
  for (const view of viewers) view.close();
  viewers = [];
  $("notice").hidden = true;
}

/** For the keyboard: move or zoom the first view. */
export const viewport = () => viewers[0]?.osd.viewport;
export const current = () => slide;
/** For tests: where a level-0 pixel is drawn, in pixels of the window. */
export function onScreen(x, y, which = 0) {
  const view = viewers[which], bounds = view.deep.getBoundingClientRect();
  const at = view.osd.viewport.viewportToViewerElementCoordinates(view.base.imageToViewportCoordinates(x, y));
  return [bounds.left + at.x, bounds.top + at.y];
}
export const idle = () => viewers.length > 0 && viewers.every((view) => view.ready && [...Array(view.osd.world.getItemCount()).keys()].every((place) => view.osd.world.getItemAt(place).getFullyLoaded()));
