// Where the image lies on the screen: `scale` screen pixels for one of the image, its corner at x and y.
import { clamp } from "./geometry.js";

const MOST = 40;

export class View {
  scale = 1; x = 0; y = 0; width = 1; height = 1;

  resize(width, height) { this.width = width; this.height = height; }

  fit(image, room = 16) {
    this.image = image;
    this.least = Math.min((this.width - 2 * room) / image.width, (this.height - 2 * room) / image.height);
    this.least = Math.max(this.least, 0.01);
    this.scale = Math.min(this.least, MOST);
    this.x = (this.width - image.width * this.scale) / 2;
    this.y = (this.height - image.height * this.scale) / 2;
  }

  toImage([x, y]) { return [(x - this.x) / this.scale, (y - this.y) / this.scale]; }
  toScreen([x, y]) { return [x * this.scale + this.x, y * this.scale + this.y]; }

  zoom(factor, [x, y] = [this.width / 2, this.height / 2]) {
    const next = clamp(this.scale * factor, this.least * 0.5, MOST), change = next / this.scale;
    this.x = x - (x - this.x) * change;
    this.y = y - (y - this.y) * change;
    this.scale = next;
  }

  // Some of the image always stays in sight.
  pan(dx, dy) {
    const room = 40, wide = this.image.width * this.scale, high = this.image.height * this.scale;
    this.x = clamp(this.x + dx, room - wide, this.width - room);
    this.y = clamp(this.y + dy, room - high, this.height - room);
  }

  // A part of the image in the middle, with some of what is around it.
  look([x, y, width, height]) {
    this.scale = clamp(Math.min((0.45 * this.width) / Math.max(width, 4), (0.45 * this.height) / Math.max(height, 4)), this.least, MOST / 2);
    this.x = this.width / 2 - (x + width / 2) * this.scale;
    this.y = this.height / 2 - (y + height / 2) * this.scale;
  }
}
