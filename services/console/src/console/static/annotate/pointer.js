// Mouse, pen and fingers on the image: one presses, two zoom and move the view.
import { clamp, distance } from "./geometry.js";

export const SLACK = { mouse: 7, pen: 9, touch: 18 };   // screen pixels within which a press hits
const FAR = 4;                                     // screen pixels that make a drag of a press
const WHEEL = 120;

export function followPointer(editor) {
  const { front, view } = editor, pointers = new Map();
  let pressed = null, pinch = null;
  const at = (event) => { const box = front.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const slack = (event) => (SLACK[event.pointerType] ?? SLACK.mouse) / view.scale;
  const spread = () => { const [a, b] = [...pointers.values()]; return { far: distance(a, b), middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] }; };

  front.addEventListener("pointerdown", (event) => {
    if (!editor.image || editor.paused) return;
    front.setPointerCapture(event.pointerId);
    front.focus({ preventScroll: true });
    event.preventDefault();
    const here = at(event);
    pointers.set(event.pointerId, here);
    if (pointers.size === 2) { editor.tool.cancel(); pinch = spread(); return; }
    editor.cross = editor.corner = null;
    pressed = { here, panning: event.button === 1 || Boolean(editor.space) };
    if (editor.space) editor.space = "used";
    if (!pressed.panning && event.button === 0) { editor.tool.press(view.toImage(here), { slack: slack(event) }); editor.draw(); }
  });

  front.addEventListener("pointermove", (event) => {
    if (!editor.image) return;
    const here = at(event), before = pointers.get(event.pointerId);
    if (before) pointers.set(event.pointerId, here);
    if (pinch) {
      if (pointers.size < 2) return;
      const now = spread();
      view.zoom(now.far / Math.max(pinch.far, 1), now.middle);
      view.pan(now.middle[0] - pinch.middle[0], now.middle[1] - pinch.middle[1]);
      pinch = now;
    } else if (pressed?.panning && before) view.pan(here[0] - before[0], here[1] - before[1]);
    else {
      editor.hover = event.pointerType === "touch" ? null : view.toImage(here);
      for (const each of event.getCoalescedEvents()) editor.tool.move(view.toImage(at(each)));   // a fast hand, without corners
      editor.tool.move(view.toImage(here));
    }
    editor.draw();
  });

  const lifted = (event) => {
    const here = at(event), known = pointers.delete(event.pointerId);
    if (pinch) { if (!pointers.size) pinch = null; pressed = null; return; }
    if (!known || !pressed) return;
    const { panning, here: from } = pressed;
    pressed = null;
    if (event.type === "pointercancel") editor.tool.cancel();
    else if (!panning) editor.tool.release(view.toImage(here), { dragged: distance(from, here) > FAR });
    editor.draw();
  };
  front.addEventListener("pointerup", lifted);
  front.addEventListener("pointercancel", lifted);
  front.addEventListener("pointerleave", () => { editor.hover = null; editor.draw(); });
  front.addEventListener("dblclick", () => { if (editor.tool.points) editor.finish(); });
  front.addEventListener("contextmenu", (event) => event.preventDefault());
  front.addEventListener("wheel", (event) => {
    if (!editor.image) return;
    event.preventDefault();
    if (event.shiftKey) view.pan(-event.deltaY, 0); else view.zoom(Math.exp(-clamp(event.deltaY, -WHEEL, WHEEL) * 0.0025), at(event));
    editor.draw();
  }, { passive: false });
}
