// The console's own routes; the person is known there. What goes wrong is Refused (the registry said no) or Away.
import { isLarge, Tiles } from "./tiles.js";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? String(status));
    Object.assign(this, { status, reason: problem.title, problem });
  }
}
export class Away extends Error {}
export class SignedOut extends Away {}               // what is not sent waits, as when the network is away

const person = document.querySelector("#room")?.dataset.person ?? "";
let out = "";

// Tells when the session ends, when it is somebody else's, and when somebody has signed in again.
export const session = new EventTarget();
function signedOut(problem) {
  const why = problem?.title ?? "";
  if (out !== why) { out = why; session.dispatchEvent(new CustomEvent(out ? "out" : "in", { detail: problem })); }
  if (problem) throw new SignedOut(problem.detail);
}

async function call(method, path, { body, match, key, keepalive } = {}) {
  const headers = { "Content-Type": "application/json", "Andon-Person": encodeURIComponent(person) };
  if (match !== undefined && match !== null) headers["If-Match"] = `"${match}"`;
  if (key) headers["Idempotency-Key"] = key;
  let answer;
  try {
    answer = await fetch(`/annotate/api/${path}`, { method, headers, keepalive, body: body && JSON.stringify(body), cache: "no-store" });
  } catch (error) {
    throw new Away(error.message);
  }
  if (answer.status >= 500) throw new Away(answer.statusText);
  if (answer.status === 204) return null;
  const found = await answer.json();
  signedOut(answer.status === 401 ? found : null);
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}

export const next = (kind, batch_id, after) => call("POST", "next", { body: { kind, ...(batch_id && { batch_id }), ...(after && { after }) } });
export const task = (id) => call("GET", `tasks/${id}`);
export const saveDraft = (id, annotation, version) => call("PUT", `tasks/${id}/draft`, { body: { annotation }, match: version || null });
export const release = (id) => call("DELETE", `tasks/${id}/claim`, { keepalive: true });
export const send = (id, annotation, version, key) => call("POST", `tasks/${id}/annotations`, { body: { annotation }, match: version, key });
export const review = (id, said, version, key) => call("POST", `tasks/${id}/reviews`, { body: said, match: version, key });
export const image = (id) => call("GET", `images/${id}`);

// Before a first taxonomy is published any class will do: good, and one defect.
const UNPUBLISHED = { classes: [{ name: "good", is_defect: false, severity: "minor" }, { name: "defect", is_defect: true, severity: "major" }] };
export const taxonomy = (version) => (version ? call("GET", `taxonomies/${encodeURIComponent(version)}`) : Promise.resolve(UNPUBLISHED));

export const pictureUrl = (imageId, view = "screen") => `/annotate/images/${imageId}/${view}`;

async function bytes(url, signal) {
  let answer;
  try { answer = await fetch(url, { signal }); } catch (error) { throw new Away(error.message); }
  if (!answer.ok) throw answer.status >= 500 || answer.status === 401 ? new Away(answer.statusText) : new Refused(answer.status, {});
  return answer;
}

// The tiles of a large picture, first those that the screen will show.
async function tiles(imageId) {
  const made = await Tiles.open(pictureUrl(imageId, "tiles"), bytes);
  made.ahead(innerWidth, innerHeight);
  return made;
}

// A picture, decoded and as large as the image is said to be; of a large one its tiles.
export async function picture(image) {
  if (isLarge(image)) return tiles(image.image_id);
  const answer = await bytes(pictureUrl(image.image_id));
  return createImageBitmap(await answer.blob(), { resizeWidth: image.width, resizeHeight: image.height });
}

// Another picture, most likely about as large as this image.
export const pictureLike = async (image, otherId) => (isLarge(image) ? tiles(otherId) : createImageBitmap(await (await bytes(pictureUrl(otherId))).blob()));
