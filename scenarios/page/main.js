// Puts the page together from the data in it and, when it is live, from what the server sends.
"use strict";

const FEW_ROWS = 12, MOST_ROWS = 1000;
let story = JSON.parse(document.getElementById("story").textContent);
let films = [];

function facts(rows) {
  return make("dl", { class: "facts" }, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function comparison(runs) {
  const labels = runs[0].facts.map(([name]) => name);
  const value = (run, label) => (run.facts.find(([name]) => name === label) || ["", "–"])[1];
  return scrollable(make("table", {},
    make("thead", {}, make("tr", {}, make("td", {}), ...runs.map((run) => make("th", { scope: "col" }, run.name)))),
    make("tbody", {}, ...labels.map((label) => make("tr", {}, make("th", { scope: "row" }, label),
      ...runs.map((run) => make("td", {}, value(run, label))))))), "The runs side by side");
}

function curves(runs) {
  const series = (key, more) => runs.map((run) => ({ name: run.name, x: run.curves.rounds, y: run.curves[key], ...(more ? more(run.curves) : {}) }));
  const ends = runs.length === 1 ? (c) => ({ low: c.low, high: c.high }) : (c) => ({
    low: c.mean.map((m, i) => (m === null ? null : Math.max(0, m - c.deviation[i]))),
    high: c.mean.map((m, i) => (m === null ? null : Math.min(1, m + c.deviation[i]))) });
  const sums = (run) => { let sum = 0; return run.curves.sent.map((s) => (s === null ? null : (sum += s * run.curves.every) / 1e6)); };
  const found = [
    chart("Test accuracy", series("mean", ends), { share: true, caption: runs.length === 1 ? "Mean over the peers, and from worst to best." : "Means over the peers, and a standard deviation either way." }),
    chart("Consensus distance", series("distance"), { log: true, caption: "How far the models are from their mean: sqrt(mean of squared distances), by linear sketches." }),
    chart("Privacy spent, epsilon", series("epsilon"), { caption: "The largest of any one peer, over its life so far." }),
    chart("Bytes sent, MB", runs.map((run) => ({ name: run.name, x: run.curves.rounds, y: sums(run) })), { caption: "All peers together, from the start." }),
  ].filter((one) => one !== null);
  return make("div", { class: "charts" }, ...found);
}

function privacy(run) {
  const rows = run.privacy.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return make("div", { class: run.isPrivate ? "card" : "card bad" }, make("dl", {}, ...rows));
}

function findings(run) {
  if (!run.findings.length) return make("p", {}, "Nothing that an operator would have to look at.");
  return make("div", {}, ...run.findings.map((one) => make("div", { class: "card bad" }, make("h3", {}, one.what), make("p", {}, one.detail),
    one.evidence.length ? make("details", {}, make("summary", {}, "Evidence"), make("ul", {}, ...one.evidence.map((line) => make("li", {}, line)))) : null)));
}

function sortable(name, table) {
  const state = { column: -1, up: true, most: FEW_ROWS };
  const body = make("tbody"), search = make("input", { type: "search", "aria-label": "Filter " + name });
  const heads = table.columns.map((column, i) => {
    const button = make("button", { type: "button" }, column), head = make("th", { scope: "col" }, button);
    button.addEventListener("click", () => { state.up = state.column === i ? !state.up : true; state.column = i; fill(); });
    return head;
  });
  const more = make("button", { type: "button" });
  more.addEventListener("click", () => { state.most = MOST_ROWS; fill(); });
  function fill() {
    const wanted = search.value.toLowerCase();
    let rows = table.rows.filter((row) => row.some((cell) => String(cell).toLowerCase().includes(wanted)));
    if (state.column >= 0) {
      const key = (row) => { const v = parseFloat(row[state.column]); return Number.isNaN(v) ? String(row[state.column]) : v; };
      rows = [...rows].sort((a, b) => { const [p, q] = [key(a), key(b)]; return (p < q ? -1 : p > q ? 1 : 0) * (state.up ? 1 : -1); });
    }
    heads.forEach((head, i) => (i === state.column ? head.setAttribute("aria-sort", state.up ? "ascending" : "descending") : head.removeAttribute("aria-sort")));
    const cell = (text) => make("td", { class: String(text).length > 40 ? "long" : null }, String(text));
    body.replaceChildren(...rows.slice(0, state.most).map((row) => make("tr", {}, ...row.map(cell))));
    more.textContent = rows.length > MOST_ROWS ? "Show " + MOST_ROWS + " of " + rows.length + " rows" : "Show all " + rows.length + " rows";
    more.classList.toggle("hidden", rows.length <= state.most || state.most === MOST_ROWS);
  }
  search.addEventListener("input", fill);
  fill();
  return make("section", {}, make("h2", {}, name), make("div", { class: "controls" }, make("label", {}, "filter ", search)),
    scrollable(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body), name), more);
}

function section(title, ...children) { return make("section", {}, make("h2", {}, title), ...children); }

function oneRun(run, alone) {
  const film = run.film.peers.length ? new Film(run.film) : null;
  if (film) films.push(film);
  const parts = [film ? section("The network through time", film.node) : null];
  if (alone) parts.push(section("Curves", curves([run])));
  parts.push(section("Privacy", privacy(run)), section("Diagnosis", findings(run)));
  for (const [name, table] of Object.entries(run.tables)) if (table.rows.length) parts.push(sortable(name, table));
  if (run.scenario) parts.push(make("details", {}, make("summary", {}, "The scenario as it was resolved"), make("pre", { tabindex: 0 }, run.scenario)));
  return parts.filter((part) => part !== null);
}

function build() {
  films = [];
  const main = document.getElementById("main"), { runs } = story;
  if (runs.length === 1) {
    main.replaceChildren(facts(runs[0].facts), ...oneRun(runs[0], true));
    return;
  }
  const choice = make("select", { id: "run" }, ...runs.map((run, i) => make("option", { value: i }, run.name)));
  const place = make("div");
  const turn = () => { films = []; place.replaceChildren(...oneRun(runs[+choice.value], false)); };
  choice.addEventListener("change", turn);
  main.replaceChildren(comparison(runs), section("Curves", curves(runs)),
    make("div", { class: "controls" }, make("label", { for: "run" }, "One run in detail "), choice), place);
  turn();
}

build();
window.tidings = { films: () => films };
