// Regions over an image: one list and one drawing that point at each other, crisp at every zoom.
"use strict";

const REGION_SWITCH = "[data-region-switch]";
const ROOM = 150;                                  // of the screen for each label; with less, labels are numbers until somebody asks

function regions(on) {
  root.dataset.regions = on ? "on" : "off";
  localStorage.setItem("regions", root.dataset.regions);
  showRegions();
}

function showRegions() {
  for (const one of $$(REGION_SWITCH)) one.checked = root.dataset.regions !== "off";
}

document.addEventListener("change", (event) => {
  if (event.target.matches(REGION_SWITCH)) regions(event.target.checked);
});

// Gives a function that draws for a zoom and a shift of the sheet; `look` is asked to zoom to a part of the image.
function wakeRegions(viewer, look) {
  const stage = $(".stage", viewer), drawing = $(".regions", viewer), list = $("[data-region-list]");
  if (!drawing) return () => {};
  const { width, height } = drawing.viewBox.baseVal;
  const shapes = $$("[data-region]", drawing), labels = $$("[data-label]", drawing), rows = $$("[data-region-row]", list);
  const tip = stage.appendChild(Object.assign(document.createElement("div"), { className: "tip", hidden: true }));
  let held = null, last = null;                    // `held` was touched and stays chosen

  const choose = (number) => {
    for (const [each, name] of [[shapes, "region"], [labels, "label"], [rows, "regionRow"]]) {
      for (const one of each) one.classList.toggle("chosen", one.dataset[name] === number);
    }
    if (last) draw(...last);
  };
  const tell = () => {
    const shape = $(".region.chosen .outline", drawing), row = rows.find((one) => one.classList.contains("chosen"));
    tip.hidden = !shape;
    if (tip.hidden) return;
    tip.replaceChildren(...[...$(".more", row).children].map((line) => line.cloneNode(true)));
    const box = shape.getBoundingClientRect(), inside = stage.getBoundingClientRect();
    const below = box.bottom - inside.top + 6, above = box.top - inside.top - tip.offsetHeight - 26;
    const top = below + tip.offsetHeight < inside.height ? below : Math.max(4, above);
    const left = Math.min(box.left - inside.left, inside.width - tip.offsetWidth - 4);
    Object.assign(tip.style, { top: `${top}px`, left: `${Math.max(4, left)}px` });
  };
  const draw = (scale, x, y) => {
    last = [scale, x, y];
    const unit = 1 / (Math.min(stage.clientWidth / width, stage.clientHeight / height) * scale);   // image pixels in one of the screen
    if (!Number.isFinite(unit)) return;
    const middle = { x: width / 2 - x * unit, y: height / 2 - y * unit };
    const [w, h] = [width / scale, height / scale], half = { x: (stage.clientWidth * unit) / 2, y: (stage.clientHeight * unit) / 2 };
    drawing.setAttribute("viewBox", `${middle.x - w / 2} ${middle.y - h / 2} ${w} ${h}`);
    drawing.classList.toggle("crowd", shapes.length * ROOM > stage.clientWidth);
    for (const mark of $$("[data-at]", drawing)) {
      let [left, top] = mark.dataset.at.split(" ").map(Number);
      if (mark.dataset.label) {                    // a label fits its text and stays in sight
        const long = $("text", mark).getComputedTextLength() + 10;
        $("rect", mark).setAttribute("width", long);
        if (top - 19 * unit < middle.y - half.y) {     // no room above: beside it
          top = middle.y - half.y + 19 * unit;
          left += Number(mark.dataset.wide) + 5 * unit;
        }
        left = Math.max(middle.x - half.x, Math.min(left, middle.x + half.x - long * unit));
      }
      mark.setAttribute("transform", `translate(${left} ${top}) scale(${unit})`);
    }
    tell();
  };

  for (const one of [...shapes, ...rows]) {
    const number = one.dataset.region ?? one.dataset.regionRow;
    one.addEventListener("pointerenter", () => choose(number));
    one.addEventListener("pointerleave", () => choose(held));
    one.addEventListener("pointerdown", (event) => { if (event.pointerType === "touch") choose(held = held === number ? null : number); });
    one.addEventListener("focusin", () => choose(number));
    one.addEventListener("focusout", () => choose(held));
  }
  for (const shape of shapes) {
    shape.addEventListener("click", () => rows.find((row) => row.dataset.regionRow === shape.dataset.region)?.scrollIntoView({ block: "nearest" }));
  }
  for (const row of rows) {
    const shape = shapes.find((one) => one.dataset.region === row.dataset.regionRow);
    $("button", row).addEventListener("click", () => look($(".outline", shape).getBBox(), width, height));
  }
  return draw;
}
