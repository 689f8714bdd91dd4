// Pixels: COCO's compressed run lengths and back, brush strokes, flood fill. A mask is one byte a pixel, row by row.

export function decode(counts, [height, width]) {
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
  const bits = new Uint8Array(width * height);
  let place = 0, on = 0;
  for (const run of runs) {
    if (on) for (let k = place; k < place + run; k++) bits[(k % height) * width + Math.floor(k / height)] = 1;
    place += run;
    on ^= 1;
  }
  return bits;
}

export function encode(bits, [height, width]) {
  const runs = [];
  let last = 0, run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, at = x; y < height; y++, at += width) {
      if (bits[at] === last) run++;
      else { runs.push(run); run = 1; last = bits[at]; }
    }
  }
  runs.push(run);
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

export const isEmpty = (bits) => !bits.includes(1);

// Set (or clear) all pixels within `radius` of the line between two points; gives what may have changed: left, top, right, bottom.
export function stroke(bits, [height, width], [ax, ay], [bx, by], radius, value) {
  const [left, right] = [Math.max(0, Math.floor(Math.min(ax, bx) - radius)), Math.min(width - 1, Math.ceil(Math.max(ax, bx) + radius))];
  const [top, bottom] = [Math.max(0, Math.floor(Math.min(ay, by) - radius)), Math.min(height - 1, Math.ceil(Math.max(ay, by) + radius))];
  const [dx, dy] = [bx - ax, by - ay], long = dx * dx + dy * dy, reach = Math.max(radius, 0.5) ** 2;
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
      const along = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= reach) bits[y * width + x] = value;
    }
  }
  return [left, top, right + 1, bottom + 1];
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
  return bits;
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
  const piece = connected(chosen, w, start), bits = new Uint8Array(width * height);
  fillHoles(piece, w, h);
  for (let py = 0; py < h; py++) bits.set(piece.subarray(py * w, (py + 1) * w), (top + py) * width + left);
  return bits;
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

function neighbours(place, width, length) {
  const column = place % width;
  return [column > 0 ? place - 1 : -1, column < width - 1 ? place + 1 : -1, place - width, place + width < length ? place + width : -1];
}

// The pixels that hang together with the one at `start`.
function connected(bits, width, start) {
  const made = new Uint8Array(bits.length), waiting = [start];
  made[start] = 1;
  while (waiting.length) {
    for (const next of neighbours(waiting.pop(), width, bits.length)) {
      if (next >= 0 && !made[next] && bits[next]) { made[next] = 1; waiting.push(next); }
    }
  }
  return made;
}

// Holes of up to `most` pixels belong to what surrounds them.
export function fillHoles(bits, width, height, most = 40) {
  const seen = bits.slice();
  for (let start = 0; start < bits.length; start++) {
    if (seen[start]) continue;
    const hole = [start];
    let open = false;
    seen[start] = 1;
    for (let at = 0; at < hole.length; at++) {
      const place = hole[at], column = place % width;
      open ||= column === 0 || column === width - 1 || place < width || place >= width * (height - 1);
      for (const next of neighbours(place, width, bits.length)) if (next >= 0 && !seen[next]) { seen[next] = 1; hole.push(next); }
    }
    if (!open && hole.length <= most) for (const place of hole) bits[place] = 1;
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
