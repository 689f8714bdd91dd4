// The image, what is drawn on it, and how pointer and keys reach the tools.
import { find } from "./classes.js";
import { chain, clamp, handles, inside, moved, pathLength, reshaped } from "./geometry.js";
import { covered, drawPatch, drawPicture, drawShape, frame, prepared } from "./paint.js";
import { Pixels } from "./pixels.js";
import { add, freshId, nextInstance, remove, replace, Store, undecided } from "./store.js";
import { followPointer, SLACK } from "./pointer.js";
import { say, sentence, t } from "./texts.js";
import { KIND_OF, tools } from "./tools.js";
import { View } from "./view.js";

const STEP = 8;                                    // screen pixels that an arrow moves the cross

export class Editor extends EventTarget {
  store = new Store();
  view = new View();
  pixels = new Pixels();
  ui = { tool: "box", className: null, brush: 16, tolerance: 18, instances: false, hidden: false, contrast: 100, brightness: 100, denoise: false };
  cross = null;
  corner = null;                                   // of a mark, held by keys
  image = null;
  paused = true;                                   // while another image is on its way
  #asked = false; #clean = null;

  constructor(stage) {
    super();
    this.stage = stage;
    [this.back, this.front] = stage.querySelectorAll("canvas");
    this.tools = tools(this);
    for (const kind of ["begun", "changed", "selected"]) this.store.addEventListener(kind, () => this.draw());
    new ResizeObserver(() => { if (this.image) { this.#keepPlace(); this.draw(); } }).observe(stage);
    followPointer(this);
  }

  get tool() { return this.tools[this.ui.tool]; }

  load(image, picture, doc, classes) {
    this.tool.cancel();
    Object.assign(this, { image, picture, classes, cross: null, corner: null });
    this.#clean = null;
    picture.onmore = () => this.draw();
    this.pixels.load(picture, image);
    this.view.resize(this.stage.clientWidth, this.stage.clientHeight);
    this.view.fit(image);
    if (!classes.some((one) => one.name === this.ui.className && one.kinds.length)) this.choose(classes.find((one) => one.kinds.length)?.name ?? null);
    this.store.begin(doc);
    this.set(picture.draw ? {} : { denoise: this.ui.denoise });
  }

  set(patch) {
    if (patch.tool && patch.tool !== this.ui.tool) this.tool.cancel();
    Object.assign(this.ui, patch);
    if (patch.tool) this.front.style.cursor = this.tool.cursor;
    this.back.style.filter = `contrast(${this.ui.contrast}%) brightness(${this.ui.brightness}%)`;
    if (patch.denoise && this.picture?.draw) { this.ui.denoise = false; this.warn(t("view.denoise.large")); }
    if (patch.denoise && this.ui.denoise && !this.#clean) this.#denoise(this.image);
    this.draw();
    this.dispatchEvent(new Event("ui"));
  }

  async #denoise(image) {
    const made = await this.pixels.denoised();
    if (image !== this.image) return;
    this.#clean = made;
    this.draw();
  }

  // The class to draw with; the tool follows the class's rule. A chosen shape becomes of that class.
  choose(name) {
    const one = find(this.classes, name), kind = KIND_OF[this.ui.tool];
    const tool = !kind || !one.kinds.length || one.kinds.includes(kind) ? this.ui.tool : { box: "box", polygon: "polygon" }[one.kinds[0]] ?? "brush";
    this.set({ className: name, tool });
  }

  allows(tool) { const kind = KIND_OF[tool], one = this.ui.className && find(this.classes, this.ui.className); return !kind || !one || one.kinds.includes(kind); }

  // --- commands

  addShape(geometry, className = this.ui.className) {
    const { instances } = this.ui, { shapes } = this.store.doc;
    if (!className) { this.warn(t("need.class")); return; }
    const shape = {
      shape_id: freshId(shapes), class_name: className, ...geometry,
      instance: instances ? nextInstance(shapes, className) : null, origin: "person", confirmed: true,
    };
    this.store.do(t("did.added", { what: t(`kind.${shape.kind}`) }), add(shape));
    this.store.select(shape.shape_id);
    say(t("said.added", { what: this.told(shape) }));
  }

  change(shape, name) { this.store.do(name, replace({ ...shape, confirmed: true })); }

  removeShape(id = this.store.selected) {
    const shape = this.store.doc.shapes.find((one) => one.shape_id === id);
    if (!shape) return;
    this.store.do(t("did.removed", { what: t(`kind.${shape.kind}`) }), remove(id));
    this.store.select(null);
    say(t("said.removed", { what: this.told(shape) }));
  }

  // Take over, or put away, the chosen proposal or else the next one.
  decide(accept) {
    const open = undecided(this.store.doc), shape = open.find((one) => one.shape_id === this.store.selected) ?? open[0];
    if (!shape) { say(t("said.no-proposal")); return; }
    if (accept && !this.#knows(shape)) { this.store.select(shape.shape_id); this.warn(t("need.known", { name: sentence(shape.class_name) })); return; }
    if (accept) this.change(shape, t("did.accepted")); else this.store.do(t("did.discarded"), remove(shape.shape_id));
    const next = undecided(this.store.doc)[0];
    this.store.select(next?.shape_id ?? null);
    say(t(accept ? "said.accepted" : "said.discarded", { left: undecided(this.store.doc).length }));
  }

  acceptAll() {
    const known = undecided(this.store.doc).filter((shape) => this.#knows(shape)), ids = new Set(known.map((shape) => shape.shape_id));
    if (!known.length) { say(t("said.no-proposal")); return; }
    this.store.do(t("did.accepted"), (doc) => ({ ...doc, shapes: doc.shapes.map((shape) => (ids.has(shape.shape_id) ? { ...shape, confirmed: true } : shape)) }));
    say(t("said.accepted", { left: undecided(this.store.doc).length }));
  }

  #knows(shape) { return this.classes.some((one) => one.name === shape.class_name); }

  // Take hold of the next corner of the chosen mark; arrows move it.
  nextCorner() {
    const { shape } = this.store, count = shape ? handles(shape).length : 0;
    if (!count) return;
    this.set({ tool: "select" });
    this.cross = null;
    this.corner = this.corner?.of === shape.shape_id ? { of: shape.shape_id, at: (this.corner.at + 1) % count } : { of: shape.shape_id, at: 0 };
    const [x, y] = handles(shape)[this.corner.at];
    say(t("said.corner", { number: this.corner.at + 1, count, x: Math.round(x), y: Math.round(y) }));
    this.draw();
  }

  undo() { const name = this.tool.back?.() ? t("did.point") : this.store.undo(); say(name ? t("said.undone", { what: name }) : t("said.nothing")); }
  redo() { const name = this.store.redo(); say(name ? t("said.redone", { what: name }) : t("said.nothing")); }

  step(by) {
    const { shapes } = this.store.doc;
    if (!shapes.length) return;
    const at = shapes.findIndex((one) => one.shape_id === this.store.selected);
    const shape = shapes[at < 0 ? (by > 0 ? 0 : shapes.length - 1) : (at + by + shapes.length) % shapes.length];
    this.set({ tool: "select" });
    this.store.select(shape.shape_id);
    say(this.told(shape));
  }

  // --- words

  long(pixels) {
    const scale = this.image.mm_per_pixel;
    return scale ? t("long.mm", { px: pixels.toFixed(1), mm: (pixels * scale).toFixed(2) }) : t("long.px", { px: pixels.toFixed(1) });
  }

  size(shape) {
    if (shape.kind === "key-points") return Object.keys(shape.points).length > 1 ? this.long(pathLength(chain(shape))) : "";
    const [, , width, height] = covered(shape), scale = this.image.mm_per_pixel;
    const text = `${Math.round(width)} × ${Math.round(height)} px`;
    return scale ? `${text} · ${(width * scale).toFixed(1)} × ${(height * scale).toFixed(1)} mm` : text;
  }

  told(shape) { return `${sentence(shape.class_name)}, ${t(`kind.${shape.kind}`)}, ${this.size(shape)}${shape.confirmed === false ? `, ${t("proposal")}` : ""}`; }
  warn(text) { this.dispatchEvent(new CustomEvent("warn", { detail: text })); }
  begun() { this.draw(); this.dispatchEvent(new Event("begun")); }

  // --- drawing, once a frame at most

  draw() {
    if (this.#asked || !this.image) return;
    this.#asked = true;
    requestAnimationFrame(() => { this.#asked = false; this.#paint(); });
  }

  #keepPlace() {
    const fitted = Math.abs(this.view.scale - this.view.least) < 1e-6;
    this.view.resize(this.stage.clientWidth, this.stage.clientHeight);
    if (fitted) this.view.fit(this.image);
  }

  #paint() {
    const { view, image, tool, ui, store, classes } = this, own = { class_name: ui.className ?? "", confirmed: true };
    drawPicture(prepared(this.back, view), (ui.denoise && this.#clean) || this.picture, view, image);
    const ink = prepared(this.front, view);
    frame(ink, [0, 0, image.width, image.height], view, "rgb(255 255 255 / .25)");
    const replaced = ui.tool === "select" ? tool.draft?.shape_id : tool.patch && tool.target?.shape_id;
    if (!ui.hidden) {
      for (const shape of store.doc.shapes) {
        if (shape.shape_id !== replaced) drawShape(ink, shape, view, classes, { selected: shape.shape_id === store.selected, held: this.#corner(shape) });
      }
    }
    if (tool.patch) {
      ink.imageSmoothingEnabled = false;
      drawPatch(ink, tool.patch, tool.picture, view);
    } else if (tool.draft) {
      drawShape(ink, { ...own, ...tool.draft }, view, ui.tool === "ruler" ? [] : classes, { selected: true, label: ui.tool === "select", held: tool.held?.handle });
      if (tool.text) this.#note(ink, tool.to, tool.text);
      else if (ui.tool === "key-points") this.#note(ink, Object.values(tool.draft.points).at(-1), this.long(pathLength(chain(tool.draft))));
    }
    this.#drawCross(ink);
  }

  #note(ink, point, text) {
    const [x, y] = this.view.toScreen(point);
    ink.font = "600 13px ui-sans-serif, system-ui, sans-serif";
    const wide = ink.measureText(text).width + 14, left = Math.min(x + 12, this.view.width - wide - 4);
    ink.fillStyle = "rgb(11 15 13 / .9)";
    ink.beginPath(); ink.roundRect(left, y + 10, wide, 24, 5); ink.fill();
    ink.fillStyle = "#fff";
    ink.fillText(text, left + 7, y + 26);
  }

  #drawCross(ink) {
    const at = this.cross ?? this.hover, { view } = this;
    if (!at || (!this.cross && this.ui.tool === "select")) return;
    const [x, y] = view.toScreen(at);
    const paint = (colour, wide) => {
      ink.strokeStyle = colour; ink.lineWidth = wide;
      ink.beginPath();
      if (["brush", "eraser"].includes(this.ui.tool)) ink.arc(x, y, Math.max(1, (this.ui.brush / 2) * view.scale), 0, 7);
      if (this.cross) { ink.moveTo(x - 14, y); ink.lineTo(x + 14, y); ink.moveTo(x, y - 14); ink.lineTo(x, y + 14); }
      else if (["box", "polygon", "key-points"].includes(this.ui.tool)) { ink.moveTo(0, y); ink.lineTo(view.width, y); ink.moveTo(x, 0); ink.lineTo(x, view.height); }
      ink.stroke();
    };
    paint("rgb(0 0 0 / .55)", this.cross ? 4 : 2);
    paint(this.cross ? "#ffe14d" : "rgb(255 255 255 / .7)", this.cross ? 2 : 1);
  }

  // --- keys on the image: arrows move the cross or the chosen shape, space presses, enter ends

  arrow([dx, dy], { shift, alt }) {
    const shape = this.store.shape;
    if (this.ui.tool === "select" && shape && !this.cross) {
      const by = shift ? 10 : 1, corner = this.#corner(shape);
      if (corner !== null) {
        const [x, y] = handles(shape)[corner];
        this.change(reshaped(shape, corner, inside([x + dx * by, y + dy * by], this.image)), t("did.moved"));
      } else if (alt && shape.kind === "box") {
        const [x, y, w, h] = shape.box;
        this.change({ ...shape, box: [x, y, clamp(w + dx * by, 1, this.image.width - x), clamp(h + dy * by, 1, this.image.height - y)] }, t("did.resized"));
      } else this.change(moved(shape, dx * by, dy * by, this.image), t("did.moved"));
      return;
    }
    const by = shift ? 1 : Math.max(1, Math.round(STEP / this.view.scale));
    const from = this.cross ?? this.view.toImage([this.view.width / 2, this.view.height / 2]).map(Math.round);
    this.cross = inside([from[0] + dx * by, from[1] + dy * by], this.image);
    const [x, y] = this.view.toScreen(this.cross), room = 30;
    this.view.pan(clamp(x, room, this.view.width - room) - x, clamp(y, room, this.view.height - room) - y);
    this.tool.move(this.cross);
    this.draw();
  }

  #corner(shape) { return this.corner?.of === shape.shape_id && this.ui.tool === "select" ? this.corner.at : null; }

  pressHere() {
    this.cross ??= inside(this.view.toImage([this.view.width / 2, this.view.height / 2]).map(Math.round), this.image);
    this.tool.press(this.cross, { slack: SLACK.mouse / this.view.scale, keyboard: true });
    if (this.ui.tool === "select") this.tool.release(this.cross, { keyboard: true });
    say(t("said.point", { x: Math.round(this.cross[0]), y: Math.round(this.cross[1]) }));
    this.draw();
  }

  finish() { this.tool.finish?.(); this.draw(); }
  cancel() {
    if (this.corner) { this.corner = null; this.draw(); return; }
    if (!this.tool.cancel()) { if (this.cross) this.cross = null; else this.store.select(null); }
    this.draw();
  }

  zoom(factor) { this.view.zoom(factor, this.cross ? this.view.toScreen(this.cross) : undefined); this.draw(); }
  fit() { this.view.fit(this.image); this.draw(); }
  look(shape) { this.view.look(covered(shape)); this.draw(); }
}
