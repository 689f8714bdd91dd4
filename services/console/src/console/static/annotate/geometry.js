// Shapes as the registry keeps them, in pixels of the image. Pure: nothing here knows a screen.

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);
const tenth = (value) => Math.round(value * 10) / 10;

export function inside([x, y], { width, height }) {
  return [tenth(clamp(x, 0, width)), tenth(clamp(y, 0, height))];
}

export function boxBetween([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by)].map(tenth);
}

// What makes a shape of its kind, without its class.
export const boxOf = (from, to) => ({ kind: "box", box: boxBetween(from, to) });
export const polygonOf = (points) => ({ kind: "polygon", rings: [points] });

export function keyPointsOf(points) {
  const names = points.map((_, number) => (number === 0 ? "start" : number === points.length - 1 ? "end" : `p${number}`));
  return {
    kind: "key-points",
    points: Object.fromEntries(points.map((point, number) => [names[number], point])),
    joins: names.slice(1).map((name, number) => [names[number], name]),
  };
}

export function pathLength(points) {
  return points.slice(1).reduce((sum, point, number) => sum + distance(points[number], point), 0);
}

// Key points in the order in which they are joined.
export function chain(shape) {
  const order = shape.joins?.length ? [shape.joins[0][0], ...shape.joins.map((join) => join[1])] : Object.keys(shape.points);
  return order.map((name) => shape.points[name]).filter(Boolean);
}

// Every vertex that a person can take hold of.
export function handles(shape) {
  if (shape.kind === "box") {
    const [x, y, w, h] = shape.box;
    return [[x, y], [x + w / 2, y], [x + w, y], [x + w, y + h / 2], [x + w, y + h], [x + w / 2, y + h], [x, y + h], [x, y + h / 2]];
  }
  if (shape.kind === "polygon") return shape.rings.flat();
  return shape.kind === "key-points" ? Object.values(shape.points) : [];
}

// The shape with one of its handles elsewhere.
export function reshaped(shape, handle, [x, y]) {
  if (shape.kind === "box") {
    const [left, top, width, height] = shape.box;
    const [right, bottom] = [left + width, top + height];
    const horizontal = [0, 6, 7].includes(handle) ? [x, right] : [2, 3, 4].includes(handle) ? [left, x] : [left, right];
    const vertical = [0, 1, 2].includes(handle) ? [y, bottom] : [4, 5, 6].includes(handle) ? [top, y] : [top, bottom];
    return { ...shape, box: boxBetween([horizontal[0], vertical[0]], [horizontal[1], vertical[1]]) };
  }
  if (shape.kind === "polygon") {
    let number = 0;
    return { ...shape, rings: shape.rings.map((ring) => ring.map((point) => (number++ === handle ? [x, y] : point))) };
  }
  const name = Object.keys(shape.points)[handle];
  return { ...shape, points: { ...shape.points, [name]: [x, y] } };
}

// The shape moved, but not out of the image. A mask stays where its pixels are.
export function moved(shape, dx, dy, image) {
  if (shape.kind === "mask") return shape;
  const [left, top, width, height] = bounds(shape);
  const [mx, my] = [clamp(dx, -left, image.width - left - width), clamp(dy, -top, image.height - top - height)];
  const shift = ([x, y]) => [tenth(x + mx), tenth(y + my)];
  if (shape.kind === "box") return { ...shape, box: [...shift(shape.box), shape.box[2], shape.box[3]] };
  if (shape.kind === "polygon") return { ...shape, rings: shape.rings.map((ring) => ring.map(shift)) };
  return { ...shape, points: Object.fromEntries(Object.entries(shape.points).map(([name, point]) => [name, shift(point)])) };
}

// x, y, width, height around a shape; for a mask, of the whole image.
export function bounds(shape) {
  if (shape.kind === "box") return shape.box;
  if (shape.kind === "mask") return [0, 0, shape.size[1], shape.size[0]];
  const points = handles(shape), xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return [left, top, Math.max(...xs) - left, Math.max(...ys) - top];
}

export function toSegment([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay], long = dx * dx + dy * dy;
  const along = long ? clamp(((x - ax) * dx + (y - ay) * dy) / long, 0, 1) : 0;
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
}

export function inRings([x, y], rings) {
  let odd = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [ax, ay] = ring[i], [bx, by] = ring[j];
      if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
  }
  return odd;
}

// Whether a point lies on a shape, give or take `slack` pixels; `maskAt` answers for masks.
export function hits(shape, point, slack, maskAt) {
  if (shape.kind === "mask") return maskAt(shape, point);
  if (shape.kind === "key-points") {
    const line = chain(shape);
    return line.length === 1 ? distance(point, line[0]) <= slack : line.slice(1).some((p, n) => toSegment(point, line[n], p) <= slack);
  }
  const [x, y, w, h] = bounds(shape);
  if (point[0] < x - slack || point[1] < y - slack || point[0] > x + w + slack || point[1] > y + h + slack) return false;
  return shape.kind === "box" || inRings(point, shape.rings)
    || shape.rings.some((ring) => ring.some((p, n) => toSegment(point, p, ring[(n + 1) % ring.length]) <= slack));
}

const turn = ([ax, ay], [bx, by], [cx, cy]) => Math.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax));

// Whether a ring crosses itself; the registry refuses such a one.
export function crossesItself(ring) {
  const n = ring.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 2; j < n; j++) {
      if (i === 0 && j === n - 1) continue;
      const [a, b, c, d] = [ring[i], ring[i + 1], ring[j], ring[(j + 1) % n]];
      if (turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0) return true;
    }
  }
  return false;
}
