// Keys: what they do, how they are shown, and when they act.
import { $, $$, h, t } from "./texts.js";

const SWITCH = "andon single keys";

// Wires a table of groups, each of [keys as shown, text, handlers by key], and fills the sheet with it.
export function listen(groups, { arrow } = {}) {
  const handlers = Object.assign({}, ...groups.flatMap(([, rows]) => rows.map((row) => row[2] ?? {})));
  $("#key-table").replaceChildren(...groups.map(([title, rows]) => h("section", {},
    h("h3", {}, t(title)),
    h("dl", {}, ...rows.map(([keys, text]) => h("div", {}, h("dt", {}, ...keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, t(text))))))));
  const sheet = $("#keys"), on = $("#keys-on");
  on.checked = localStorage.getItem(SWITCH) !== "off";
  on.addEventListener("change", () => localStorage.setItem(SWITCH, on.checked ? "on" : "off"));
  const show = () => (sheet.open ? sheet.close() : sheet.showModal());
  $("#show-keys").addEventListener("click", show);

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (target.closest?.("input:not([type=checkbox], [type=range], [type=radio]), textarea, select")) {
      if (key === "Escape") target.blur();
      if (!(event.ctrlKey && key === "Enter")) { event.stopPropagation(); return; }
    }
    if ($$("dialog[open]").length) { event.stopPropagation(); if (key === "?") show(); return; }
    const onImage = target.tagName === "CANVAS" || target === document.body || target.id === "content";
    const widget = target.closest?.("button, a, summary, input, [role=button]");
    const name = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey && /^[a-z]$/i.test(key) ? "Shift+" : ""}${key.length === 1 ? key.toLowerCase() : key}`;
    let done = null;
    if (ARROWS[key] && arrow && onImage && !(event.ctrlKey || event.metaKey)) done = () => arrow(ARROWS[key], { shift: event.shiftKey, alt: event.altKey });
    else if (event.shiftKey && /^Digit[1-9]$/.test(event.code)) done = handlers[`Shift+${event.code.at(-1)}`];
    else if (!event.altKey && !(widget && ["Enter", " "].includes(key)) && !(target.type === "range" && key.startsWith("Arrow"))) done = handlers[name];
    if (done && name.length === 1 && name !== " " && !on.checked && !onImage) done = null;
    if (key === "?") done = show;
    if (!done) return;
    event.preventDefault();
    event.stopPropagation();                       // the console's own keys rest here
    if (event.repeat && !ARROWS[key] && !["[", "]", "+", "-", "Ctrl+z", "Backspace"].includes(name)) return;
    done(event);
  }, true);
}

// Whoever says another name gets the whole page anew: these scripts belong to one person.
export function ownForms() {
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "dialog") event.stopImmediatePropagation();
  }, true);
  $("#batch").addEventListener("change", (event) => {
    const query = event.target.value ? `?batch=${event.target.value}` : "";
    location.assign($(".room-bar .tabs [aria-current]").href.split("?")[0] + query);
  });
}
