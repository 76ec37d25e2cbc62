// Curves as SVG, with the same numbers as a table for whoever cannot see them.
"use strict";

const W = 560, H = 260, LEFT = 52, RIGHT = 14, TOP = 12, BOTTOM = 34;

function ticks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((s) => s >= raw) || raw;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + 1e-9 * step; at += step) found.push(Math.abs(at) < 1e-12 ? 0 : at);
  return found;
}

// series: [{name, x, y, low?, high?}]; options: {title, share, log}
function chart(title, series, options) {
  const lines = series.filter((one) => one.y.some((v) => v !== null));
  if (!lines.length) return null;
  const flat = (key) => lines.flatMap((one) => (one[key] || []).filter((v) => v !== null));
  const xs = lines.flatMap((one) => one.x), ys = [...flat("y"), ...flat("low"), ...flat("high")];
  const log = options.log && Math.min(...ys) > 0 && Math.max(...ys) > 50 * Math.min(...ys);
  const scale = log ? Math.log10 : (v) => v;
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys.map(scale)), Math.max(...ys.map(scale))];
  if (options.share) [y0, y1] = [Math.max(0, Math.floor(10 * y0) / 10), Math.min(1, Math.ceil(10 * y1) / 10)];
  else if (!log && y0 > 0 && y0 < 0.6 * y1) y0 = 0;
  if (y1 - y0 < 1e-12) [y0, y1] = [y0 - 0.5, y1 + 0.5];
  const X = (v) => LEFT + (x1 === x0 ? 0.5 : (v - x0) / (x1 - x0)) * (W - LEFT - RIGHT);
  const Y = (v) => H - BOTTOM - ((scale(v) - y0) / (y1 - y0)) * (H - TOP - BOTTOM);
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": spoken(title, lines, options) });
  for (const v of log ? powers(y0, y1) : ticks(y0, y1, 5)) {
    svg.append(make("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: Y(v), y2: Y(v) }),
      make("text", { x: LEFT - 7, y: Y(v) + 4, "text-anchor": "end" }, options.share ? Math.round(100 * v) + " %" : numberShown(v)));
  }
  for (const v of ticks(x0, x1, 6)) svg.append(make("text", { x: X(v), y: H - BOTTOM + 16, "text-anchor": "middle" }, numberShown(v)));
  svg.append(make("text", { x: (LEFT + W - RIGHT) / 2, y: H - 3, "text-anchor": "middle" }, options.across || "round"));
  lines.forEach((one, i) => {
    const stroke = `var(--c${i % 6})`;
    if (one.low) svg.append(band(one, X, Y, stroke));
    const path = make("path", { class: "curve", d: route(one.x, one.y, X, Y), "stroke-dasharray": i >= 6 ? "6 4" : null });
    path.style.stroke = stroke;
    svg.append(path);
  });
  const key = lines.length < 2 ? null : make("ul", { class: "key" }, ...lines.map((one, i) => {
    const mark = make("i");
    mark.style.background = `var(--c${i % 6})`;
    return make("li", {}, mark, one.name);
  }));
  return make("figure", {}, make("h3", {}, title), svg, key, make("figcaption", {}, options.caption || ""), asTable(title, lines, options));
}

function powers(y0, y1) {
  const found = [];
  for (let p = Math.ceil(y0); p <= Math.floor(y1); p++) found.push(10 ** p);
  return found.length >= 2 ? found : [10 ** y0, 10 ** ((y0 + y1) / 2), 10 ** y1];
}

function route(xs, ys, X, Y) {
  let path = "", pen = "M";
  xs.forEach((x, i) => {
    if (ys[i] === null) return;
    path += pen + X(x).toFixed(1) + " " + Y(ys[i]).toFixed(1);
    pen = "L";
  });
  return path;
}

function band(one, X, Y, fill) {
  const kept = one.x.map((_, i) => i).filter((i) => one.low[i] !== null);
  const up = kept.map((i) => X(one.x[i]).toFixed(1) + "," + Y(one.high[i]).toFixed(1));
  const down = kept.reverse().map((i) => X(one.x[i]).toFixed(1) + "," + Y(one.low[i]).toFixed(1));
  const shape = make("polygon", { class: "band", points: [...up, ...down].join(" ") });
  shape.style.fill = fill;
  return shape;
}

function last(values) { return values.filter((v) => v !== null).at(-1); }

function spoken(title, lines, options) {
  const say = options.share ? percentShown : numberShown;
  return title + ": " + lines.map((one) => (lines.length > 1 ? one.name + " " : "") + "ends at " + say(last(one.y))).join("; ");
}

function asTable(title, lines, options) {
  const say = options.share ? percentShown : numberShown;
  const rounds = [...new Set(lines.flatMap((one) => one.x))].sort((a, b) => a - b);
  const every = Math.max(1, Math.ceil(rounds.length / 40)), rows = rounds.filter((_, i) => i % every === 0 || i === rounds.length - 1);
  const cells = (x) => lines.map((one) => make("td", {}, say(one.y[one.x.indexOf(x)])));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, options.across || "round"),
    ...lines.map((one) => make("th", { scope: "col" }, one.name)))),
  make("tbody", {}, ...rows.map((x) => make("tr", {}, make("th", { scope: "row" }, numberShown(x)), ...cells(x)))));
  return make("details", {}, make("summary", {}, title + " as a table"), scrollable(table, title + " as a table"));
}

function scrollable(table, name) {
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, table);
}
