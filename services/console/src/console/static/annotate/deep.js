// A large image behind a viewer's zoom: a canvas over the stage that draws tiles.
import { prepared } from "./paint.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";

const TRIES = 20, AGAIN_MS = 1500;

async function fetched(url, signal) {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(answer.statusText);
  return answer;
}

// An image that nobody has looked at before is cut meanwhile, which takes longer than a request may.
async function opened(url) {
  for (let left = TRIES; ; left--) {
    try { return await Tiles.open(url, fetched); } catch (error) { if (!left) throw error; }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

// Gives a function that draws for a zoom and a shift of the fitted image; `more` is called when there is more to draw.
export async function deep(canvas, more) {
  const tiles = await opened(canvas.dataset.tiles), view = new View();
  tiles.onmore = more;
  return (scale, x, y) => {
    const ink = prepared(canvas, view);
    view.fit(tiles, 0);
    view.scale *= scale;
    view.x = (view.width - tiles.width * view.scale) / 2 + x;
    view.y = (view.height - tiles.height * view.scale) / 2 + y;
    ink.imageSmoothingEnabled = view.scale < 3;
    ink.imageSmoothingQuality = "high";
    tiles.draw(ink, view);
  };
}
