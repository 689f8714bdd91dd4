// The console's own routes; the person is known there. What goes wrong is Refused (the registry said no) or Away.

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? String(status));
    Object.assign(this, { status, reason: problem.title, problem });
  }
}
export class Away extends Error {}

async function call(method, path, { body, match, key, keepalive } = {}) {
  const headers = { "Content-Type": "application/json" };
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

// A picture, decoded and as large as the image is said to be.
export async function picture(image) {
  let answer;
  try { answer = await fetch(pictureUrl(image.image_id)); } catch (error) { throw new Away(error.message); }
  if (!answer.ok) throw answer.status >= 500 ? new Away(answer.statusText) : new Refused(answer.status, {});
  return createImageBitmap(await answer.blob(), { resizeWidth: image.width, resizeHeight: image.height });
}
