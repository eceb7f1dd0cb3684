// Everything that a page does by itself: it stays current, knows a few keys, and remembers light or dark. Without this
// file every page works, and is of the moment it was loaded.
"use strict";
const root = document.documentElement;
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen; // before anything is painted

document.addEventListener("DOMContentLoaded", () => {
  const find = (id) => document.getElementById(id);
  const shown = find("shown"), amiss = find("amiss"), pause = find("pause"), keys = find("keys");
  let source = null, paused = false, row = -1;

  function theme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  }

  function times(within) {
    for (const one of within.querySelectorAll("time")) {
      const moment = new Date(one.textContent.replace(" UTC", "Z").replace(" ", "T"));
      if (isNaN(moment)) continue;
      one.title = one.textContent;
      one.dateTime = moment.toISOString();
      one.textContent = moment.toLocaleString();
    }
  }

  function unknown(words) {
    amiss.textContent = words;
    amiss.hidden = !words;
    shown.classList.toggle("unknown", Boolean(words)); // what was known is not what is
  }

  function state(html) {
    if (!getSelection().isCollapsed && shown.contains(getSelection().anchorNode)) return; // somebody marks a text
    if (shown.contains(document.activeElement) && document.activeElement.closest("form")) return; // or fills in a filter
    const had = document.activeElement, id = shown.contains(had) ? had.id || had.getAttribute("href") : null;
    const left = [...shown.querySelectorAll(".wide")].map((one) => one.scrollLeft);
    shown.innerHTML = html; // made by the templates, which escape everything
    times(shown);
    shown.querySelectorAll(".wide").forEach((one, at) => { one.scrollLeft = left[at] || 0; });
    if (id) (find(id) || shown.querySelector(`[href="${CSS.escape(id)}"]`))?.focus({ preventScroll: true });
    unknown("");
  }

  function look() {
    const wanted = shown && shown.dataset.live && !paused && !document.hidden;
    if (!wanted && source) { source.close(); source = null; }
    if (!wanted || source) return;
    source = new EventSource(shown.dataset.live);
    source.addEventListener("state", (heard) => state(heard.data));
    source.addEventListener("unknown", (heard) => unknown(heard.data));
    source.addEventListener("gone", () => location.reload());
    source.onerror = () => {
      unknown("The console does not answer: what stands below is not of now.");
      if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(look, 3000); }
    };
  }

  function halt() {
    if (!pause) return;
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    look();
  }

  function step(by) {
    const rows = [...document.querySelectorAll("#shown tbody tr")];
    if (!rows.length) return;
    row = Math.min(Math.max(row + by, 0), rows.length - 1);
    const link = rows[row].querySelector("a") || rows[row];
    if (link === rows[row]) link.tabIndex = -1;
    link.focus();
  }

  let before = "";
  document.addEventListener("keydown", (key) => {
    if (key.ctrlKey || key.metaKey || key.altKey || key.target.closest("input, select, textarea") || keys?.open) return;
    const led = before;
    before = key.key === "g" ? "g" : "";
    if (led === "g") {
      const link = [...document.querySelectorAll("nav a")].find((one) => one.dataset.letter === key.key);
      if (link) { key.preventDefault(); link.click(); }
      return;
    }
    const does = {
      "?": () => keys?.showModal(), p: halt, t: theme, j: () => step(1), k: () => step(-1),
      "/": () => document.querySelector("main input:not([type=hidden]), main select")?.focus(),
    }[key.key];
    if (does) { key.preventDefault(); does(); }
  });

  find("theme")?.addEventListener("click", theme);
  find("help")?.addEventListener("click", () => keys.showModal());
  pause?.addEventListener("click", halt);
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", look);
  times(document);
  look();
});
