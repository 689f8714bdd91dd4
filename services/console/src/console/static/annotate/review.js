// The screen on which a second person looks: answers side by side or one over the other, what differs in front.
import * as api from "./api.js";
import { find, palette } from "./classes.js";
import { compare, differs } from "./compare.js";
import { noteForBack } from "./dialogs.js";
import { Drafts } from "./drafts.js";
import { listen, ownForms } from "./keys.js";
import { covered, drawPicture, drawShape, frame, patchOf, prepared } from "./paint.js";
import { Queue } from "./queue.js";
import { watchSession } from "./session.js";
import { $, $$, h, say, sentence, t } from "./texts.js";
import { View } from "./view.js";

const room = $("#room"), { kind, person, batch } = room.dataset;
const view = new View(), queue = new Queue(kind, batch), drafts = new Drafts(person);
const RETRY_MS = 3000, EMPTY_MS = 5000, DASHES = [[], [8, 5], [2, 4], [12, 4, 2, 4]];
const letter = (number) => String.fromCharCode(65 + number);
let task = null, picture = null, classes = [], pairs = [], chosen = 0, way = "side", at = -1, asked = false;

// --- one task after the other

async function show(next, ahead = false) {
  task = next;
  room.dataset.shown = room.dataset.given = "";
  $("#nothing").hidden = Boolean(task);
  $("#work").hidden = !task;
  if (!task) { $("#about").textContent = ""; if (person) setTimeout(() => { if (!task) open(); }, EMPTY_MS); return; }
  const [image, taxonomy] = await Promise.all([queue.picture(task.image), queue.taxonomy(task.taxonomy_version)]);
  if (task !== next) return;
  [picture, classes, chosen, at] = [image, palette(taxonomy), 0, -1];
  picture.onmore = draw;
  const said = task.answers.map((one) => one.annotation);
  pairs = said.length > 1 ? compare(said[0], said[1], task.image, patchOf) : [];
  $("#about").textContent = [!batch && task.batch_name, task.image.name, task.image.part_id, task.priority > 0 && task.priority_reason].filter(Boolean).join(" · ");
  history.replaceState(null, "", `/annotate/${kind}/${task.task_id}${batch ? `?batch=${batch}` : ""}`);
  lay();
  words();
  room.dataset.shown = task.task_id;
  if (!ahead) room.dataset.given = task.task_id;
  say(t("said.image", { name: task.image.name, left: $("#differences-count").textContent }));
  before();
}

async function open(id, after) {
  try {
    const next = id ? await api.task(id) : await queue.take(after);
    await show(next);
    if (id) queue.take().catch(() => {});
  } catch (error) {
    banner(error instanceof api.Away ? t("page.away") : error.message);
    if (error instanceof api.Away) setTimeout(() => open(id, after), RETRY_MS); else await show(null);
  }
}

// What the registry has not given yet may still make room for another image: nobody decides on that one unseen.
const given = () => task && room.dataset.given === task.task_id;

async function decide(said, word) {
  if (!given()) return;
  room.dataset.given = "";
  const left = task, likely = queue.ready();
  const sent = drafts.post({ task_id: left.task_id, version: left.version, key: crypto.randomUUID(), review: said });
  banner("");
  say(word);
  if (likely) { queue.following = queue.following.slice(1); await show(likely, true); }
  await sent;
  try {
    const next = await queue.take(left.task_id);
    if (!likely || next?.task_id !== task?.task_id) await show(next);
    else if (next) { task.version = next.version; room.dataset.given = next.task_id; }
  } catch (error) { banner(error instanceof api.Away ? t("page.away") : error.message); setTimeout(() => open(null, left.task_id), RETRY_MS); }
}

const accept = () => task && decide({ decision: kind === "review" ? "approve" : "decide", annotation_id: task.answers[chosen].annotation_id, note: "" }, t("review.accepted"));
async function back() {
  if (!given() || kind === "adjudicate") return;
  const note = await noteForBack();
  if (note) decide({ decision: "send-back", annotation_id: task.answers[chosen].annotation_id, note }, t("review.sent-back"));
}
const skip = () => task && open(null, task.task_id);
const own = () => { if (task && kind === "adjudicate") location.assign($("#decide").href); };

// --- what is shown

function lay() {
  const count = way === "over" ? 1 : task.answers.length;
  $("#panes").replaceChildren(...Array.from({ length: count }, (_, number) => {
    const name = way === "over" ? t("review.over") : `${letter(number)} · ${task.answers[number].author}`;
    const canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": `${name}: ${way === "over" ? "" : told(task.answers[number].annotation)}` });
    follow(canvas);
    return h("div", { class: "pane" }, canvas, h("p", {}, name));
  }));
  const first = $("#panes canvas");
  view.resize(first.clientWidth, first.clientHeight);
  view.fit(task.image);
  for (const one of $$(".view-bar > .tabs, .view-bar > kbd")) one.hidden = task.answers.length < 2;
  for (const button of $$("[data-way]")) button.setAttribute("aria-pressed", String(button.dataset.way === way));
  draw();
}

