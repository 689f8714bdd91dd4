// What pointer and keys do on the image, one object for each tool. A press is a click, a touch or the space bar; all points
// are pixels of the image. A tool that waits for a second press needs no dragging.
import { find } from "./classes.js";
import { boxOf, clamp, crossesItself, distance, handles, hits, inside, keyPointsOf, moved, polygonOf, reshaped } from "./geometry.js";
import { copied, encode, grown, isEmpty, joined, nothing, reach, stroke } from "./masks.js";
import { maskAt, maskPicture, patchOf } from "./paint.js";
import { say, t } from "./texts.js";

class Select {
  cursor = "default";
  constructor(editor) { this.editor = editor; }

  press(point, { slack }) {
    const { store } = this.editor, shape = store.shape;
    if (this.held) return this.#drop();
    const handle = shape ? handles(shape).findIndex((one) => distance(one, point) <= slack * 1.4) : -1;
    if (handle >= 0) { this.held = { shape, handle, from: point }; return; }
    const found = [...store.doc.shapes].reverse().find((one) => hits(one, point, slack, maskAt));
    store.select(found?.shape_id ?? null);
    if (found) { say(this.editor.told(found)); this.held = { shape: found, from: point }; }
  }

  move(point) {
    if (!this.held) return;
    const { shape, handle, from } = this.held, { image } = this.editor;
    this.draft = handle === undefined ? moved(shape, point[0] - from[0], point[1] - from[1], image) : reshaped(shape, handle, inside(point, image));
  }

  release(point, { dragged }) {
    if (dragged || this.held?.handle === undefined) this.#drop();   // a handle that was only touched waits for a second press
  }

  #drop() {
    const { draft } = this;
    this.held = this.draft = null;
    if (draft && JSON.stringify(draft) !== JSON.stringify(this.editor.store.shape)) this.editor.change(draft, t("did.moved"));
  }

  cancel() { const busy = Boolean(this.held); this.held = this.draft = null; return busy; }
}

