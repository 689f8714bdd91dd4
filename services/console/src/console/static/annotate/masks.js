// Pixels: COCO's compressed run lengths and back, brush strokes, fills. A mask is held as a patch: the part of the image that it
// covers, one byte a pixel, row by row. What covers too much for that is held in steps of several pixels, to be shown only.

export const MOST = 16_000_000;                    // bytes of a patch; its picture takes four times as much
const MARGIN = 256;                                // pixels that a patch grows ahead of the brush

const patch = (left, top, width, height, bits = null, step = 1) => {
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  return { left, top, width, height, step, columns, rows, bits: bits ?? new Uint8Array(columns * rows) };
};
export const nothing = () => patch(0, 0, 0, 0);
export const copied = (one) => ({ ...one, bits: one.bits.slice() });

// Lengths of runs of zeros and ones in turn, column by column.
function lengths(counts) {
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      shift += 5;
      if (!more && code & 16) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

export function decode(counts, [height]) {
  const pieces = [];                               // of one column each: x, first row, row after the last
  let place = 0, [left, top, right, bottom] = [Infinity, Infinity, 0, 0];
  lengths(counts).forEach((run, number) => {
    if (number % 2) {
      for (let at = place; at < place + run;) {
        const x = Math.floor(at / height), y = at % height, end = Math.min(height, y + place + run - at);
        pieces.push([x, y, end]);
        [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), x + 1, Math.max(bottom, end)];
        at += end - y;
      }
    }
    place += run;
  });
  if (!pieces.length) return nothing();
  const [wide, high] = [right - left, bottom - top], made = patch(left, top, wide, high, null, Math.ceil(Math.sqrt((wide * high) / MOST)));
  const { bits, columns, step } = made;
  for (const [x, from, to] of pieces) {
    if ((x - left) % step) continue;
    const column = (x - left) / step;
    for (let row = Math.ceil((from - top) / step); row * step < to - top; row++) bits[row * columns + column] = 1;
  }
  return made;
}

export function encode({ left, top, width, height, bits }, [high, wide]) {
  const runs = [];
  let last = 0, run = left * high;
  for (let x = 0; x < width; x++) {
    if (top) { if (last) { runs.push(run); run = 0; last = 0; } run += top; }
    for (let y = 0, at = x; y < height; y++, at += width) {
      if (bits[at] === last) run++;
      else { runs.push(run); run = 1; last = bits[at]; }
    }
    const below = high - top - height;
    if (below) { if (last) { runs.push(run); run = 0; last = 0; } run += below; }
  }
  const after = (wide - left - width) * high;
  if (after && last) { runs.push(run); run = 0; }
  runs.push(run + after);
  let text = "";
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i], more = true;
    while (more) {
      let code = value & 31;
      value >>= 5;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  }
  return text;
}

export const isEmpty = ({ bits }) => !bits.includes(1);

// The patch, large enough for a part of the image - left, top, right, bottom - as well; null where it would be too large to be
// painted on.
export function grown(one, [left, top, right, bottom], [high, wide]) {
  const inside = one.width && left >= one.left && top >= one.top && right <= one.left + one.width && bottom <= one.top + one.height;
  if (inside) return one;
  let box = [Math.max(0, left - MARGIN), Math.max(0, top - MARGIN), Math.min(wide, right + MARGIN), Math.min(high, bottom + MARGIN)];
  if (one.width) box = [Math.min(box[0], one.left), Math.min(box[1], one.top), Math.max(box[2], one.left + one.width), Math.max(box[3], one.top + one.height)];
  if (one.step > 1 || (box[2] - box[0]) * (box[3] - box[1]) > MOST) return null;
  const made = patch(box[0], box[1], box[2] - box[0], box[3] - box[1]);
  put(one, made);
  return made;
}

// Both patches as one; null where that is too large.
export function joined(one, other, size) {
  const made = grown(copied(one), [other.left, other.top, other.left + other.width, other.top + other.height], size);
  if (made) put(other, made);
  return made;
}

function put(from, to) {
  for (let y = 0; y < from.height; y++) {
    const start = (from.top + y - to.top) * to.width + from.left - to.left;
    for (let x = 0; x < from.width; x++) if (from.bits[y * from.width + x]) to.bits[start + x] = 1;
  }
}

// What a stroke between two points may change: left, top, right, bottom.
export function reach([high, wide], [ax, ay], [bx, by], radius) {
  return [
    Math.max(0, Math.floor(Math.min(ax, bx) - radius)), Math.max(0, Math.floor(Math.min(ay, by) - radius)),
    Math.min(wide, Math.ceil(Math.max(ax, bx) + radius) + 1), Math.min(high, Math.ceil(Math.max(ay, by) + radius) + 1),
  ];
}

// Set (or clear) all pixels within `radius` of the line between two points, in a patch that has them.
export function stroke({ left, top, width, bits }, box, [ax, ay], [bx, by], radius, value) {
  const [dx, dy] = [bx - ax, by - ay], long = dx * dx + dy * dy, near = Math.max(radius, 0.5) ** 2;
  for (let y = box[1]; y < box[3]; y++) {
    for (let x = box[0]; x < box[2]; x++) {
      const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
      const along = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= near) bits[(y - top) * width + x - left] = value;
    }
  }
}

