// The picture's pixels, worked on in a worker: the page never waits for them.

export class Pixels {
  #worker = null; #waiting = new Map(); #number = 0; #loaded = null;

  load(picture, image) { Object.assign(this, { picture, image }); }

  do(work, given = {}) {
    const { image } = this;
    this.#worker ??= this.#start();
    if (this.#loaded !== image) {
      const canvas = new OffscreenCanvas(image.width, image.height), ink = canvas.getContext("2d");
      ink.drawImage(this.picture, 0, 0, image.width, image.height);
      const { data } = ink.getImageData(0, 0, image.width, image.height);
      this.#worker.postMessage({ work: "picture", pixels: data, width: image.width, height: image.height }, [data.buffer]);
      this.#loaded = image;
    }
    const id = ++this.#number;
    this.#worker.postMessage({ id, work, ...given });
    return new Promise((done) => this.#waiting.set(id, done));
  }

  async denoised() {
    const { image } = this, made = await this.do("denoise");
    return createImageBitmap(new ImageData(made, image.width, image.height));
  }

  #start() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => { this.#waiting.get(data.id)?.(data.made); this.#waiting.delete(data.id); };
    return worker;
  }
}
