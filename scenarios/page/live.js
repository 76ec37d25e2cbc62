// The live page: the server tells what is new, in server-sent events.
"use strict";

const source = new EventSource("events" + location.search);
const lead = document.getElementById("lead");
let latest = story.runs[0];

source.addEventListener("story", (event) => {
  latest = JSON.parse(event.data);
  story.runs[0] = latest;
  const [film] = films;
  if (film && latest.film.peers.length) film.replace(latest.film);
  else if (latest.film.peers.length) build();
  refresh();
});
source.addEventListener("step", (event) => {
  const news = JSON.parse(event.data);
  if (films.length) films[0].step(news.film);
  Object.assign(latest, news.run);
  refresh();
});
source.addEventListener("end", () => { source.close(); lead.className = "lead"; lead.textContent = "The run has ended."; });
source.addEventListener("error", () => { lead.className = "lead live lost"; lead.textContent = "The connection is gone; trying again."; });
source.addEventListener("open", () => { lead.className = "lead live"; lead.textContent = "Live"; });

// what changes is put in place of what stood there, but not while somebody is at it
function refresh() {
  const main = document.getElementById("main"), swap = (name, fresh) => {
    const old = main.querySelector(name);
    if (old && !old.contains(document.activeElement)) old.replaceWith(fresh);
  };
  swap(".facts", facts(latest.facts));
  swap(".charts", curves([latest]));
}
