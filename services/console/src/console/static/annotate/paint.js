// Shapes on a canvas, crisp at every zoom: a dark casing under each line, so that it shows on any surface.
import { find, hatch } from "./classes.js";
import { bounds, chain, handles } from "./geometry.js";
import { decode } from "./masks.js";

const CASING = "rgb(0 0 0 / .72)";
const known = new Map();                           // decoded masks and their pictures, by what they hold
const KEPT = 60;

// A mask's bits, decoded once.
export function bitsOf(shape) {
  const key = `${shape.size} ${shape.counts}`;
  let held = known.get(key);
  if (!held) {
    held = { bits: decode(shape.counts, shape.size), pictures: new Map() };
    known.set(key, held);
    if (known.size > KEPT) known.delete(known.keys().next().value);
  }
  return held;
}

export const maskAt = (shape, [x, y]) => {
  const [height, width] = shape.size;
  return x >= 0 && y >= 0 && x < width && y < height && bitsOf(shape).bits[Math.floor(y) * width + Math.floor(x)] === 1;
};

// x, y, width, height of what a mask covers.
export function covered(shape) {
  if (shape.kind !== "mask") return bounds(shape);
  const held = bitsOf(shape);
  if (!held.box) {
    const [height, width] = shape.size;
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let y = 0; y < height; y++) {
      const row = held.bits.subarray(y * width, (y + 1) * width), from = row.indexOf(1);
      if (from < 0) continue;
      [left, top, right, bottom] = [Math.min(left, from), Math.min(top, y), Math.max(right, row.lastIndexOf(1) + 1), y + 1];
    }
    held.box = right ? [left, top, right - left, bottom - top] : [0, 0, 0, 0];
  }
  return held.box;
}

// The mask as a picture in its colour, its edge opaque. A part of it - left, top, right, bottom - is painted anew on a picture
// that is there, so that a brush costs what it touches.
export function maskPicture(bits, width, height, colour, picture = new OffscreenCanvas(width, height), [left, top, right, bottom] = [0, 0, width, height]) {
  if (right <= left || bottom <= top) return picture;
  const ink = picture.getContext("2d"), [r, g, b] = rgb(colour), data = ink.createImageData(right - left, bottom - top), out = data.data;
  for (let y = top, to = 0; y < bottom; y++) {
    for (let x = left, at = y * width + left; x < right; x++, at++, to += 4) {
      if (!bits[at]) continue;
      const edge = !x || !y || x === width - 1 || y === height - 1 || !bits[at - 1] || !bits[at + 1] || !bits[at - width] || !bits[at + width];
      [out[to], out[to + 1], out[to + 2], out[to + 3]] = [r, g, b, edge ? 255 : (x + y) % 6 < 2 ? 150 : 90];
    }
  }
  ink.putImageData(data, left, top);
  return picture;
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
    const bits = bitsOf(shape), [height, width] = shape.size;
    if (!bits.pictures.has(one.colour)) bits.pictures.set(one.colour, maskPicture(bits.bits, width, height, one.colour));
    ink.imageSmoothingEnabled = false;
    if (shape.confirmed === false) ink.globalAlpha *= 0.6;
    ink.drawImage(bits.pictures.get(one.colour), view.x, view.y, width * view.scale, height * view.scale);
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
  ink.drawImage(picture, view.x, view.y, image.width * view.scale, image.height * view.scale);
}
