// Large images: the tiles that the screen needs, over a coarse picture of all of it that is there from the start. Coordinates
// stay those of the image. Levels and tiles are DZI's: the last level is the image, each one before it half as large.
import { clamp } from "./geometry.js";
import { View } from "./view.js";

const MOST_PIXELS = 12e6, MOST_SIDE = 8192;        // what is larger is not shown as one piece; the registry has the same numbers
const KEPT = 96;                                   // tiles in memory, of all images together: about 100 MB
const AT_ONCE = 6, RETRY_MS = 3000, COARSE = 1024;

const bitmaps = new Map();                         // by address, the one used longest ago first

export const inMemory = () => bitmaps.size;
export const isLarge = ({ width, height }) => width * height > MOST_PIXELS || Math.max(width, height) > MOST_SIDE;

export class Tiles {
  onmore = () => {};                               // another tile is here
  #asked = new Map(); #failed = new Map(); #waiting = [];

  // What is at an address: DZI's document, tiles below it. `get` fetches.
  static async open(url, get) {
    const { Image } = await (await get(url)).json();
    const made = new Tiles(url, Image, get);
    await made.#begin();
    return made;
  }

  constructor(url, { Size, TileSize, Format }, get) {
    Object.assign(this, { url, get, format: Format, side: Number(TileSize), width: Number(Size.Width), height: Number(Size.Height) });
    this.top = Math.ceil(Math.log2(Math.max(this.width, this.height)));
    this.base = this.top;
    while (this.base && Math.max(...this.#size(this.base)) > COARSE) this.base--;
  }

  get busy() { return this.#asked.size + this.#waiting.length > 0; }

  // The tiles that a view needs, drawn as far as they are here; those that are missing are fetched, the middle first.
  draw(ink, view) {
    this.#place(ink, view, this.coarse, [0, 0, this.width, this.height]);
    const level = this.#level(view.scale * (devicePixelRatio || 1)), missing = [];
    for (let each = this.base + 1; each <= level; each++) {
      for (const tile of this.#seen(view, each)) {
        const bitmap = used(tile.address);
        if (bitmap) this.#place(ink, view, bitmap, tile.box);
        else if (each === level) missing.push(tile);
      }
    }
    if (missing.length) this.#want(missing);
  }

  // What a screen of this size will show first.
  ahead(width, height) {
    const view = new View();
    view.resize(width, height);
    view.fit(this);
    const level = this.#level(view.scale * (devicePixelRatio || 1));
    if (level > this.base) this.#want(this.#seen(view, level).filter((tile) => !bitmaps.has(tile.address)));
  }

  // The image's own pixels in a part of it: left, top, width, height.
  async pixels([left, top, width, height]) {
    const canvas = new OffscreenCanvas(width, height), ink = canvas.getContext("2d", { willReadFrequently: true });
    const tiles = this.#within([left, top, left + width, top + height], this.top);
    await Promise.all(tiles.map(async ({ address, box: [x, y] }) => ink.drawImage(used(address) ?? await this.#load(address), x - left, y - top)));
    return ink.getImageData(0, 0, width, height).data;
  }

  async #begin() {
    const [width, height] = this.#size(this.base), canvas = new OffscreenCanvas(width, height), ink = canvas.getContext("2d");
    const tiles = this.#within([0, 0, this.width, this.height], this.base);
    await Promise.all(tiles.map(async ({ address, column, row }) => ink.drawImage(await this.#fetch(address), column * this.side, row * this.side)));
    this.coarse = canvas;
  }

  #size(level) { return [this.width, this.height].map((side) => Math.ceil(side / 2 ** (this.top - level))); }
  #level(scale) { return clamp(this.top + Math.ceil(Math.log2(scale)), this.base, this.top); }

  #seen(view, level) {
    const [left, top] = view.toImage([0, 0]), [right, bottom] = view.toImage([view.width, view.height]);
    const far = ({ box: [x, y, w, h] }) => Math.hypot(x + w / 2 - (left + right) / 2, y + h / 2 - (top + bottom) / 2);
    return this.#within([left, top, right, bottom], level).sort((one, other) => far(one) - far(other));
  }

  // Tiles of a level that show something of a part of the image, each with its place in the image.
  #within([left, top, right, bottom], level) {
    const [width, height] = this.#size(level), { side } = this, made = [];
    const [across, down] = [this.width / width, this.height / height];             // pixels of the image in one of the level
    const last = (end, whole, unit) => Math.min(Math.ceil(whole / side), Math.ceil(end / unit / side)) - 1;
    for (let row = Math.max(0, Math.floor(top / down / side)); row <= last(bottom, height, down); row++) {
      for (let column = Math.max(0, Math.floor(left / across / side)); column <= last(right, width, across); column++) {
        const [x, y] = [column * side, row * side], [w, h] = [Math.min(side, width - x), Math.min(side, height - y)];
        made.push({ column, row, address: `${this.url}/${level}/${column}_${row}.${this.format}`, box: [x * across, y * down, w * across, h * down] });
      }
    }
    return made;
  }

  // On whole pixels of the screen, so that no seam shows between two tiles.
  #place(ink, view, bitmap, [x, y, width, height]) {
    const ratio = devicePixelRatio || 1, whole = (value) => Math.round(value * ratio) / ratio;
    const [left, top] = view.toScreen([x, y]).map(whole), [right, bottom] = view.toScreen([x + width, y + height]).map(whole);
    ink.drawImage(bitmap, left, top, right - left, bottom - top);
  }

  // Only what is wanted now is fetched: who moves on does not wait for what is out of sight.
  #want(tiles) {
    const now = new Set(tiles.map((tile) => tile.address));
    for (const [address, over] of this.#asked) if (!now.has(address)) over.abort();
    this.#waiting = tiles.map((tile) => tile.address).filter((address) => !this.#asked.has(address) && !(this.#failed.get(address) > Date.now()));
    this.#next();
  }

  #next() {
    while (this.#asked.size < AT_ONCE && this.#waiting.length) this.#ask(this.#waiting.shift());
  }

  async #ask(address) {
    const over = new AbortController();
    this.#asked.set(address, over);
    try {
      await this.#load(address, over.signal);
      this.#failed.delete(address);
    } catch {
      if (!over.signal.aborted) {
        this.#failed.set(address, Date.now() + RETRY_MS);
        setTimeout(() => this.onmore(), RETRY_MS);
      }
    }
    this.#asked.delete(address);
    this.#next();
    if (bitmaps.has(address)) this.onmore();
  }

  async #load(address, signal) {
    const bitmap = await this.#fetch(address, signal);
    bitmaps.set(address, bitmap);
    while (bitmaps.size > KEPT) {
      const [oldest, gone] = bitmaps.entries().next().value;
      bitmaps.delete(oldest);
      gone.close();
    }
    return bitmap;
  }

  async #fetch(address, signal) { return createImageBitmap(await (await this.get(address, signal)).blob()); }
}

function used(address) {
  const bitmap = bitmaps.get(address);
  if (bitmap) { bitmaps.delete(address); bitmaps.set(address, bitmap); }
  return bitmap;
}
