// The screen on which images are annotated: one after the other, each kept as it grows, the next one here before it is asked for.
import * as api from "./api.js";
import { palette } from "./classes.js";
import { ambiguous, conflict, miniature } from "./dialogs.js";
import { Drafts } from "./drafts.js";
import { Editor } from "./editor.js";
import { listen, ownForms } from "./keys.js";
import { Queue } from "./queue.js";
import { watchSession } from "./session.js";
import { Side } from "./side.js";
import { answer, toggleClass, undecided, verdict } from "./store.js";
import { $, $$, h, say, sentence, t } from "./texts.js";

const room = $("#room"), { kind, person, batch, by } = room.dataset;
const editor = new Editor($("#stage")), { store } = editor, side = new Side(editor);
const drafts = new Drafts(person), queue = new Queue("label", batch);
const RETRY_MS = 3000, EMPTY_MS = 5000;
let task = null, warned = false, opening = false, poll = 0;
const disputes = `/annotate/adjudicate${batch ? `?batch=${batch}` : ""}`;
const live = () => Boolean(task) && room.dataset.shown === task.task_id;   // its image is on the screen

// --- one task after the other

async function show(next, ahead = false) {
  if (!next) { nothing(); return; }
  task = next;
  warned = false;
  const { image } = task;
  room.dataset.shown = room.dataset.given = "";
  editor.paused = true;
  $("#nothing").hidden = true;
  $("#work").hidden = $("#save").hidden = false;
  if (!ahead) $("#waiting").hidden = false;
  banner(task.note ? `${t("page.sent-back")}: ${task.note}` : "");
  const place = [!batch && task.batch_name, image.name, image.part_id, task.priority > 0 && task.priority_reason].filter(Boolean).join(" · ");
  $("#about").textContent = $("#about").title = place;
  const [picture, taxonomy] = await Promise.all([queue.picture(image).catch(unshown), queue.taxonomy(task.taxonomy_version)]);
  if (task !== next) return;
  const classes = palette(taxonomy), opened = drafts.open(task);
  editor.load(image, picture, start(opened.doc), classes);
  side.load(task, classes);
  $("#waiting").hidden = true;
  editor.paused = false;
  room.dataset.shown = task.task_id;
  if (!ahead) room.dataset.given = task.task_id;   // else the registry's word is still on its way
  if (kind === "label") history.replaceState(null, "", `/annotate/${task.task_id}${batch ? `?batch=${batch}` : ""}`);
  performance.mark("andon-ready", { detail: task.task_id });
  earlier(classes);
  if (opened.begun?.points?.length && editor.tools[opened.begun.tool]?.points) {
    editor.set({ tool: opened.begun.tool });
    editor.tool.points = opened.begun.points;
    editor.draw();
  }
  say(t("said.image", { name: image.name, left: task.note ?? "" }));
  if (document.activeElement === document.body || ahead) $("#canvas").focus({ preventScroll: true });
  if (opened.conflict) settle(opened.conflict);
}

// Where an annotation begins: at what was drawn, at the answer that is decided by, or at a proposal. Of a proposal only the shapes
// are taken, to be confirmed one by one; of an own answer that was sent back, everything.
function start(doc) {
  const { proposal, note } = task, chosen = task.answers.find((one) => one.annotation_id === by)?.annotation;
  if (doc ?? chosen) return doc ?? chosen;
  return proposal && (note ? proposal : { shapes: proposal.shapes });
}

function unshown(error) {
  if (error instanceof api.Away) throw error;
  banner(t("page.broken"));
  return new OffscreenCanvas(1, 1);
}

function nothing() {
  task = null;
  room.dataset.shown = room.dataset.given = "";
  $("#work").hidden = $("#save").hidden = true;
  $("#nothing").hidden = false;
  $("#about").textContent = "";
  banner("");
  clearTimeout(poll);
  if (person) poll = setTimeout(() => { if (!task) open(); }, EMPTY_MS);
}