// A pane that grows or shrinks, as when a tablet is turned, still shows the whole image where it did before.
function keepPlace() {
  const first = $("#panes canvas"), fitted = Math.abs(view.scale - view.least) < 1e-6;
  if (!task || !first) return;
  view.resize(first.clientWidth, first.clientHeight);
  if (fitted) view.fit(task.image);
  draw();
}

function draw() {
  if (asked || !task) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    if (!task) return;
    $$(".pane").forEach((pane, number) => {
      pane.classList.toggle("chosen", way === "side" && number === chosen && task.answers.length > 1);
      const ink = prepared($("canvas", pane), view);
      drawPicture(ink, picture, view, task.image);
      const shown = way === "over" ? task.answers.map((_, each) => each) : [number];
      for (const each of shown) answerOn(ink, each);
      const open = pairs[at];
      if (open) for (const shape of [open.a, open.b]) if (shape) frame(ink, grown(covered(shape)), view, "#ffe14d", [4, 4]);
    });
  });
}

const grown = ([x, y, w, hgt], by = 5 / view.scale) => [x - by, y - by, w + 2 * by, hgt + 2 * by];

function answerOn(ink, number) {
  for (const shape of task.answers[number].annotation.shapes) {
    const pair = pairs.find((one) => one.a === shape || one.b === shape);
    const quiet = Boolean(pair) && !differs(pair);
    drawShape(ink, shape, view, classes, { quiet, selected: false, dash: way === "over" ? DASHES[number % DASHES.length] : null, tag: task.answers.length > 1 ? `${letter(number)} ·` : "", label: !(quiet && way === "over" && number) });
  }
}

function told(said) {
  const names = [...said.classes, ...said.shapes.map((shape) => shape.class_name)].map(sentence);
  const counted = [...new Set(names)].map((name) => `${name} × ${names.filter((one) => one === name).length}`.replace(" × 1", ""));
  const why = said.ambiguity ? ` – ${t(`ambiguous.${said.ambiguity.reason}`)}${said.ambiguity.note ? `: ${said.ambiguity.note}` : ""}` : "";
  return (said.verdict === "labeled" ? counted.join(", ") || "–" : [t(`review.${said.verdict}`), ...counted].join(", ")) + why;
}

function words() {
  $("#answers").replaceChildren(...task.answers.map((one, number) => h("button", { type: "button", "aria-pressed": String(number === chosen), onclick: () => choose(number) },
    h("span", { class: "fill" }, h("b", {}, `${letter(number)} · ${one.author}`), h("small", {}, told(one.annotation))), task.answers.length > 1 && h("kbd", {}, String(number + 1)))));
  const rows = differences();
  $("#differences-count").textContent = rows.filter((row) => row.differs).length || "";
  $("#differences").replaceChildren(...rows.map((row) => h("li", {}, row.pair
    ? h("button", { type: "button", class: "mark", "data-pair": pairs.indexOf(row.pair), "aria-pressed": String(pairs[at] === row.pair), onclick: () => look(pairs.indexOf(row.pair)) },
      h("span", { class: `chip hatch-${row.one.hatch}`, colour: row.one.colour, "aria-hidden": "true" }, row.differs ? "≠" : "="), h("span", { class: "fill" }, h(row.differs ? "b" : "span", {}, row.text)))
    : h("p", { class: row.differs ? "hint" : "faint" }, row.text))));
  const name = task.answers[chosen] ? `${letter(chosen)} · ${task.answers[chosen].author}` : "";
  $("#accept").replaceChildren(task.answers.length > 1 ? t("review.accept.of", { who: letter(chosen) }) : t("review.accept"), " ", h("kbd", {}, "A"));
  $("#accept").title = name;
  $("#accept").disabled = !task.answers.length;
  if (kind === "adjudicate") $("#decide").href = `/annotate/adjudicate/${task.task_id}/decide?${new URLSearchParams({ ...(task.answers[chosen] && { by: task.answers[chosen].annotation_id }), ...(batch && { batch }) })}`;
}

function differences() {
  if (task.answers.length < 2) return [{ text: t("review.alone"), differs: false }];
  const [a, b] = task.answers.map((one) => one.annotation), rows = [];
  if (a.verdict !== b.verdict) rows.push({ differs: true, text: t("review.verdicts", { what: `A ${t(`review.${a.verdict}`)}, B ${t(`review.${b.verdict}`)}` }) });
  const whole = (said) => said.classes.map(sentence).sort().join(", ") || "–";
  if (whole(a) !== whole(b)) rows.push({ differs: true, text: t("review.classes", { what: `A ${whole(a)}, B ${whole(b)}` }) });
  const order = [...pairs].sort((one, other) => Number(differs(other)) - Number(differs(one)));
  for (const pair of order) {
    const shape = pair.a ?? pair.b, what = sentence(shape.class_name), percent = Math.round(100 * pair.iou);
    const text = pair.kind === "only" ? t("review.only", { who: pair.a ? "A" : "B", what })
      : pair.kind === "other-class" ? t("review.other-class", { who: `A ${what}, B ${sentence(pair.b.class_name)}`, iou: percent })
      : t("review.match", { what, iou: percent });
    rows.push({ pair, text, differs: differs(pair), one: find(classes, shape.class_name) });
  }
  if (!rows.some((row) => row.differs)) rows.unshift({ text: t("review.same"), differs: false });
  return rows;
}

