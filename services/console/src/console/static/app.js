// The console works without this file; with it, pages live, keys work, and images zoom.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const root = document.documentElement;

// --- times: the reader's own clock, and how long ago

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

function tellTimes(where = document) {
  for (const element of $$("time", where)) {
    const moment = new Date(element.dateTime);
    const past = (Date.now() - moment) / 1000;
    const ago = element.dataset.ago;
    const text = ago === undefined ? time.format(moment) : ago ? span(past) : past >= 0 ? `${span(past)} ago` : `in ${span(past)}`;
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = day.format(moment);
  }
}

// --- images that are gone or that no browser can show

document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.classList.add("broken");
}, true);

// --- live parts: asked for every few seconds, replaced only when the server says that they changed

const live = $("#live");

function replace(part, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const known = new Map($$("img", part).map((image) => [image.getAttribute("src"), image]));
  for (const image of $$("img", fresh)) {          // images that are there already do not flicker
    const same = known.get(image.getAttribute("src"));
    if (same) { known.delete(image.getAttribute("src")); image.replaceWith(same); }
  }
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceChildren(...fresh.childNodes);
  if (focused) $(`[href="${CSS.escape(focused)}"]`, part)?.focus({ preventScroll: true });
  tellTimes(part);
}

async function refresh(part) {
  try {
    const headers = part.tag ? { "If-None-Match": part.tag } : {};
    const answer = await fetch(part.url, { headers, cache: "no-store" });
    if (answer.status !== 304 && !answer.ok) throw new Error(answer.statusText);
    if (answer.status === 200) {
      const changed = part.tag !== undefined;
      part.tag = answer.headers.get("ETag");
      const html = await answer.text();
      if (part.reload) { if (changed) location.reload(); } else replace(part.element, html);
    }
    state(true);
  } catch {
    state(false);
  }
}

function state(fine) {
  if (!live) return;
  live.classList.toggle("lost", !fine);
  const text = fine ? "Live" : "Connection lost";
  if (live.textContent !== text) live.textContent = text;
}

function follow(part) {
  const turn = async () => {
    if (!document.hidden) await refresh(part);
    setTimeout(turn, part.every);
  };
  setTimeout(turn, part.every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(part); });
}

for (const element of $$("[data-live]")) {
  follow({ element, url: element.dataset.live, every: 1000 * Number(element.dataset.every) });
}
for (const element of $$("[data-reload-when]")) {
  const part = { element, url: element.dataset.reloadWhen, every: 3000, reload: true };
  refresh(part).then(() => follow(part));
}

// --- theme

$("#theme")?.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

// --- heat maps, on or off for the whole console

const switches = $$("#heat-all, [data-heat-switch]");

function heat(on) {
  root.dataset.heat = on ? "on" : "off";
  localStorage.setItem("heat", root.dataset.heat);
  for (const one of switches) one.checked = on;
}
for (const one of switches) {
  one.checked = root.dataset.heat === "on";
  one.addEventListener("change", () => heat(one.checked));
}
for (const slider of $$("[data-heat-strength]")) {
  const kept = localStorage.getItem("heat-strength");
  if (kept) slider.value = kept;
  const set = () => {
    slider.closest("[data-viewer]").style.setProperty("--heat", slider.value / 100);
    localStorage.setItem("heat-strength", slider.value);
  };
  slider.addEventListener("input", () => { set(); heat(true); });
  set();
}

// --- the viewer: zoom about the pointer, drag to move, 0 fits; nothing jumps by itself

for (const viewer of $$("[data-viewer]")) {
  const stage = $(".stage", viewer), sheet = $(".sheet", viewer);
  let scale = 1, x = 0, y = 0;
  const show = () => {
    const limit = (size) => (size * (scale - 1)) / 2;
    x = Math.max(-limit(sheet.offsetWidth), Math.min(limit(sheet.offsetWidth), x));
    y = Math.max(-limit(sheet.offsetHeight), Math.min(limit(sheet.offsetHeight), y));
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stage.classList.toggle("zoomed", scale > 1);
    sheet.classList.toggle("crisp", scale > 3);
  };
  const zoom = (factor, at) => {
    const box = stage.getBoundingClientRect();
    const px = (at?.clientX ?? box.left + box.width / 2) - box.left - box.width / 2;
    const py = (at?.clientY ?? box.top + box.height / 2) - box.top - box.height / 2;
    const next = Math.max(1, Math.min(12, scale * factor));
    x = px - ((px - x) * next) / scale;
    y = py - ((py - y) * next) / scale;
    scale = next;
    show();
  };
  const fit = () => { scale = 1; x = y = 0; show(); };
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && scale === 1 && event.deltaY > 0) return;      // the page scrolls on
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0022), event);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => (scale > 1 ? fit() : zoom(3, event)));
  stage.addEventListener("pointerdown", (event) => {
    if (scale === 1) return;
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragging");
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stage.classList.contains("dragging")) return;
    x += event.movementX; y += event.movementY; show();
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => stage.classList.remove("dragging"));
  stage.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") fit();
    else if (move && scale > 1) { x += move[0]; y += move[1]; show(); }
    else return;
    event.preventDefault();
  });
  for (const button of $$("[data-zoom]", viewer)) {
    button.addEventListener("click", () => ({ in: () => zoom(1.5), out: () => zoom(1 / 1.5), fit })[button.dataset.zoom]());
  }
}

// --- keys: what is printed on a button presses it, unless somebody is writing

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input:not([type=checkbox], [type=range], [type=radio]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.toLowerCase();
  if (key === "h") { heat(root.dataset.heat !== "on"); return; }
  const pressed = $(`[data-key="${CSS.escape(key)}"]`);
  if (pressed && !pressed.matches(":disabled")) { event.preventDefault(); pressed.click(); }
});

for (const form of $$("[data-answers]")) {
  form.addEventListener("submit", () => form.classList.add("sent"));
}
for (const field of $$("[data-submit]")) field.addEventListener("change", () => field.form.requestSubmit());

// --- an action that is linked to opens

function openLinked() {
  const linked = location.hash && document.getElementById(location.hash.slice(1));
  const details = linked && $("details", linked);
  if (details) { details.open = true; linked.scrollIntoView({ block: "start" }); }
}
addEventListener("hashchange", openLinked);
openLinked();

tellTimes();
setInterval(tellTimes, 1000);
