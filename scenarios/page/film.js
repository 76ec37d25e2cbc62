// The network through time: a canvas, a slider, filters, and the same in words.
"use strict";

const DOWN = 255, NEVER = 65535;
// from dark to bright along "cividis", which colour-blind readers can tell apart
const SCALE = [[0, 32, 76], [0, 52, 110], [57, 72, 107], [87, 93, 109], [112, 113, 115], [138, 134, 120], [166, 157, 117], [196, 182, 103], [228, 207, 84], [255, 234, 70]];

function scaled(share) {
  const at = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1), low = Math.min(Math.floor(at), SCALE.length - 2);
  const part = at - low;
  const mix = [0, 1, 2].map((i) => Math.round(SCALE[low][i] * (1 - part) + SCALE[low + 1][i] * part));
  return "rgb(" + mix.join(",") + ")";
}

class Film {
  constructor(data) {
    this.number = 0;
    this.playing = false;
    this.follows = true; // a live film shows its newest frame until somebody moves the slider
    this.by = "accuracy";
    this.peer = -1;
    this.only = "all";
    this.drawn = 0; // frames drawn, for whoever measures
    this.load(data);
    this.build();
    this.show(data.frames - 1);
  }

  load(data) {
    this.data = data;
    this.bytes = unpack(data.bytes, Uint8Array);
    this.accuracy = unpack(data.accuracy, Uint16Array);
    this.distance = unpack(data.distance, Float32Array);
    this.refused = new Map();
    for (const [frame, from, by, count] of data.refused) this.refuse(frame, from, by, count);
    this.notes = data.notes.map(([at, text]) => [Math.floor(at / data.width), text]);
    this.farthest = this.distance.reduce((most, d) => (d > most ? d : most), 0);
  }

  refuse(frame, from, by, count) {
    if (!this.refused.has(frame)) this.refused.set(frame, []);
    this.refused.get(frame).push([from, by, count]);
  }

  // a live page: the frame that is being filmed
  step(news) {
    const d = this.data, frame = news.frame;
    this.bytes.set(unpack(news.bytes, Uint8Array), frame * d.edges.length);
    this.accuracy.set(unpack(news.accuracy, Uint16Array), frame * d.peers.length);
    const distance = unpack(news.distance, Float32Array);
    this.distance.set(distance, frame * d.peers.length);
    this.farthest = distance.reduce((most, x) => (x > most ? x : most), this.farthest);
    this.refused.set(frame, news.refused);
    d.rounds[frame] = news.round;
    if (this.number === frame) this.show(frame);
  }

  replace(data) {
    const at = this.follows ? data.frames - 1 : Math.min(this.number, data.frames - 1);
    const names = data.peers.length !== this.data.peers.length;
    this.load(data);
    this.slider.max = data.frames - 1;
    if (names) this.fillPeers();
    this.show(at);
  }

  build() {
    this.canvas = make("canvas", { role: "img", "aria-label": "The network", "aria-describedby": "said" });
    this.said = make("p", { class: "said", id: "said", "aria-live": "polite" });
    this.slider = make("input", { type: "range", min: 0, max: this.data.frames - 1, step: 1, id: "time", "aria-label": "Time" });
    this.button = make("button", { type: "button", id: "play" }, "Play");
    const select = (id, options) => make("select", { id }, ...options.map(([value, text]) => make("option", { value }, text)));
    const colours = select("colour", [["accuracy", "accuracy"], ["distance", "distance from the mean model"]]);
    const links = select("links", [["all", "all links"], ["busy", "links that carried something"], ["refused", "refusals only"], ["down", "broken links"]]);
    this.peers = make("select", { id: "peer" });
    this.fillPeers();
    this.slider.addEventListener("input", () => {
      this.stop();
      this.follows = +this.slider.value === this.data.frames - 1;
      this.show(+this.slider.value);
    });
    this.button.addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    colours.addEventListener("change", () => { this.by = colours.value; this.show(this.number); });
    links.addEventListener("change", () => { this.only = links.value; this.show(this.number); });
    this.peers.addEventListener("change", () => { this.peer = +this.peers.value; this.show(this.number); });
    this.canvas.addEventListener("click", (event) => this.pick(event));
    const label = (target, text) => make("label", { for: target.id }, text + " ");
    this.node = make("div", { class: "film" },
      make("div", { class: "controls" }, this.button, this.slider),
      make("div", { class: "controls" },
        make("span", {}, label(colours, "colour"), colours), make("span", {}, label(links, "show"), links),
        make("span", {}, label(this.peers, "peer"), this.peers)),
      this.canvas, this.legend(), this.said);
    new ResizeObserver(() => this.show(this.number)).observe(this.canvas);
    for (const query of ["(prefers-color-scheme: dark)", "print"]) {
      matchMedia(query).addEventListener("change", () => this.show(this.number));
    }
  }

