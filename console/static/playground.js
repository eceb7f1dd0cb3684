// The playground: sends its form by POST, so that a prompt is in no address, and shows what comes back as it comes.
// Whatever a model says is put into the page as text, never as markup.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const find = (id) => document.getElementById(id);
  const form = find("play"), stop = find("stop"), status = find("playing"), place = find("answers");
  if (!form) return;
  let playing = null, shown = [], refused = "";

  function section(number, model) { // the number, because the same model may be asked twice
    const made = find("answer").content.cloneNode(true).firstElementChild;
    const part = (name) => made.querySelector("." + name);
    part("model").textContent = `${number}: ${model}`;
    made.setAttribute("aria-label", `Answer ${number}, ${model}`);
    place.append(made);
    return { made, part, over: false, figures: new Map() };
  }

  function figure(one, [name, value]) {
    let cell = one.figures.get(name);
    if (!cell) {
      const row = document.createElement("div"), term = document.createElement("dt");
      cell = document.createElement("dd");
      term.textContent = name;
      row.append(term, cell);
      one.part("figured").append(row);
      one.figures.set(name, cell);
    }
    cell.textContent = value;
  }

  function over(one, words) {
    one.over = true;
    one.made.setAttribute("aria-busy", "false");
    one.part("now").textContent = words;
  }

  function listed(one, words) {
    const item = document.createElement("li");
    item.textContent = words;
    one.part("switches").append(item);
    one.part("switches").hidden = false;
  }

  const told = {
    asked: (_, said) => {
      const one = shown[said.answer] = section(said.answer + 1, said.model);
      one.made.setAttribute("aria-busy", "true");
      if (!said.job) return;
      one.part("job").href = "/job?" + new URLSearchParams({ project: form.dataset.project, id: said.job });
      one.part("job").hidden = false;
    },
    state: (one, said) => { one.part("now").textContent = said.words; },
    "went on": (one, said) => listed(one, said.words),
    switched: (one, said) => {
      listed(one, said.words);
      one.part("text").textContent = one.part("reasoning").textContent = "";
    },
    text: (one, said) => one.part("text").append(said.text),
    reasoning: (one, said) => { one.part("thought").hidden = false; one.part("reasoning").append(said.text); },
    figures: (one, said) => said.rows.forEach((row) => figure(one, row)),
    ended: (one, said) => { over(one, said.words); said.rows.forEach((row) => figure(one, row)); },
    refused: (one, said) => {
      if (!one.over) over(one, "no answer");
      const amiss = one.made.querySelector(".amiss");
      amiss.textContent = said.words;
      amiss.hidden = false;
    },
  };

  function heard(name, data) {
    if (name === "gone") location.reload();
    if (name === "refused") status.textContent = refused = data;
    if (name !== "told") return;
    for (const said of JSON.parse(data)) told[said.what]?.(shown[said.answer], said);
    const done = shown.filter((one) => one.over).length;
    const words = `${done} of ${shown.length} have ended.`;
    if (status.textContent !== words) status.textContent = words; // it is read aloud
  }

  async function read(body) {
    const reader = body.getReader(), decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = events.pop();
      for (const one of events) {
        const lines = one.split("\n"), of = (field) => lines.filter((line) => line.startsWith(field + ": "))
          .map((line) => line.slice(field.length + 2)).join("\n");
        if (of("event")) heard(of("event"), of("data"));
      }
    }
  }

  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    if (playing) return;
    playing = new AbortController();
    shown = [];
    refused = "";
    place.replaceChildren();
    stop.disabled = false;
    status.textContent = "Asked.";
    const button = form.querySelector("button:not([type])");
    button.disabled = true;
    try {
      const body = new URLSearchParams(new FormData(form)), signal = playing.signal;
      const answer = await fetch(form.action, { method: "POST", body, signal, redirect: "error" });
      await read(answer.body);
      if (shown.some((one) => !one.over)) throw new TypeError("cut");
    } catch (error) {
      const stopped = error.name === "AbortError";
      for (const one of shown) if (!one.over) over(one, stopped ? "stopped" : "cut off");
      status.textContent = refused || (stopped ? "Stopped: what had not ended is cancelled." : "The console does not answer any more.");
    }
    playing = null;
    button.disabled = false;
    stop.disabled = true;
  });
  stop.addEventListener("click", () => playing?.abort());
  addEventListener("pagehide", () => playing?.abort());
});
