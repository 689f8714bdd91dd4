// The picture's pixels, worked on in a worker: the page never waits for them. Of an image in tiles it is a window about the point.

const WINDOW = 2048;                               // pixels of the side of the window for a fill
const CELLS = 3;                                   // superpixels on each side of the one that is asked for

export class Pixels {
  #worker = null; #waiting = new Map(); #number = 0; #loaded = null;

  load(picture, image) { Object.assign(this, { picture, image }); }

  // What the work makes: a patch in pixels of the image. `cut`: it reaches an edge of the window that is none of the image.
  async do(work, given = {}) {
    if (!this.picture.pixels) {
      this.#whole();
      return this.#ask({ work, ...given });
    }
    const { image } = this, side = work === "flood" ? WINDOW : 2 * CELLS * given.cell, [x, y] = given.point;
    const left = Math.max(0, Math.floor(x - side / 2)), top = Math.max(0, Math.floor(y - side / 2));
    const width = Math.min(image.width - left, side), height = Math.min(image.height - top, side);
    this.#send(await this.picture.pixels([left, top, width, height]), width, height);
    this.#loaded = null;
    const made = await this.#ask({ work, ...given, point: [x - left, y - top] });
    const cut = work === "flood" && touches(made, [left > 0, top > 0, left + width < image.width, top + height < image.height]);
    return { ...made, left: made.left + left, top: made.top + top, cut };
  }

  async denoised() {
    const { image } = this, made = await this.do("denoise");
    return createImageBitmap(new ImageData(made, image.width, image.height));
  }

  #whole() {
    const { image } = this;
    if (this.#loaded === image) return;
    const canvas = new OffscreenCanvas(image.width, image.height), ink = canvas.getContext("2d");
    ink.drawImage(this.picture, 0, 0, image.width, image.height);
    this.#send(ink.getImageData(0, 0, image.width, image.height).data, image.width, image.height);
    this.#loaded = image;
  }

  #send(pixels, width, height) {
    this.#worker ??= this.#start();
    this.#worker.postMessage({ work: "picture", pixels, width, height }, [pixels.buffer]);
  }

  #ask(given) {
    const id = ++this.#number;
    this.#worker.postMessage({ id, ...given });
    return new Promise((done) => this.#waiting.set(id, done));
  }

  #start() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => { this.#waiting.get(data.id)?.(data.made); this.#waiting.delete(data.id); };
    return worker;
  }
}

// Whether a patch that fills its window has pixels at one of its open edges: left, top, right, bottom.
function touches({ bits, width, height }, [left, top, right, bottom]) {
  for (let y = 0; y < height; y++) if ((left && bits[y * width]) || (right && bits[(y + 1) * width - 1])) return true;
  for (let x = 0; x < width; x++) if ((top && bits[x]) || (bottom && bits[(height - 1) * width + x])) return true;
  return false;
}
