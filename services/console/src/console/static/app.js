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

function keepImages(part, fresh) {                 // images that are there already do not flicker
  const known = new Map($$("img", part).map((image) => [image.getAttribute("src"), image]));
  for (const image of $$("img", fresh)) {
    const same = known.get(image.getAttribute("src"));
    if (same) { known.delete(image.getAttribute("src")); image.replaceWith(same); }
  }
}

function replace(part, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  keepImages(part, fresh);
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceChildren(...fresh.childNodes);
  if (focused) $(`[href="${CSS.escape(focused)}"]`, part)?.focus({ preventScroll: true });
  tellTimes(part);
}

async function refresh(part) {
  try {
    const headers = part.tag ? { "If-None-Match": part.tag } : {};
    const answer = await fetch(part.url, { headers, cache: "no-store" });
    if (answer.status === 401) { signedOut(); return; }
    if (answer.status !== 304 && !answer.ok) throw new Error(answer.statusText);
    if (answer.status === 200) {
      const changed = part.tag !== undefined;
      part.tag = answer.headers.get("ETag");
      const html = await answer.text();
      if (!part.element.isConnected) return;
      if (part.reload) { if (changed) visit(location.href); } else replace(part.element, html);
    }
    $("#session-over")?.remove();
    state(true);
  } catch {
    state(false);
  }
}

function state(fine, text = fine ? "Live" : "Connection lost") {
  const live = $("#live");
  if (!live) return;
  live.classList.toggle("lost", !fine);
  if (live.textContent !== text) live.textContent = text;
}

function follow(part) {
  const turn = async () => {
    if (!part.element.isConnected) return;         // its page was left
    if (!document.hidden) await refresh(part);
    setTimeout(turn, part.every);
  };
  const shown = () => {
    if (!part.element.isConnected) document.removeEventListener("visibilitychange", shown);
    else if (!document.hidden) refresh(part);
  };
  setTimeout(turn, part.every);
  document.addEventListener("visibilitychange", shown);
}

function followParts() {
  for (const element of $$("[data-live]")) {
    follow({ element, url: element.dataset.live, every: 1000 * Number(element.dataset.every) });
  }
  for (const element of $$("[data-reload-when]")) {
    const part = { element, url: element.dataset.reloadWhen, every: 3000, reload: true };
    refresh(part).then(() => follow(part));
  }
}

// --- theme

