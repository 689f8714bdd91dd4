// What two people said of one image, shape against shape: marks of one class that overlap enough are the same mark.

const GRID = 256, SAME = 0.5, TOUCH = 0.1;

const area = ([, , w, h]) => w * h;
function boxes([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const w = Math.min(ax + aw, bx + bw) - Math.max(ax, bx), h = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  return w > 0 && h > 0 ? w * h : 0;
}

// Which cells of a grid over the image a shape covers.
function cells(shape, image, patchOf) {
  const scale = Math.min(1, GRID / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(image.width * scale)), Math.max(1, Math.round(image.height * scale)));
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  ink.scale(scale, scale);
  if (shape.kind === "box") ink.fillRect(...shape.box);
  else if (shape.kind === "polygon") {
    ink.beginPath();
    for (const ring of shape.rings) { ring.forEach((point, number) => ink[number ? "lineTo" : "moveTo"](...point)); ink.closePath(); }
    ink.fill("evenodd");
  } else if (shape.kind === "key-points") for (const [x, y] of Object.values(shape.points)) ink.fillRect(x - 6, y - 6, 12, 12);
  else {
    const { left, top, columns, rows, step, bits } = patchOf(shape);
    if (!columns) return new Uint8Array(canvas.width * canvas.height);
    const data = new ImageData(columns, rows), own = new OffscreenCanvas(columns, rows);
    bits.forEach((bit, at) => { if (bit) data.data[at * 4 + 3] = 255; });
    own.getContext("2d").putImageData(data, 0, 0);
    ink.drawImage(own, left, top, columns * step, rows * step);
  }
  const { data } = ink.getImageData(0, 0, canvas.width, canvas.height), covered = new Uint8Array(data.length / 4);
  for (let at = 0; at < covered.length; at++) covered[at] = data[at * 4 + 3] > 127 ? 1 : 0;
  return covered;
}

// Intersection over union of two shapes; exact for boxes, on a grid for everything else.
export function iou(a, b, image, patchOf, known = new Map()) {
  if (a.kind === "box" && b.kind === "box") {
    const common = boxes(a.box, b.box);
    return common / (area(a.box) + area(b.box) - common || 1);
  }
  const of = (shape) => { if (!known.has(shape)) known.set(shape, cells(shape, image, patchOf)); return known.get(shape); };
  const [left, right] = [of(a), of(b)];
  let common = 0, all = 0;
  for (let at = 0; at < left.length; at++) { common += left[at] & right[at]; all += left[at] | right[at]; }
  return all ? common / all : 0;
}

// Pairs, the best first, and what is alone: {kind: "match" | "other-class" | "only", a, b, iou}.
export function compare(first, second, image, patchOf) {
  const known = new Map(), pairs = [], made = [];
  for (const a of first.shapes) for (const b of second.shapes) {
    const overlap = iou(a, b, image, patchOf, known);
    if (overlap >= TOUCH) pairs.push({ a, b, iou: overlap, same: a.class_name === b.class_name });
  }
  pairs.sort((one, other) => Number(other.same) - Number(one.same) || other.iou - one.iou);
  const taken = new Set();
  for (const { a, b, iou: overlap, same } of pairs) {
    if (taken.has(a) || taken.has(b)) continue;
    taken.add(a).add(b);
    made.push({ kind: !same ? "other-class" : overlap >= SAME ? "match" : "loose", a, b, iou: overlap });
  }
  for (const a of first.shapes) if (!taken.has(a)) made.push({ kind: "only", a, b: null, iou: 0 });
  for (const b of second.shapes) if (!taken.has(b)) made.push({ kind: "only", a: null, b, iou: 0 });
  return made;
}

export const differs = (pair) => pair.kind !== "match";
