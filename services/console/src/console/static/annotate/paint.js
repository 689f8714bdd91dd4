// Shapes on a canvas, crisp at every zoom: a dark casing under each line, so that it shows on any surface.
import { find, hatch } from "./classes.js";
import { bounds, chain, handles } from "./geometry.js";
import { decode } from "./masks.js";

const CASING = "rgb(0 0 0 / .72)";
const known = new Map();                           // masks as patches and their pictures, by what they hold
const KEPT = 60, KEPT_BYTES = 48_000_000;          // of patches; with their pictures five times as much
let bytes = 0;

// A mask's patch and its pictures, made once.
function kept(shape) {
  const key = `${shape.size} ${shape.counts}`;
  let held = known.get(key);
  if (!held) {
    held = { patch: decode(shape.counts, shape.size), pictures: new Map() };
    known.set(key, held);
    bytes += held.patch.bits.length;
    while (known.size > 1 && (known.size > KEPT || bytes > KEPT_BYTES)) {
      const [oldest, gone] = known.entries().next().value;
      known.delete(oldest);
      bytes -= gone.patch.bits.length;
    }
  }
  return held;
}

export const patchOf = (shape) => kept(shape).patch;

function pictureOf(shape, colour) {
  const { patch, pictures } = kept(shape);
  if (!pictures.has(colour)) pictures.set(colour, maskPicture(patch, colour));
  return pictures.get(colour);
}

export function maskAt(shape, [x, y]) {
  const { left, top, width, height, step, columns, bits } = patchOf(shape), [px, py] = [Math.floor(x - left), Math.floor(y - top)];
  return px >= 0 && py >= 0 && px < width && py < height && bits[Math.floor(py / step) * columns + Math.floor(px / step)] === 1;
}

// x, y, width, height of what a mask covers.
export function covered(shape) {
  if (shape.kind !== "mask") return bounds(shape);
  const { left, top, width, height } = patchOf(shape);
  return [left, top, width, height];
}

// A patch as a picture in its colour, its edge opaque. A part of it - left, top, right, bottom in pixels of the image - is painted
// anew on a picture that is there, so that a brush costs what it touches.
export function maskPicture({ left, top, columns, rows, bits }, colour, picture = new OffscreenCanvas(Math.max(1, columns), Math.max(1, rows)), box = null) {
  const [from, first, to, last] = box ? [box[0] - left, box[1] - top, box[2] - left, box[3] - top] : [0, 0, columns, rows];
  if (to <= from || last <= first) return picture;
  const ink = picture.getContext("2d"), [r, g, b] = rgb(colour), data = ink.createImageData(to - from, last - first), out = data.data;
  for (let y = first, place = 0; y < last; y++) {
    for (let x = from, at = y * columns + from; x < to; x++, at++, place += 4) {
      if (!bits[at]) continue;
      const edge = !x || !y || x === columns - 1 || y === rows - 1 || !bits[at - 1] || !bits[at + 1] || !bits[at - columns] || !bits[at + columns];
      [out[place], out[place + 1], out[place + 2], out[place + 3]] = [r, g, b, edge ? 255 : (x + left + y + top) % 6 < 2 ? 150 : 90];
    }
  }
  ink.putImageData(data, from, first);
  return picture;
}

// A patch's picture, where the patch is in the image.
export function drawPatch(ink, { left, top, columns, rows, step }, picture, view) {
  if (columns) ink.drawImage(picture, ...view.toScreen([left, top]), columns * step * view.scale, rows * step * view.scale);
}

function rgb(colour) {
  const ink = new OffscreenCanvas(1, 1).getContext("2d");
  ink.fillStyle = colour;
  ink.fillRect(0, 0, 1, 1);
  return ink.getImageData(0, 0, 1, 1).data;
}

function outline(ink, shape, view) {
  const path = new Path2D();
  const line = (points, closed) => {
    points.forEach((point, number) => path[number ? "lineTo" : "moveTo"](...view.toScreen(point)));
    if (closed) path.closePath();
  };
  if (shape.kind === "box") {
    const [x, y, w, h] = shape.box;
    path.rect(...view.toScreen([x, y]), w * view.scale, h * view.scale);
  } else if (shape.kind === "polygon") shape.rings.forEach((ring) => line(ring, true));
  else line(chain(shape), false);
  return path;
}

