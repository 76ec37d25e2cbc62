// Small tools. Text from logs goes into the page as text alone, never as markup.
"use strict";

function make(tag, attributes, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "title", "polygon", "circle", "rect"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function unpack(text, kind) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return kind === Uint8Array ? bytes : new kind(bytes.buffer);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function bytesShown(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return (unit ? count.toFixed(1) : Math.round(count)) + " " + units[unit];
}

function timeShown(seconds) {
  if (seconds < 120) return seconds.toFixed(seconds < 10 ? 2 : 1) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(1) + " min";
  return (seconds / 3600).toFixed(1) + " h";
}

function numberShown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
}

function percentShown(share) {
  return share === null || share === undefined || Number.isNaN(share) ? "–" : (100 * share).toFixed(1) + " %";
}