// The connected pixels whose colour is within `tolerance` of the one at a point, with the specks inside.
export function flood(pixels, width, height, [x, y], tolerance) {
  const start = Math.floor(y) * width + Math.floor(x), own = [0, 1, 2].map((part) => pixels[start * 4 + part]);
  const like = new Uint8Array(width * height);
  for (let at = 0; at < like.length; at++) {
    const i = at * 4;
    like[at] = Number(Math.max(Math.abs(pixels[i] - own[0]), Math.abs(pixels[i + 1] - own[1]), Math.abs(pixels[i + 2] - own[2])) <= tolerance);
  }
  const bits = connected(like, width, start);
  fillHoles(bits, width, height);
  return patch(0, 0, width, height, bits);
}

// The superpixel around a point: SLIC in a window of five cells, so that a click costs the same in any image; of it one
// piece, without specks.
export function superpixel(pixels, width, height, [x, y], cell, compactness = 18) {
  const reach = Math.ceil(cell * 2.5), rounds = 5;
  const [left, top] = [Math.max(0, Math.floor(x) - reach), Math.max(0, Math.floor(y) - reach)];
  const [w, h] = [Math.min(width, Math.floor(x) + reach) - left, Math.min(height, Math.floor(y) + reach) - top];
  const [red, green, blue] = [0, 1, 2].map((part) => softened(pixels, width, [left, top, w, h], part));
  let seeds = [];
  for (let sy = cell / 2; sy < h; sy += cell) {
    for (let sx = cell / 2; sx < w; sx += cell) {
      const at = Math.floor(sy) * w + Math.floor(sx);
      seeds.push([sx, sy, red[at], green[at], blue[at]]);
    }
  }
  const owner = new Int32Array(w * h), near = (compactness / cell) ** 2;
  for (let round = 0; round < rounds; round++) {
    const best = new Float32Array(w * h).fill(Infinity), sums = seeds.map(() => [0, 0, 0, 0, 0, 0]);
    seeds.forEach(([sx, sy, r, g, b], number) => {
      for (let py = Math.max(0, Math.floor(sy - cell)); py < Math.min(h, sy + cell); py++) {
        for (let px = Math.max(0, Math.floor(sx - cell)); px < Math.min(w, sx + cell); px++) {
          const at = py * w + px;
          const far = (red[at] - r) ** 2 + (green[at] - g) ** 2 + (blue[at] - b) ** 2 + ((px - sx) ** 2 + (py - sy) ** 2) * near;
          if (far < best[at]) { best[at] = far; owner[at] = number; }
        }
      }
    });
    owner.forEach((number, at) => [at % w, Math.floor(at / w), red[at], green[at], blue[at], 1].forEach((value, part) => { sums[number][part] += value; }));
    seeds = seeds.map((seed, number) => (sums[number][5] ? sums[number].slice(0, 5).map((value) => value / sums[number][5]) : seed));
  }
  const start = Math.min(h - 1, Math.floor(y) - top) * w + Math.min(w - 1, Math.floor(x) - left);
  const chosen = Uint8Array.from(owner, (number) => Number(number === owner[start]));
  const bits = connected(chosen, w, start);
  fillHoles(bits, w, h);
  return patch(left, top, w, h, bits);
}

// One colour of a window, each pixel the mean of those of five by five that are about as bright: noise goes, edges stay.
function softened(pixels, width, [left, top, w, h], part) {
  const made = new Float32Array(w * h), like = 24, value = (px, py) => pixels[((top + py) * width + left + px) * 4 + part];
  for (let py = 0; py < h; py++) {
    for (let px = 0; px < w; px++) {
      const own = value(px, py);
      let sum = 0, count = 0;
      for (let qy = Math.max(0, py - 2); qy <= Math.min(h - 1, py + 2); qy++) {
        for (let qx = Math.max(0, px - 2); qx <= Math.min(w - 1, px + 2); qx++) {
          const other = value(qx, qy);
          if (Math.abs(other - own) <= like) { sum += other; count++; }
        }
      }
      made[py * w + px] = sum / count;
    }
  }
  return made;
}

// Every pixel that hangs together with the one at `start` and is still to be seen, each once; gives how many, in `order`.
function walk(open, width, start, order) {
  let count = 1;
  order[0] = start;
  open[start] = 0;
  const visit = (at) => { if (open[at]) { open[at] = 0; order[count++] = at; } };
  for (let next = 0; next < count; next++) {
    const at = order[next], column = at % width;
    if (column > 0) visit(at - 1);
    if (column < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at + width < open.length) visit(at + width);
  }
  return count;
}

// The pixels that hang together with the one at `start`.
function connected(bits, width, start) {
  const made = new Uint8Array(bits.length), order = new Int32Array(bits.length), count = walk(bits.slice(), width, start, order);
  for (let n = 0; n < count; n++) made[order[n]] = 1;
  return made;
}

// Holes of up to `most` pixels belong to what surrounds them.
export function fillHoles(bits, width, height, most = 40) {
  const open = bits.map((bit) => 1 - bit), order = new Int32Array(bits.length);
  for (let start = 0; start < bits.length; start++) {
    if (!open[start]) continue;
    const count = walk(open, width, start, order);
    if (count > most) continue;
    let edge = false;
    for (let n = 0; n < count; n++) {
      const column = order[n] % width;
      edge ||= column === 0 || column === width - 1 || order[n] < width || order[n] >= width * (height - 1);
    }
    if (!edge) for (let n = 0; n < count; n++) bits[order[n]] = 1;
  }
}

// Median of three by three: noise goes, edges stay.
export function denoised(pixels, width, height) {
  const made = new Uint8ClampedArray(pixels), near = new Uint8Array(9);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      for (let part = 0; part < 3; part++) {
        let k = 0;
        for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) near[k++] = pixels[((y + dy) * width + x + dx) * 4 + part];
        made[(y * width + x) * 4 + part] = near.sort()[4];
      }
    }
  }
  return made;
}