function knob(ink, [x, y], colour, size) {
  ink.fillStyle = colour;
  ink.strokeStyle = "#0b0f0d";
  ink.lineWidth = 1.5;
  ink.beginPath();
  ink.rect(x - size, y - size, 2 * size, 2 * size);
  ink.fill();
  ink.stroke();
}

export function drawShape(ink, shape, view, classes, { selected = false, label = true, dash = null, quiet = false, tag = "", held = null } = {}) {
  const one = find(classes, shape.class_name);
  const dashed = dash ?? (shape.confirmed === false ? [7, 5] : []);
  ink.save();
  ink.globalAlpha = quiet ? 0.45 : 1;
  if (shape.kind === "mask") {
    ink.imageSmoothingEnabled = false;
    if (shape.confirmed === false) ink.globalAlpha *= 0.6;
    drawPatch(ink, patchOf(shape), pictureOf(shape, one.colour), view);
    if (selected || dashed.length) frame(ink, covered(shape), view, one.colour, [3, 4]);
  } else {
    const path = outline(ink, shape, view);
    ink.lineJoin = ink.lineCap = "round";
    ink.setLineDash(dashed);
    ink.lineWidth = selected ? 6 : 4.5; ink.strokeStyle = CASING; ink.stroke(path);
    if (shape.kind !== "key-points" && !quiet) {
      ink.fillStyle = hatch(ink, one, selected ? 0.4 : 0.22);
      ink.fill(path, "evenodd");
    }
    ink.lineWidth = selected ? 3 : 2; ink.strokeStyle = one.colour; ink.stroke(path);
    ink.setLineDash([]);
    if (selected || shape.kind === "key-points") {
      handles(shape).forEach((point, number) => knob(ink, view.toScreen(point), number === held ? "#ffffff" : one.colour, selected ? 4.5 : 3.5));
    }
  }
  ink.restore();
  if (label) drawLabel(ink, covered(shape), view, one, `${tag || one.letter} ${shape.class_name}${shape.instance ? ` #${shape.instance}` : ""}${shape.confirmed === false ? " ?" : ""}`, quiet);
}

export function frame(ink, [x, y, w, h], view, colour, dash = []) {
  ink.setLineDash(dash);
  ink.lineWidth = 1.5;
  ink.strokeStyle = colour;
  ink.strokeRect(...view.toScreen([x, y]), w * view.scale, h * view.scale);
  ink.setLineDash([]);
}

function drawLabel(ink, [x, y, , high], view, one, text, quiet) {
  const [left, top] = view.toScreen([x, y]), below = view.toScreen([x, y + high])[1] + 3;
  ink.font = "600 12px ui-sans-serif, system-ui, 'Liberation Sans', sans-serif";
  const wide = ink.measureText(text).width + 10, above = top >= 20 ? top - 20 : below < view.height - 20 ? Math.max(2, below) : Math.max(2, top + 2);
  const start = Math.min(Math.max(2, left), Math.max(2, view.width - wide - 2));
  ink.globalAlpha = quiet ? 0.6 : 1;
  ink.fillStyle = one.colour;
  ink.beginPath();
  ink.roundRect(start, above, wide, 18, 3);
  ink.fill();
  ink.fillStyle = "#0b0f0d";
  ink.fillText(text, start + 5, above + 13);
  ink.globalAlpha = 1;
}

// The canvas as large as its place on the screen, in device pixels; gives a context in CSS pixels.
export function prepared(canvas, view) {
  const ratio = devicePixelRatio || 1, [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  view.resize(width, height);
  const ink = canvas.getContext("2d");
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, width, height);
  return ink;
}

export function drawPicture(ink, picture, view, image) {
  ink.imageSmoothingEnabled = view.scale < 3;
  ink.imageSmoothingQuality = "high";
  if (picture.draw) picture.draw(ink, view);
  else ink.drawImage(picture, view.x, view.y, image.width * view.scale, image.height * view.scale);
}