  legend() {
    const swatch = (fill) => { const i = make("i"); i.style.background = fill; return i; };
    this.key = make("ul", { class: "key" });
    this.ends = [make("li", {}, swatch(scaled(0)), ""), make("li", {}, swatch(scaled(1)), "")];
    this.key.append(...this.ends,
      make("li", {}, swatch("rgb(" + colour("--edge") + ")"), "the wider, the more bytes"),
      make("li", {}, swatch(colour("--bad")), "refused, with an arrow to who refused; dotted: link down"));
    return this.key;
  }

  fillPeers() {
    const names = this.data.peers.map((name, i) => make("option", { value: i }, name || "(no name)"));
    this.peers.replaceChildren(make("option", { value: -1 }, "all peers"), ...names);
    this.peers.value = String(this.peer);
  }

  play() {
    this.playing = true;
    this.follows = true;
    this.button.textContent = "Pause";
    if (this.number >= this.data.frames - 1) this.show(0);
    let last = performance.now();
    const pace = Math.max(1000 / 30, Math.min(150, 12000 / this.data.frames));
    const tick = (now) => {
      if (!this.playing) return;
      if (now - last >= pace - 4) {
        last = now;
        if (this.number >= this.data.frames - 1) return this.stop();
        this.show(this.number + 1);
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  stop() {
    this.playing = false;
    this.button.textContent = "Play";
  }

  place(i) {
    const [x, y] = this.data.places[i];
    const edge = this.radius() + 24; // room for a name
    return [this.width / 2 + x * (this.width / 2 - edge), this.height / 2 + y * (this.height / 2 - edge)];
  }

  shade(i) {
    const at = this.number * this.data.peers.length + i;
    if (this.by === "accuracy") return this.accuracy[at] === NEVER ? null : this.accuracy[at] / 1e4;
    return Number.isNaN(this.distance[at]) ? null : this.distance[at] / (this.farthest || 1);
  }

  shown(a, b) { return this.peer < 0 || a === this.peer || b === this.peer; }

  show(number) {
    this.number = number;
    this.slider.value = number;
    const at = timeShown(number * this.data.width);
    this.slider.setAttribute("aria-valuetext", at + ", round " + this.data.rounds[number]);
    this.draw();
    this.tell(at);
  }

  draw() {
    const box = this.canvas.getBoundingClientRect(), ratio = Math.min(devicePixelRatio || 1, 2);
    if (!box.width) return;
    [this.width, this.height] = [box.width, box.height];
    const [w, h] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) [this.canvas.width, this.canvas.height] = [w, h];
    const paint = this.canvas.getContext("2d");
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, this.width, this.height);
    this.drawEdges(paint);
    this.drawRefused(paint);
    this.drawPeers(paint);
    this.drawn += 1;
  }

  drawEdges(paint) {
    const { edges } = this.data, first = this.number * edges.length, widths = new Map();
    const many = edges.length > 2000;
    for (let e = 0; e < edges.length; e++) {
      const [a, b] = edges[e], load = this.bytes[first + e];
      if (!this.shown(a, b) || this.only === "refused") continue;
      if (this.only === "busy" && (load === 0 || load === DOWN)) continue;
      if (this.only === "down" && load !== DOWN) continue;
      const kind = load === DOWN ? -1 : load === 0 ? 0 : Math.min(6, 1 + Math.max(0, Math.floor((load - 40) / 24)));
      if (!widths.has(kind)) widths.set(kind, []);
      widths.get(kind).push(a, b);
    }
    for (const [kind, ends] of widths) {
      paint.strokeStyle = kind < 0 ? colour("--bad") : "rgba(" + colour("--edge") + "," + (kind === 0 ? 0.12 : many ? 0.3 : 0.55) + ")";
      paint.lineWidth = kind < 0 ? 1.2 : Math.max(0.8, (many ? 0.6 : 0.9) * kind);
      paint.setLineDash(kind < 0 ? [2, 5] : []);
      paint.beginPath();
      for (let i = 0; i < ends.length; i += 2) {
        paint.moveTo(...this.place(ends[i]));
        paint.lineTo(...this.place(ends[i + 1]));
      }
      paint.stroke();
    }
    paint.setLineDash([]);
  }

  drawRefused(paint) {
    paint.strokeStyle = paint.fillStyle = colour("--bad");
    paint.lineWidth = 2;
    for (const [from, by] of this.refused.get(this.number) || []) {
      if (!this.shown(from, by)) continue;
      const [x0, y0] = this.place(from), [x1, y1] = this.place(by);
      const far = Math.hypot(x1 - x0, y1 - y0) || 1, [ux, uy] = [(x1 - x0) / far, (y1 - y0) / far];
      const [tx, ty] = [x1 - ux * (this.radius() + 2), y1 - uy * (this.radius() + 2)];
      paint.beginPath();
      paint.moveTo(x0, y0);
      paint.lineTo(tx, ty);
      paint.stroke();
      paint.beginPath();
      paint.moveTo(tx, ty);
      paint.lineTo(tx - 9 * ux + 5 * uy, ty - 9 * uy - 5 * ux);
      paint.lineTo(tx - 9 * ux - 5 * uy, ty - 9 * uy + 5 * ux);
      paint.fill();
    }
  }

  radius() { return Math.max(2.5, Math.min(15, 0.28 * this.width / Math.sqrt(this.data.peers.length * 12 + 1))); }

  drawPeers(paint) {
    const { peers } = this.data, r = this.radius(), ink = colour("--ink"), none = colour("--line");
    const named = peers.length <= 48;
    paint.lineWidth = 1;
    paint.strokeStyle = ink;
    paint.font = "12px system-ui, sans-serif";
    paint.textAlign = "center";
    for (let i = 0; i < peers.length; i++) {
      const [x, y] = this.place(i), shade = this.shade(i);
      paint.globalAlpha = this.peer < 0 || this.peer === i || this.isNeighbour(i) ? 1 : 0.25;
      paint.fillStyle = shade === null ? none : scaled(shade);
      paint.beginPath();
      paint.arc(x, y, r, 0, 2 * Math.PI);
      paint.fill();
      if (r > 3) paint.stroke();
      if (named || this.peer === i) {
        paint.fillStyle = ink;
        const name = peers[i].length > 18 ? peers[i].slice(0, 17) + "…" : peers[i];
        paint.fillText(name, x, y + (y < this.height / 2 ? -r - 5 : r + 14));
      }
    }
    paint.globalAlpha = 1;
  }

  isNeighbour(i) {
    if (this.neighboursOf !== this.peer) {
      this.neighboursOf = this.peer;
      this.neighbours = new Set(this.data.edges.filter((pair) => pair.includes(this.peer)).flat());
    }
    return this.neighbours.has(i);
  }

  pick(event) {
    const box = this.canvas.getBoundingClientRect(), [mx, my] = [event.clientX - box.left, event.clientY - box.top];
    let [best, nearest] = [-1, Math.max(12, 1.5 * this.radius())];
    for (let i = 0; i < this.data.peers.length; i++) {
      const [x, y] = this.place(i), far = Math.hypot(x - mx, y - my);
      if (far < nearest) [best, nearest] = [i, far];
    }
    this.peer = best;
    this.peers.value = String(best);
    this.show(this.number);
  }

  tell(at) {
    const d = this.data, from = this.number * d.peers.length;
    const values = [], low = this.by === "accuracy";
    for (let i = 0; i < d.peers.length; i++) {
      if (this.accuracy[from + i] !== NEVER) values.push(this.accuracy[from + i] / 1e4);
    }
    let down = 0, load = 0;
    for (let e = 0; e < d.edges.length; e++) {
      const code = this.bytes[this.number * d.edges.length + e];
      if (code === DOWN) down += 1;
      else if (code) load += 2 ** ((code - 1) / 8);
    }
    const refused = (this.refused.get(this.number) || []).reduce((sum, [, , count]) => sum + count, 0);
    const mean = values.length ? values.reduce((a, b) => a + b) / values.length : NaN;
    const parts = [at, "round " + d.rounds[this.number], d.peers.length + " peers", "mean accuracy " + percentShown(mean),
      "about " + bytesShown(load) + " sent in this frame of " + timeShown(d.width)];
    if (down) parts.push(down + (down === 1 ? " link" : " links") + " down");
    if (refused) parts.push(refused + " refused");
    if (this.peer >= 0) {
      const own = this.accuracy[from + this.peer], apart = this.distance[from + this.peer];
      parts.push(d.peers[this.peer] + ": accuracy " + percentShown(own === NEVER ? NaN : own / 1e4) + ", distance from the mean " + numberShown(apart));
    }
    const notes = this.notes.filter(([frame]) => frame === this.number).map(([, text]) => text);
    const left = Object.entries(d.leftOut).map(([what]) => "not all " + what + " are drawn");
    this.said.textContent = [...parts, ...notes, ...left].join(" · ");
    this.ends[0].lastChild.textContent = low ? "accuracy 0 %" : "at the mean";
    this.ends[1].lastChild.textContent = low ? "100 %" : "distance " + numberShown(this.farthest);
  }
}