document.addEventListener("click", (event) => {
  if (!event.target.closest("#theme")) return;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

// --- heat maps, on or off for the whole console

const SWITCHES = "#heat-all, [data-heat-switch]";

function heat(on) {
  root.dataset.heat = on ? "on" : "off";
  localStorage.setItem("heat", root.dataset.heat);
  showHeat();
}

function showHeat() {
  for (const one of $$(SWITCHES)) one.checked = root.dataset.heat === "on";
  const kept = localStorage.getItem("heat-strength");
  for (const slider of $$("[data-heat-strength]")) {
    if (kept) slider.value = kept;
    slider.closest("[data-viewer]").style.setProperty("--heat", slider.value / 100);
  }
}

document.addEventListener("change", (event) => {
  if (event.target.matches(SWITCHES)) heat(event.target.checked);
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-heat-strength]")) return;
  localStorage.setItem("heat-strength", event.target.value);
  heat(true);
});

// --- the viewer: zoom about the pointer, drag to move, 0 fits; nothing jumps by itself

function wakeViewer(viewer) {
  const stage = $(".stage", viewer), sheet = $(".sheet", viewer);
  const large = $("[data-tiles]", viewer);         // drawn from tiles, down to its pixels
  let scale = 1, x = 0, y = 0, drawDeep = () => {};
  const most = () => (large ? Math.max(12, (8 * large.dataset.side) / Math.max(stage.clientWidth, stage.clientHeight)) : 12);
  const show = () => {
    const limit = (size) => (size * (scale - 1)) / 2;
    x = Math.max(-limit(sheet.offsetWidth), Math.min(limit(sheet.offsetWidth), x));
    y = Math.max(-limit(sheet.offsetHeight), Math.min(limit(sheet.offsetHeight), y));
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stage.classList.toggle("zoomed", scale > 1);
    sheet.classList.toggle("crisp", scale > 3);
    drawRegions(scale, x, y);
    drawDeep(scale, x, y);
  };
  const zoom = (factor, at) => {
    const box = stage.getBoundingClientRect();
    const px = (at?.clientX ?? box.left + box.width / 2) - box.left - box.width / 2;
    const py = (at?.clientY ?? box.top + box.height / 2) - box.top - box.height / 2;
    const next = Math.max(1, Math.min(most(), scale * factor));
    x = px - ((px - x) * next) / scale;
    y = py - ((py - y) * next) / scale;
    scale = next;
    show();
  };
  const fit = () => { scale = 1; x = y = 0; show(); };
  const drawRegions = wakeRegions(viewer, (box, width, height) => {   // the box in the middle, with some of what is around it
    const fitted = Math.min(stage.clientWidth / width, stage.clientHeight / height);
    scale = Math.max(1, Math.min(most(), (0.4 * stage.clientWidth) / (fitted * box.width), (0.4 * stage.clientHeight) / (fitted * box.height)));
    x = (width / 2 - box.x - box.width / 2) * fitted * scale;
    y = (height / 2 - box.y - box.height / 2) * fitted * scale;
    show();
  });
  new ResizeObserver(show).observe(stage);
  if (large) import(large.dataset.module).then(({ deep }) => deep(large, show)).then((draw) => { drawDeep = draw; show(); }, () => say("The image did not come; load the page again."));
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

// --- forms are sent, and the next page is shown, without leaving this one: no key falls between two pages, no answer is
// lost with the connection, and no verdict goes to an image that is not on the screen yet

const DECODE_MS = 2000;
let underWay = false;

async function visit(url, options = {}, place = "") {
  if (underWay) return;
  underWay = true;
  try {
    const answer = await fetch(url, { ...options, cache: "no-store" });
    if (options.method && answer.redirected && at(answer.url) === "/sign-in" && !["/sign-in", "/sign-out", "/account/password"].includes(at(url))) {
      signedOut();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.status >= 500) throw new Error(answer.statusText);
    await decoded($("[data-full]", page));
    if (answer.redirected || !options.method) {
      const way = answer.url === location.href ? "replaceState" : "pushState";
      history[way](null, "", answer.url);
    }
    show(page);
    if (place && document.getElementById(place)) {  // still there: what was said is about it
      history.replaceState(null, "", `#${place}`);
      openLinked();
    }
    state(true);
  } catch {
    state(false);
    say(options.method ? "That did not get through. Nothing is lost: once the connection is back, press again."
                       : "The next page did not come; try again.");
  } finally {
    underWay = false;
    for (const form of $$("form.sent")) form.classList.remove("sent");
  }
}

const at = (url) => new URL(url, location.href).pathname;

// The page stays as it is, with all that was typed: sign in beside it, then go on here.
function signedOut() {
  state(false, "Signed out");
  if ($("#session-over, #signed-out")) return;
  const line = Object.assign(document.createElement("p"), { id: "session-over", className: "notice", textContent: "You are signed out. Nothing on this page is lost: " });
  line.setAttribute("role", "alert");
  line.append(Object.assign(document.createElement("a"), { href: `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`, target: "_blank", textContent: "sign in in another window" }), ", then go on here.");
  $("#content")?.prepend(line);
}

async function decoded(image) {
  if (!image) return;
  const patience = new Promise((done) => setTimeout(done, DECODE_MS));
  const copy = new Image();
  copy.src = image.getAttribute("src");
  await Promise.race([copy.decode().catch(() => {}), patience]);    // a broken image is shown as one
}

function show(page) {
  for (const link of $$("link[rel=prefetch]")) link.remove();
  document.head.append(...$$("link[rel=prefetch]", page));
  document.title = page.title;
  keepImages(document.body, page.body);
  document.body.replaceChildren(...page.body.childNodes);
  scrollTo(0, 0);
  $("#content")?.focus({ preventScroll: true });
  wake();
}

function say(text) {
  $(".said")?.remove();
  const line = Object.assign(document.createElement("p"), { className: "said", textContent: text });
  line.setAttribute("role", "status");
  $("#content").prepend(line);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  if (underWay) return;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  form.classList.add("sent");
  visit(form.action, { method: "POST", body }, form.closest("article[id]")?.id);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-key]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  visit(link.href);
});

addEventListener("popstate", () => { if (!location.hash) visit(location.href); });

// --- keys: what is printed on a button presses it, unless somebody is writing

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || underWay) return;
  if (event.target.closest("input:not([type=checkbox], [type=range], [type=radio]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.toLowerCase();
  if (key === "h") { heat(root.dataset.heat !== "on"); return; }
  if (key === "r" && $(REGION_SWITCH)) { regions(root.dataset.regions === "off"); return; }
  const pressed = $(`[data-key="${CSS.escape(key)}"]`);
  if (pressed && !pressed.matches(":disabled")) { event.preventDefault(); pressed.click(); }
});

// --- an action that is linked to opens

function openLinked() {
  const linked = location.hash && document.getElementById(location.hash.slice(1));
  const details = linked && $("details", linked);
  if (details) { details.open = true; linked.scrollIntoView({ block: "start" }); }
}
addEventListener("hashchange", openLinked);

// --- a page wakes up, after it was loaded or shown in place of another

function wake() {
  followParts();
  showHeat();
  showRegions();
  $$("[data-viewer]").forEach(wakeViewer);
  openLinked();
  tellTimes();
  $(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });   // on a phone the row is longer than the screen
}

wake();
setInterval(tellTimes, 1000);