async function before() {
  const here = task, place = $("#history");
  place.replaceChildren();
  try {
    const { history: items } = await api.image(task.image.image_id);
    if (task !== here) return;
    const when = (moment) => new Date(moment).toLocaleString();
    place.replaceChildren(...(items.length ? items.map((item) => h("li", {}, h("b", {}, t("review.history.line", { who: item.author, when: when(item.made_at), what: told(item.annotation) })),
      ...item.decisions.map((one) => h("span", {}, `${sentence(one.decision)} – ${one.by}, ${when(one.decided_at)}${one.note ? `: ${one.note}` : ""}`)))) : [h("li", { class: "faint" }, t("review.history.none"))]));
  } catch { /* the work goes on without it */ }
}

function choose(number) { if (!task?.answers[number]) return; chosen = number; words(); draw(); say(`${letter(number)} · ${task.answers[number].author}`); }
function look(number) {
  at = number;
  const pair = pairs[at], boxes = [pair.a, pair.b].filter(Boolean).map(covered);
  const [left, top] = [Math.min(...boxes.map((b) => b[0])), Math.min(...boxes.map((b) => b[1]))];
  view.look([left, top, Math.max(...boxes.map((b) => b[0] + b[2])) - left, Math.max(...boxes.map((b) => b[1] + b[3])) - top]);
  const focused = document.activeElement?.dataset?.pair;
  words();
  if (focused) $(`[data-pair="${focused}"]`)?.focus();
  say($(`[data-pair="${at}"]`)?.textContent ?? "");
  draw();
}
function step(by) {
  const open = pairs.map((_, number) => number).filter((number) => differs(pairs[number]));
  if (open.length) look(open[(open.indexOf(at) + by + (at < 0 && by < 0 ? 1 : 0) + open.length) % open.length]);
}
function turn(next = way === "side" ? "over" : "side") { way = next; if (task) lay(); }
function banner(text) { $("#banner").hidden = !text; $("#banner").textContent = text; }

// --- all panes move together

function follow(canvas) {
  const here = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const held = new Map();
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, here(event)); });
  canvas.addEventListener("pointermove", (event) => {
    const was = held.get(event.pointerId), now = here(event);
    if (!was) return;
    if (held.size === 2) {
      const other = [...held].find(([id]) => id !== event.pointerId)[1], far = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      view.zoom(far(now) / Math.max(1, far(was)), other);
    } else view.pan(now[0] - was[0], now[1] - was[1]);
    held.set(event.pointerId, now);
    draw();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => held.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); view.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 0.0025), here(event)); draw(); }, { passive: false });
  new ResizeObserver(keepPlace).observe(canvas);
}

const zoom = (by) => { if (!task) return; if (by) view.zoom(by); else view.fit(task.image); draw(); };
for (const button of $$("[data-zoom-by]")) button.addEventListener("click", () => zoom(Number(button.dataset.zoomBy)));
for (const button of $$("[data-way]")) button.addEventListener("click", () => turn(button.dataset.way));
for (const [id, act] of Object.entries({ accept, back, skip })) $(`#${id}`).addEventListener("click", act);

listen([
  ["keys.marks", [
    ["1 2 3", "review.key.choose", Object.fromEntries([1, 2, 3, 4].map((n) => [n, () => choose(n - 1)]))],
    ["A", "review.key.accept", { a: accept }],
    ...(kind === "review" ? [["B", "review.key.back", { b: back }]] : [["E", "review.key.decide", { e: own }]]),
    ["S", "do.skip", { s: skip }],
  ]],
  ["keys.image", [
    ["O", "review.key.view", { o: () => turn() }],
    [", .", "review.key.step", { ",": () => step(-1), ".": () => step(1) }],
    ["+ - 0", "keys.zoom", { "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: () => zoom(0) }],
    ["← ↑ ↓ →", "view.title"], ["?", "keys.help"],
  ]],
], { arrow: ([dx, dy]) => { if (task) { view.pan(-dx * 60, -dy * 60); draw(); } } });
drafts.addEventListener("refused", ({ detail: { error } }) => banner(t("save.refused-answer", { why: error.message })));
drafts.addEventListener("state", () => { if (drafts.state === "offline") banner(t("page.away")); });

ownForms();
watchSession();
addEventListener("pagehide", () => { if (task) api.release(task.task_id).catch(() => {}); });
if (person) { drafts.deliver(); open(room.dataset.task || null); }
