// Keeps the panel of cache statistics up to date. The page is whole without it.

"use strict";

const EVERY_MS = 2000;

const panel = document.querySelector("aside.cache");
const button = document.getElementById("live");

if (panel && button) {
  const shown = Number(panel.dataset.worker);
  const others = new Map();
  const number = new Intl.NumberFormat("en");
  const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
  const field = (name) => panel.querySelector(`[data-field="${name}"]`);
  let timer = 0;

  const cell = (kind, text) => {
    const made = document.createElement(kind);
    made.textContent = text;
    return made;
  };

  const showRows = (caches) => {
    const rows = caches.map((cache) => {
      const row = document.createElement("tr");
      const name = cell("th", cache.name);
      name.scope = "row";
      row.append(name, ...[cache.size, cache.hits, cache.misses].map((value) => cell("td", number.format(value))));
      row.classList.toggle("idle", cache.hits + cache.misses === 0);
      return row;
    });
    field("rows").replaceChildren(...rows);
  };

  // Any worker may answer. The panel stays with the one that made this page; the others get a line.
  const show = (state) => {
    if (state.worker !== shown) {
      others.set(state.worker, state.hit_ratio);
      const said = [...others].map(([worker, ratio]) => `worker ${worker} at ${percent.format(ratio)}`);
      field("others").textContent = `Other workers: ${said.join(", ")} hits.`;
      field("others").hidden = false;
      return;
    }
    field("ratio").textContent = percent.format(state.hit_ratio);
    field("meter").value = state.hit_ratio;
    field("hits").textContent = number.format(state.hits);
    field("misses").textContent = number.format(state.misses);
    showRows(state.caches);
  };

  const setLive = (live) => {
    button.setAttribute("aria-pressed", String(live));
    button.textContent = live ? "Live" : "Paused";
    window.clearInterval(timer);
    timer = live ? window.setInterval(refresh, EVERY_MS) : 0;
  };

  const refresh = async () => {
    if (document.hidden) {
      return;
    }
    try {
      const answer = await fetch(panel.dataset.api);
      show(await answer.json());
    } catch {
      setLive(false); // the demo was stopped; the button asks again
    }
  };

  button.addEventListener("click", () => setLive(timer === 0));
  button.hidden = false;
  setLive(true);
}