class Box {
  cursor = "crosshair";
  constructor(editor) { this.editor = editor; }
  press(point) { if (this.from) this.#done(point); else { this.from = inside(point, this.editor.image); this.to = this.from; } }
  move(point) { if (this.from) this.to = inside(point, this.editor.image); }
  release(point, { dragged }) { if (dragged) this.#done(point); }
  finish() { if (this.from) this.#done(this.to); }
  cancel() { const busy = Boolean(this.from); this.from = this.to = null; return busy; }
  get draft() { return this.from && boxOf(this.from, this.to); }

  #done(point) {
    if (!this.from) return;
    const made = boxOf(this.from, inside(point, this.editor.image));
    this.from = this.to = null;
    if (made.box[2] >= 1 && made.box[3] >= 1) this.editor.addShape(made);
  }
}

class Points {
  cursor = "crosshair";
  points = [];
  constructor(editor, least, made) { Object.assign(this, { editor, least, made }); }

  press(point, { slack }) {
    const here = inside(point, this.editor.image);
    if (this.points.length >= this.least && this.least > 2 && distance(here, this.points[0]) <= slack) return this.finish();
    if (this.points.length && distance(here, this.points.at(-1)) < 0.5) return;
    this.points = [...this.points, here];
    this.editor.begun();
  }
  move(point) { this.next = this.points.length ? inside(point, this.editor.image) : null; }
  release() {}
  back() { if (!this.points.length) return false; this.points = this.points.slice(0, -1); this.editor.begun(); return true; }
  cancel() { const busy = this.points.length > 0; this.points = []; this.next = null; if (busy) this.editor.begun(); return busy; }
  get draft() { return this.points.length ? keyPointsOf(this.next ? [...this.points, this.next] : this.points) : null; }

  finish() {
    const { points } = this;
    if (!points.length) return;
    if (points.length < this.least) { say(t("need.points", { count: this.least })); return; }
    if (this.least > 2 && crossesItself(points)) { say(t("need.simple")); this.editor.warn(t("need.simple")); return; }
    this.points = [];
    this.next = null;
    this.editor.addShape(this.made(points));
    this.editor.begun();
  }
}

class Ruler {
  cursor = "crosshair";
  constructor(editor) { this.editor = editor; }
  press(point) {
    const here = inside(point, this.editor.image);
    if (this.from && !this.fixed) { this.to = here; this.#fix(); } else Object.assign(this, { from: here, to: here, fixed: false });
  }
  move(point) { if (this.from && !this.fixed) this.to = inside(point, this.editor.image); }
  release(point, { dragged }) { if (dragged) this.#fix(); }
  finish() { if (this.from) this.#fix(); }
  cancel() { const busy = Boolean(this.from); this.from = this.to = null; return busy; }
  get draft() { return this.from && keyPointsOf([this.from, this.to]); }
  get text() { return this.from ? this.editor.long(distance(this.from, this.to)) : ""; }
  #fix() { this.fixed = true; say(this.text); }
}

class Brush {
  cursor = "none";
  constructor(editor, value) { Object.assign(this, { editor, value }); }

  press(point, { keyboard }) {
    if (keyboard && this.patch) return this.finish();    // the space bar lifts what it has put down
    this.target = this.#target();
    const { image } = this.editor;
    if (!this.target && !this.value) { say(t("need.mask")); return; }
    const patch = this.target ? patchOf(this.target) : nothing();
    if (patch.step > 1) { this.editor.warn(t("need.smaller-mask")); return; }
    this.size = [image.height, image.width];
    this.patch = copied(patch);
    this.full = false;                                   // it grew as large as a mask can be that is painted
    this.colour = find(this.editor.classes, this.target?.class_name ?? this.editor.ui.className).colour;
    this.picture = maskPicture(this.patch, this.colour);
    this.last = point;
    this.#paint(point);
  }
  move(point) { if (this.patch) this.#paint(point); }
  release(point, { keyboard }) { if (!keyboard) this.finish(); }
  cancel() { const busy = Boolean(this.patch); this.patch = null; return busy; }

  finish() {
    if (!this.patch) return;
    const { patch, size, target } = this;
    this.patch = null;
    if (isEmpty(patch)) { if (target) this.editor.removeShape(target.shape_id); return; }
    const made = { kind: "mask", size, counts: encode(patch, size) };
    if (target) this.editor.change({ ...target, ...made }, t(this.value ? "did.painted" : "did.erased"));
    else this.editor.addShape(made);
    if (this.full) this.editor.warn(t("need.smaller-mask"));
  }

  #paint(point) {
    const from = this.last, radius = this.editor.ui.brush / 2, box = reach(this.size, from, point, radius);
    this.last = point;
    if (box[2] <= box[0] || box[3] <= box[1]) return;    // beside the image
    const patch = grown(this.patch, box, this.size);
    this.full ||= !patch;
    if (!patch) return;
    stroke(patch, box, from, point, radius, this.value);
    const beside = [Math.max(patch.left, box[0] - 1), Math.max(patch.top, box[1] - 1), Math.min(patch.left + patch.width, box[2] + 1), Math.min(patch.top + patch.height, box[3] + 1)];
    this.picture = patch === this.patch ? maskPicture(patch, this.colour, this.picture, beside) : maskPicture(patch, this.colour);
    this.patch = patch;
  }

  #target() {
    const { store, ui } = this.editor, shape = store.shape;
    if (shape?.kind === "mask" && (!this.value || shape.class_name === ui.className)) return shape;
    return this.value ? null : [...store.doc.shapes].reverse().find((one) => one.kind === "mask");
  }
}

class Fill {
  cursor = "crosshair";
  constructor(editor, work) { Object.assign(this, { editor, work }); }

  async press(point) {
    const { editor } = this, { image, ui, store } = editor, { className } = ui;
    const here = [clamp(point[0], 0, image.width - 1), clamp(point[1], 0, image.height - 1)], size = [image.height, image.width];
    const found = await editor.pixels.do(this.work, { point: here, tolerance: ui.tolerance, cell: Math.max(6, ui.brush) });
    if (image !== editor.image || !found) return;
    const target = store.shape?.kind === "mask" && store.shape.class_name === className ? store.shape : null;
    const all = target ? joined(patchOf(target), found, size) : found;
    if (!all) { editor.warn(t("need.smaller-mask")); return; }
    const made = { kind: "mask", size, counts: encode(all, size) };
    if (target) editor.change({ ...target, ...made }, t("did.painted")); else editor.addShape(made, className);
    if (found.cut) editor.warn(t("need.smaller-fill"));
  }
  move() {}
  release() {}
  cancel() { return false; }
}

export function tools(editor) {
  return {
    select: new Select(editor),
    box: new Box(editor),
    polygon: new Points(editor, 3, polygonOf),
    brush: new Brush(editor, 1),
    eraser: new Brush(editor, 0),
    flood: new Fill(editor, "flood"),
    superpixel: new Fill(editor, "superpixel"),
    "key-points": new Points(editor, 1, keyPointsOf),
    ruler: new Ruler(editor),
  };
}

export const KIND_OF = { box: "box", polygon: "polygon", brush: "mask", eraser: "mask", flood: "mask", superpixel: "mask", "key-points": "key-points" };