async function open(id, after) {
  if (opening) return;
  opening = true;
  try {
    await show(id ? await api.task(id) : await queue.take(after));
    if (id && kind === "label") queue.take(undefined).then((held) => { if (held && held.task_id !== id) queue.expect([held, ...queue.following]); }, () => {});
  } catch (error) {
    if (error instanceof api.Away) { banner(t("page.away")); setTimeout(() => open(id, after), RETRY_MS); } else { banner(error.message); nothing(); banner(error.message); }
  } finally { opening = false; }
}

// The task that follows is on the screen at once when it is here; the registry is told meanwhile, and its word counts.
async function onwards(left, before) {
  const likely = queue.ready();
  if (!likely) { if (before) await before; await open(null, left); return; }
  queue.following = queue.following.slice(1);
  const shown = show(likely, true);
  try {
    if (before) await before;
    const given = await queue.take(left);
    await shown;
    if (task !== likely) return;
    if (given && given.task_id !== likely.task_id && !store.past.length) { await show(given); return; }
    if (!given && !store.past.length) { nothing(); return; }
    room.dataset.given = likely.task_id;
    if (given?.task_id === likely.task_id) task.version = given.version;
    else if (given) queue.expect([given, ...queue.following]);
  } catch (error) {
    if (!(error instanceof api.Away)) banner(error.message);
  }
}

// --- sending

function send() {
  if (!live() || opening) return;
  const open = undecided(store.doc), said = answer(store.doc, side.good, task.taxonomy_version);
  if (editor.tool.points?.length) { banner(t("need.finish")); return; }
  if (open.length && !warned) {
    warned = true;
    store.select(open[0].shape_id);
    banner(t("need.proposals", { count: open.length }));
    return;
  }
  if (said.verdict === "labeled" && !said.classes.length && !said.shapes.length) { banner(t("need.something")); return; }
  const left = task.task_id, entry = { task_id: left, version: task.version, key: crypto.randomUUID() };
  const sent = drafts.post(kind === "decide" ? { ...entry, review: { decision: "decide", annotation: said, note: "" } } : { ...entry, annotation: said });
  say(t("said.sent"));
  if (kind === "decide") sent.then(() => { if (drafts.state !== "offline" && !drafts.lost) location.assign(disputes); });
  else onwards(left, sent);
}

function skip() {
  if (!live()) return;
  if (kind === "decide") { location.assign(disputes); return; }
  const left = task.task_id;
  onwards(left, drafts.save());
}

function good(thenSend) {
  if (!live()) return;
  if (!thenSend || !store.doc.classes.includes(side.good)) store.do(t("did.class"), toggleClass(side.good, side.good));
  if (thenSend) send();
}

const unusable = () => store.do(t("did.verdict"), verdict(store.doc.verdict === "unusable" ? "labeled" : "unusable"));
const doubt = () => (store.doc.verdict === "ambiguous" ? store.do(t("did.verdict"), verdict("labeled")) : ambiguous(store, editor.classes));

// --- keeping

store.addEventListener("changed", () => { warned = false; banner(task?.note ? `${t("page.sent-back")}: ${task.note}` : ""); keep(); });
const now = () => ({ ...store.doc, taxonomy_version: task.taxonomy_version });
const keep = () => drafts.keep(now(), editor.tool.points?.length ? { tool: editor.ui.tool, points: editor.tool.points } : null);
editor.addEventListener("begun", () => drafts.begun(editor.tool.points?.length ? { tool: editor.ui.tool, points: editor.tool.points } : null));
editor.addEventListener("warn", (event) => banner(event.detail));
drafts.addEventListener("warn", (event) => banner(event.detail));
drafts.addEventListener("lost", () => banner(t("page.gone")));
drafts.addEventListener("full", () => banner(t("save.full")));
drafts.addEventListener("state", () => {
  const place = $("#save"), text = t(`save.${drafts.state}`);
  if (place.dataset.state !== drafts.state && ["offline", "conflict", "refused"].includes(drafts.state)) say(text);
  place.dataset.state = drafts.state;
  if (place.textContent !== text) place.textContent = text;
});
drafts.addEventListener("conflict", (event) => settle(event.detail));
drafts.addEventListener("refused", ({ detail: { entry, error } }) => {
  drafts.lost = true;
  banner(t("save.refused-answer", { why: error.message }), h("a", { href: kind === "decide" ? location.pathname : `/annotate/${entry.task_id}` }, t("save.open")));
});

