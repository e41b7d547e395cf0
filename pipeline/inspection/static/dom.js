// Elements made by hand: texts are texts, never markup, so that no name of a file can be a script.

export const $ = (id) => document.getElementById(id);

/** An element with attributes (`on` a map of listeners, `text` its text) and children; null and false children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "text") element.textContent = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number for people: four digits, a thin space between thousands of whole ones; a dash for none. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en").replaceAll(",", "\u2009");
  return Number(value.toPrecision(digits)).toString();
}

export const labelWord = (label) => (label === null || label === undefined ? "–" : label ? "anomaly" : "normal");

export const MARKS = [
  ["normal", "Normal", "1"],
  ["anomaly", "Anomaly", "2"],
  ["unsure", "Unsure", "3"],
];
export const SIGNS = { normal: "○", anomaly: "▲", unsure: "?" };

/** What a mark is: a sign and a word, so that no colour is needed to read it. */
export const markSign = (mark) => (mark ? h("span", { class: `mark ${mark}` }, `${SIGNS[mark]} ${mark}`) : "–");

let told = 0;
/** Say a line to everybody, screen readers included; it stays for a few seconds. */
export function say(text, bad = false) {
  const status = $("status");
  status.textContent = text;
  status.classList.toggle("bad", bad);
  clearTimeout(told);
  if (!bad) told = setTimeout(() => (status.textContent = ""), 6000);
}

export function later(act, wait) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...words), wait);
  };
}
