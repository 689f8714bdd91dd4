// All words come from one catalogue, which the page carries; and small helpers to put them on the page.

const catalogue = () => JSON.parse(document.getElementById("texts").textContent);
let known = null;

// The text of a key with its blanks filled: t("said.size", { size: 2 }).
export function t(key, blanks = {}) {
  known ??= catalogue();
  return (known[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => blanks[name] ?? "");
}

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// An element; `dataset` and plain properties as they are, everything else as attributes.
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "onclick") made.addEventListener("click", value);
    else if (name === "colour") made.style.setProperty("--c", value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const sentence = (name) => { const text = name.replace(/[-_]/g, " ").trim(); return text.charAt(0).toUpperCase() + text.slice(1); };

export function say(text) {
  const live = $("#said");
  live.textContent = "";
  requestAnimationFrame(() => { live.textContent = text; });
}