async function settle(theirs) {
  const chosen = await conflict(editor, now(), theirs);
  drafts.settle(theirs.version);
  store.do(t("did.merged"), () => ({ ...chosen }));
  keep();
}

function banner(text, ...more) {
  const place = $("#banner");
  place.hidden = !text;
  place.replaceChildren(text, ...(more.length ? [" ", ...more] : []));
}

// --- the earlier image of the same part

async function earlier(classes) {
  const place = $("#earlier"), before = task.previous_of_part[0], here = task;
  place.hidden = true;
  if (!before) return;
  try {
    const picture = await api.pictureLike(here.image, before.image_id);
    if (task !== here) return;
    const image = { width: picture.width, height: picture.height }, when = new Date(before.captured_at).toLocaleString();
    miniature($("canvas", place), picture, image, before.annotation?.shapes ?? [], classes, 2);
    const said = before.annotation?.classes.map(sentence).join(", ");
    $("span", place).textContent = said ? `${t("view.previous")}: ${said}` : t("view.previous");
    place.setAttribute("aria-label", t("view.previous.larger", { when }));
    place.hidden = false;
  } catch { /* a look back is no reason to stop */ }
}

// --- buttons

const setTool = (tool) => {
  if (!editor.allows(tool)) { banner(t("tool.not-allowed", { name: sentence(editor.ui.className) })); return; }
  editor.set({ tool });
  say(t("said.tool", { name: t(`tool.${tool}`) }));
};
const size = (by) => {
  if (editor.ui.tool === "flood") editor.set({ tolerance: Math.min(120, Math.max(1, editor.ui.tolerance + by * 3)) });
  else editor.set({ brush: Math.min(120, Math.max(1, editor.ui.brush + by * Math.max(1, Math.round(editor.ui.brush / 8)))) });
  say(t("said.size", { size: editor.ui.tool === "flood" ? editor.ui.tolerance : editor.ui.brush }));
};
const toggle = (name) => editor.set({ [name]: !editor.ui[name] });
for (const button of $$("[data-tool]")) button.addEventListener("click", () => setTool(button.dataset.tool));
for (const name of ["brush", "tolerance", "contrast", "brightness"]) $(`#${name}`).addEventListener("input", (event) => editor.set({ [name]: Number(event.target.value) }));
for (const name of ["instances", "denoise"]) $(`#${name}`).addEventListener("change", () => toggle(name));
$("#marks-on").addEventListener("change", () => toggle("hidden"));
$("#reset").addEventListener("click", () => editor.set({ contrast: 100, brightness: 100, denoise: false }));
for (const button of $$("[data-zoom-by]")) button.addEventListener("click", () => (Number(button.dataset.zoomBy) ? editor.zoom(Number(button.dataset.zoomBy)) : editor.fit()));
const WAYS = { left: [80, 0], right: [-80, 0], up: [0, 80], down: [0, -80] };
const pan = (way) => { editor.view.pan(...WAYS[way]); editor.draw(); };
for (const button of $$("[data-pan]")) button.addEventListener("click", () => pan(button.dataset.pan));
for (const [id, act] of Object.entries({ undo: () => editor.undo(), redo: () => editor.redo(), send, skip, good: () => good(false), unusable, ambiguous: doubt })) $(`#${id}`).addEventListener("click", act);
$("#earlier").addEventListener("click", () => $("#earlier").classList.toggle("large"));

