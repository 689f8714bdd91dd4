// Questions that stop the work: why the guide does not decide, and which of two versions counts.
import { drawPicture, drawShape } from "./paint.js";
import { verdict } from "./store.js";
import { $, h, sentence, t } from "./texts.js";
import { View } from "./view.js";

// The value of the button that was pressed, at once, so that no key falls between the answer and its effect; "" for Esc.
function asked(dialog) {
  const over = new AbortController(), { signal } = over;
  dialog.showModal();
  return new Promise((done) => {
    const end = (value) => { over.abort(); done(value); };
    $("form", dialog).addEventListener("submit", (event) => end(event.submitter?.value ?? ""), { signal });
    dialog.addEventListener("close", () => end(""), { signal });
  });
}

export async function ambiguous(store, classes) {
  const dialog = $("#ambiguous-dialog"), form = $("form", dialog), now = store.doc.ambiguity;
  form.elements.proposed.replaceChildren(h("option", { value: "" }, t("ambiguous.class.none")), ...classes.map((one) => h("option", { value: one.name }, sentence(one.name))));
  form.elements.reason.value = now?.reason ?? "boundary";
  form.elements.note.value = now?.note ?? "";
  form.elements.proposed.value = now?.proposed_class ?? "";
  if (await asked(dialog) !== "set") return;
  store.do(t("did.verdict"), verdict("ambiguous", { reason: form.elements.reason.value, note: form.elements.note.value, proposed_class: form.elements.proposed.value || null }));
}

// A small picture of what was said of an image.
export function miniature(canvas, picture, image, shapes, classes, room = 6) {
  const view = new View(), ink = canvas.getContext("2d");
  view.resize(canvas.width, canvas.height);
  view.fit(image, room);
  ink.clearRect(0, 0, canvas.width, canvas.height);
  drawPicture(ink, picture, view, image);
  for (const shape of shapes) drawShape(ink, shape, view, classes);
}

// mine, theirs, or both: all marks of both, each once.
export async function conflict(editor, mine, theirs) {
  const { picture, image, classes } = editor, when = new Date(theirs.saved_at).toLocaleString();
  for (const [id, said, title] of [["mine", mine, t("conflict.mine")], ["theirs", theirs.annotation, t("conflict.theirs", { when })]]) {
    miniature($(`#${id}`), picture, image, said.shapes, classes);
    $(`#${id}-title`).textContent = `${title} – ${t("conflict.marks", { count: said.shapes.length })}`;
  }
  const choice = await asked($("#conflict"));
  if (choice === "theirs") return theirs.annotation;
  if (choice !== "both") return mine;
  const same = (a, b) => JSON.stringify({ ...a, shape_id: 0, measurements: 0 }) === JSON.stringify({ ...b, shape_id: 0, measurements: 0 });
  const taken = new Set(mine.shapes.map((shape) => shape.shape_id));
  const added = theirs.annotation.shapes.filter((shape) => !mine.shapes.some((own) => same(own, shape))).map((shape) => {
    let id = shape.shape_id;
    for (let number = 2; taken.has(id); number++) id = `${shape.shape_id}-${number}`;
    taken.add(id);
    return { ...shape, shape_id: id };
  });
  return { ...mine, classes: [...new Set([...mine.classes, ...theirs.annotation.classes])], shapes: [...mine.shapes, ...added] };
}

export const noteForBack = async () => {
  const dialog = $("#back-dialog"), note = $("textarea", dialog);
  note.value = "";
  return (await asked(dialog)) === "send" ? note.value : null;
};
