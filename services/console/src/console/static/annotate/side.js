// Beside the image: classes, marks, and what the guide says.
import { find } from "./classes.js";
import { replace, toggleClass, undecided } from "./store.js";
import { $, h, sentence, t } from "./texts.js";
import { pictureUrl } from "./api.js";

const FIELDS = ["definition", "boundary_rule", "acceptable_variation", "ambiguous_rule", "escalation_path"];
const chip = (one) => h("span", { class: `chip hatch-${one.hatch}`, colour: one.colour, "aria-hidden": "true" }, one.letter);

export class Side {
  constructor(editor) {
    this.editor = editor;
    const again = () => this.show();
    $("#accept-all").addEventListener("click", () => editor.acceptAll());
    for (const kind of ["begun", "changed", "selected"]) editor.store.addEventListener(kind, again);
    editor.addEventListener("ui", again);
    $("#search").addEventListener("input", (event) => this.#search(event.target.value));
    $("#search").addEventListener("keydown", (event) => { if (event.key === "Escape") { event.target.value = ""; this.#search(""); $("#canvas").focus(); } });
  }

  load(task, classes) {
    Object.assign(this, { task, classes, wanted: null });
    this.good = classes.find((one) => !one.is_defect)?.name ?? "good";
    const says = task.proposal?.classes.filter((name) => name !== this.good) ?? [];
    $("#model-says").hidden = !says.length;
    $("#model-says").textContent = t("marks.says", { what: says.map(sentence).join(", ") });
    $("#classes").replaceChildren(...classes.filter((one) => one.is_defect).map((one) => this.#row(one)));
    $("#search").value = "";
    this.#search("");
    this.show();
    const [proposed] = undecided(this.editor.store.doc);
    if (proposed) this.guide(proposed.class_name);
  }

  // A class: to draw with, or, where it is not drawn, of the whole image. A chosen mark becomes of that class.
  pick(one) {
    const { editor } = this, { shape } = editor.store;
    if (!one) return;
    this.guide(one.name);
    if (!one.kinds.length) { this.whole(one); return; }
    if (shape && shape.class_name !== one.name && editor.ui.tool === "select" && one.kinds.includes(shape.kind)) {
      editor.store.do(t("did.reclass"), replace({ ...shape, class_name: one.name, confirmed: true }));
    }
    editor.choose(one.name);
    [...$("#classes").children].find((row) => row.dataset.class === one.name)?.scrollIntoView({ block: "nearest" });
  }

  whole(one) { this.editor.store.do(t("did.class"), toggleClass(one.name, this.good)); }

  show() {
    if (!this.classes) return;
    const { store, ui } = this.editor;
    for (const row of $("#classes").children) {
      const name = row.dataset.class, [pick, whole] = row.querySelectorAll("button");
      pick.setAttribute("aria-pressed", String(ui.className === name));
      whole.setAttribute("aria-pressed", String(store.doc.classes.includes(name)));
    }
    $("#good").setAttribute("aria-pressed", String(store.doc.classes.includes(this.good)));
    $("#marks-count").textContent = store.doc.shapes.length || "";
    $("#accept-all").hidden = undecided(store.doc).length < 2;
    this.#marks();
    const wanted = store.shape?.class_name ?? ui.className;
    if (wanted && wanted !== this.wanted) this.guide(wanted);
    this.wanted = wanted;
  }

  guide(name) {
    const one = find(this.classes, name), how = one.region_rule && t(`guide.how.${one.region_rule}`);
    const parts = FIELDS.filter((field) => one[field]).map((field) => h("div", {}, h("dt", {}, t(`guide.${field}`)), h("dd", {}, one[field])));
    const gallery = ["gold", "hard-negative"].flatMap((kind) => {
      const shown = (one.examples ?? []).filter((example) => example.kind === kind);
      return shown.length ? [h("h3", {}, t(`guide.${kind}`)), h("ul", { class: "gallery" }, ...shown.slice(0, 8).map((example) => h("li", {},
        h("img", { src: pictureUrl(example.image_id, "thumbnail"), alt: example.note ? "" : t(`guide.${kind}`), loading: "lazy", width: 84, height: 84 }), example.note && h("span", {}, example.note))))] : [];
    });
    $("#guide").replaceChildren(
      h("p", { class: "guide-name" }, chip(one), h("b", {}, sentence(name)), one.severity && h("span", { class: `severity ${one.severity}` }, sentence(one.severity)), how && h("span", { class: "faint" }, how)),
      parts.length ? h("dl", { class: "rules" }, ...parts) : h("p", { class: "faint" }, t("guide.empty")), ...gallery);
  }

  #row(one) {
    const name = sentence(one.name);
    return h("li", { "data-class": one.name },
      h("button", { type: "button", class: "class", "aria-pressed": "false", onclick: () => this.pick(one) },
        chip(one), h("span", { class: "fill clip" }, name), h("span", { class: `severity ${one.severity}` }, sentence(one.severity ?? "")), one.key && h("kbd", {}, one.key)),
      h("button", { type: "button", class: "quiet whole", "aria-pressed": "false", title: t("class.whole"), "aria-label": t("class.whole.of", { name }), onclick: () => this.whole(one) }, "▣"));
  }

  #marks() {
    const { editor } = this, { store } = editor, focused = document.activeElement?.dataset?.mark;
    $("#marks").replaceChildren(...store.doc.shapes.map((shape) => {
      const one = find(this.classes, shape.class_name), what = editor.told(shape);
      const choose = h("button", { type: "button", class: "mark", "aria-pressed": String(shape.shape_id === store.selected), "data-mark": shape.shape_id,
        onclick: () => { editor.set({ tool: "select" }); store.select(shape.shape_id); editor.look(shape); } },
        chip(one), h("span", { class: "fill" }, h("b", {}, `${sentence(shape.class_name)}${shape.instance ? ` #${shape.instance}` : ""}`), h("span", { class: "faint" }, `${t(`kind.${shape.kind}`)} · ${editor.size(shape)}${shape.confirmed === false ? ` · ${t("proposal")}` : ""}`)));
      const act = (accept, key) => h("button", { type: "button", class: "quiet", title: t(accept ? "marks.accept" : "marks.discard"), onclick: () => { store.select(shape.shape_id); editor.decide(accept); } }, t(accept ? "marks.accept" : "marks.discard"), " ", h("kbd", {}, key));
      return h("li", { class: shape.confirmed === false ? "proposed" : null }, choose, ...(shape.confirmed === false ? [act(true, "A"), act(false, "D")]
        : [h("button", { type: "button", class: "quiet icon", "aria-label": t("marks.remove", { what }), onclick: () => editor.removeShape(shape.shape_id) }, "×")]));
    }), ...(store.doc.shapes.length ? [] : [h("li", { class: "faint" }, t("marks.none"))]));
    if (focused) $(`[data-mark="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = !words.length ? [] : this.classes.flatMap((one) => ["name", ...FIELDS].map((field) => ({ one, field, said: one[field] ?? "" })))
      .filter(({ said }) => words.every((word) => said.toLowerCase().includes(word)));
    $("#found").replaceChildren(...(words.length && !hits.length ? [h("p", { class: "faint" }, t("guide.nothing"))] : hits.slice(0, 12).map(({ one, field, said }) =>
      h("button", { type: "button", class: "quiet hit", onclick: () => this.guide(one.name) }, chip(one), h("span", {}, h("b", {}, sentence(one.name)), field === "name" ? "" : " – ", ...(field === "name" ? [] : marked(said, words[0])))))));
  }
}

// Some words around a hit, the hit marked.
function marked(said, word) {
  const at = said.toLowerCase().indexOf(word), from = Math.max(0, at - 40);
  return [(from ? "… " : "") + said.slice(from, at), h("mark", {}, said.slice(at, at + word.length)), said.slice(at + word.length, at + word.length + 60)];
}