editor.addEventListener("ui", () => {
  const { ui } = editor;
  for (const button of $$("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === ui.tool));
    button.classList.toggle("unfit", Boolean(editor.classes) && !editor.allows(button.dataset.tool));
  }
  for (const name of ["brush", "tolerance", "contrast", "brightness"]) $(`#${name}`).value = ui[name];
  $("#brush-size").textContent = ui.brush;
  $("#instances").checked = ui.instances;
  $("#denoise").checked = ui.denoise;
  $("#marks-on").checked = !ui.hidden;
});
const shown = () => {
  for (const name of ["ambiguous", "unusable"]) $(`#${name}`).setAttribute("aria-pressed", String(store.doc.verdict === name));
  $("#undo").disabled = !store.past.length && !editor.tool.points?.length;
  $("#redo").disabled = !store.future.length;
};
for (const name of ["begun", "changed"]) store.addEventListener(name, shown);
editor.addEventListener("begun", shown);

// --- keys

const pick = (number) => side.pick(editor.classes?.find((one) => one.key === String(number)));
const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const on = (act) => () => { if (live()) act(); };
const K = (keys, text, act) => [keys, text, act];
const backspace = on(() => { if (!editor.tool.back?.()) editor.removeShape(); });
listen([
  ["keys.tools", $$("[data-tool]").map((button) => K($("kbd", button).textContent, `tool.${button.dataset.tool}`, { [$("kbd", button).textContent.toLowerCase()]: on(() => setTool(button.dataset.tool)) }))],
  ["keys.drawing", [
    K("1 – 9", "keys.classes", Object.fromEntries(digits.map((n) => [n, on(() => pick(n))]))),
    K("⇧1 – ⇧9", "keys.whole", Object.fromEntries(digits.map((n) => [`Shift+${n}`, on(() => { const one = editor.classes.find((c) => c.key === String(n)); if (one) side.whole(one); })]))),
    K("← ↑ ↓ →", "keys.arrows"), K("⇧ + arrow", "keys.fine"), K("Alt + arrow", "keys.resize"),
    K("Space", "keys.press", { " ": on(() => { editor.space ??= "down"; }) }),
    K("Enter", "keys.finish", { Enter: on(() => editor.finish()) }),
    K("Esc", "keys.escape", { Escape: on(() => editor.cancel()) }),
    K("[ ]", "keys.size", { "[": on(() => size(-1)), "]": on(() => size(1)) }),
    K("I", "tool.instances", { i: on(() => toggle("instances")) }),
  ]],
  ["keys.marks", [
    K(", .", "keys.step", { ",": on(() => editor.step(-1)), ".": on(() => editor.step(1)) }),
    K("⌫", "keys.back", { Backspace: backspace, Delete: backspace }),
    K("A D", "keys.accept", { a: on(() => editor.decide(true)), d: on(() => editor.decide(false)) }),
    K("⇧A", "keys.accept-all", { "Shift+a": on(() => editor.acceptAll()) }),
    K("T", "keys.corner", { t: on(() => editor.nextCorner()) }),
    K("Ctrl+Z", "do.undo", { "Ctrl+z": on(() => editor.undo()) }),
    K("Ctrl+⇧Z", "do.redo", { "Ctrl+Shift+z": on(() => editor.redo()), "Ctrl+y": on(() => editor.redo()) }),
  ]],
  ["keys.image", [
    K("G", "do.good", { g: on(() => good(false)) }), K("⇧G", "keys.good-send", { "Shift+g": on(() => good(true)) }),
    K("N Ctrl+Enter", "keys.send", { n: send, "Ctrl+Enter": send }), K("S", "do.skip", { s: skip }),
    K("Q", "do.ambiguous", { q: on(doubt) }), K("U", "do.unusable", { u: on(unusable) }),
    K("+ - 0", "keys.zoom", { "+": on(() => editor.zoom(1.4)), "=": on(() => editor.zoom(1.4)), "-": on(() => editor.zoom(1 / 1.4)), 0: on(() => editor.fit()) }),
    K("H", "keys.marks.hide", { h: on(() => toggle("hidden")) }), K("O", "view.previous", { o: on(() => $("#earlier").click()) }),
    K("/", "keys.search", { "/": () => $("#search").focus() }), K("?", "keys.help"),
  ]],
], { arrow: (way, how) => { if (live()) editor.arrow(way, how); } });
addEventListener("keyup", (event) => {
  if (event.key !== " " || !editor.space) return;
  if (editor.space === "down" && live()) editor.pressHere();
  editor.space = null;
});

ownForms();
addEventListener("pagehide", () => { if (task) api.release(task.task_id).catch(() => {}); });
watchSession();
if (person) { drafts.deliver(); open(room.dataset.task || null); }
globalThis.andon = { editor, store, drafts, queue };   // for tests and for whoever looks into a browser's console
