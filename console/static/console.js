// Everything that a page does by itself: it stays current, knows a few keys, and remembers light or dark and whose
// clock times are told by. Without this file every page works, in UTC, and is of the moment it was loaded.
"use strict";
const root = document.documentElement;
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen; // before anything is painted

document.addEventListener("DOMContentLoaded", () => {
  const find = (id) => document.getElementById(id);
  const shown = find("shown"), amiss = find("amiss"), beat = find("beat"), pause = find("pause"), keys = find("keys");
  const home = Intl.DateTimeFormat().resolvedOptions().timeZone;
  let source = null, paused = false, utc = localStorage.getItem("zone") === "UTC";

  function theme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  }

  // A moment that is not of this year says of which it is; UTC, whole, is in the title.
  function times(within) {
    const told = { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: utc ? "UTC" : home };
    const near = new Intl.DateTimeFormat("en-GB", told), far = new Intl.DateTimeFormat("en-GB", { ...told, year: "numeric" });
    for (const one of within.querySelectorAll("time")) {
      const moment = new Date(one.dateTime || one.textContent.replace(" UTC", "Z").replace(" ", "T"));
      if (isNaN(moment)) continue;
      one.title ||= one.textContent;
      one.dateTime = moment.toISOString();
      one.textContent = (moment.getFullYear() === new Date().getFullYear() ? near : far).format(moment).replace(/,/g, "");
    }
    if (find("clock")) find("clock").textContent = `Times in ${utc ? "UTC" : home}`;
  }

  function zone() {
    utc = !utc;
    localStorage.setItem("zone", utc ? "UTC" : "");
    times(document);
  }

  function stands(word, kind) {
    if (!beat || beat.textContent === word) return;
    beat.textContent = word;
    beat.className = `state ${kind}`;
  }

  function unknown(words) {
    amiss.textContent = words;
    amiss.hidden = !words;
    shown.classList.toggle("unknown", Boolean(words)); // what was known is not what is
    if (words) stands("not current", "lost");
  }

  // Changes only what differs, so that focus, marked text, scrolled tables, open details and filled in fields stay.
  function become(old, next) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== next.data) old.data = next.data;
      return;
    }
    for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) {
      const readers = (name === "open" && old.localName === "details") || name === "tabindex";
      if (!readers && !next.hasAttribute(name)) old.removeAttribute(name);
    }
    within(old, next);
  }

  function within(old, next) {
    const wants = new Set([...next.children].map((one) => one.id));
    const named = new Map();
    for (const one of [...old.children]) if (one.id) wants.has(one.id) ? named.set(one.id, one) : one.remove();
    let at = old.firstChild;
    const drop = () => { const gone = at; at = at.nextSibling; gone.remove(); };
    for (const wanted of [...next.childNodes]) {
      let known = wanted.id ? named.get(wanted.id) : at;
      if (wanted.localName && !wanted.id) while (known && !known.id && known.nodeName !== wanted.nodeName) known = known.nextSibling;
      if (known?.nodeName !== wanted.nodeName || known.id !== wanted.id) {
        old.insertBefore(wanted, at);
        continue;
      }
      while (at && at !== known && !at.id) drop();
      if (at === known) at = at.nextSibling;
      else old.insertBefore(known, at);
      become(known, wanted);
    }
    while (at) drop();
  }

  function state(html) {
    const next = document.createElement("template");
    const had = shown.contains(document.activeElement) ? document.activeElement : null;
    next.innerHTML = html.trim(); // made by the templates, which escape everything
    times(next.content);
    within(shown, next.content);
    if (had && had !== document.activeElement) (had.isConnected ? had : find("page")).focus({ preventScroll: true });
    unknown("");
    stands("live", "live");
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
    stands(paused ? "paused" : "waiting", paused ? "paused" : "");
    look();
  }

  function step(by) {
    const rows = [...shown.querySelectorAll("tbody tr")];
    const row = rows.findIndex((one) => one.contains(document.activeElement));
    const to = rows[Math.min(Math.max(row + by, 0), rows.length - 1)];
    if (!to) return;
    const link = to.querySelector("a") || to;
    if (link === to) link.tabIndex = -1;
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
      "?": () => keys?.showModal(), p: halt, t: theme, z: zone, j: () => step(1), k: () => step(-1),
      "/": () => document.querySelector("main :is(input, textarea):not([type=hidden]), main select")?.focus(),
    }[key.key];
    if (does) { key.preventDefault(); does(); }
  });

  find("theme")?.addEventListener("click", theme);
  find("clock")?.addEventListener("click", zone);
  find("help")?.addEventListener("click", () => keys.showModal());
  pause?.addEventListener("click", halt);
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", look);
  times(document);
  for (const one of document.querySelectorAll(".chart")) one.firstElementChild.scrollLeft = one.scrollWidth; // the newest is at its end
  look();
});
