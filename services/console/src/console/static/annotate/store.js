// What is said of one image, and every step that led there. Documents are never changed, only replaced.

export const BLANK = { verdict: "labeled", classes: [], shapes: [], ambiguity: null };

export class Store extends EventTarget {
  constructor(doc = BLANK) {
    super();
    this.begin(doc);
  }

  begin(doc) {
    Object.assign(this, { doc: { ...BLANK, ...doc }, past: [], future: [], selected: null });
    this.#tell("begun");
  }

  // A command: its name is what undo and redo will say.
  do(name, change) {
    const next = change(this.doc);
    if (next === this.doc) return;
    this.past.push({ name, doc: this.doc });
    this.future = [];
    this.doc = next;
    this.#tell("changed");
  }

  undo() { return this.#step(this.past, this.future); }
  redo() { return this.#step(this.future, this.past); }

  select(shapeId) {
    if (this.selected === shapeId) return;
    this.selected = shapeId;
    this.#tell("selected");
  }

  get shape() { return this.doc.shapes.find((shape) => shape.shape_id === this.selected) ?? null; }

  #step(from, to) {
    const last = from.pop();
    if (!last) return null;
    to.push({ name: last.name, doc: this.doc });
    this.doc = last.doc;
    if (!this.shape) this.selected = null;
    this.#tell("changed");
    return last.name;
  }

  #tell(kind) { this.dispatchEvent(new Event(kind)); }
}

// --- changes of a document

export const add = (shape) => (doc) => ({ ...marked(doc), shapes: [...doc.shapes, shape] });
export const remove = (id) => (doc) => ({ ...doc, shapes: doc.shapes.filter((shape) => shape.shape_id !== id) });
export const replace = (shape) => (doc) => ({ ...doc, shapes: doc.shapes.map((one) => (one.shape_id === shape.shape_id ? shape : one)) });

// Who marks something says that it is not simply good, unusable or undecided.
const marked = (doc) => ({ ...doc, verdict: doc.verdict === "unusable" ? "labeled" : doc.verdict });

export const toggleClass = (name, good) => (doc) => {
  if (doc.classes.includes(name)) return { ...doc, classes: doc.classes.filter((one) => one !== name) };
  const beside = name === good ? [] : doc.classes.filter((one) => one !== good);
  return { ...marked(doc), classes: [...beside, name] };
};

export const verdict = (name, ambiguity = null) => (doc) => (
  name === "unusable" ? { ...doc, verdict: name, ambiguity: null, classes: [], shapes: [] } : { ...doc, verdict: name, ambiguity }
);

export const undecided = (doc) => doc.shapes.filter((shape) => !shape.confirmed);

// What is sent: what a person stands for. A mark means that the image is not simply good.
export function answer(doc, good, version) {
  const shapes = doc.shapes.filter((shape) => shape.confirmed);
  const classes = shapes.length ? doc.classes.filter((name) => name !== good) : doc.classes;
  return { ...doc, shapes, classes, taxonomy_version: version };
}

export function freshId(shapes) {
  const taken = new Set(shapes.map((shape) => shape.shape_id));
  let number = shapes.length + 1;
  while (taken.has(`s${number}`)) number++;
  return `s${number}`;
}

export const nextInstance = (shapes, name) =>
  1 + Math.max(0, ...shapes.filter((shape) => shape.class_name === name).map((shape) => shape.instance ?? 0));
