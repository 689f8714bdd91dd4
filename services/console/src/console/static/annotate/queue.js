// The next image is here before it is asked for: tasks that follow and their pictures are fetched ahead.
import * as api from "./api.js";

const AHEAD = 2;

export class Queue {
  following = [];
  #pictures = new Map(); #taxonomies = new Map();

  constructor(kind, batch) { Object.assign(this, { kind, batch }); }

  // The task to do, claimed for this person; `after` is the one that is left.
  async take(after) {
    const work = await api.next(this.kind, this.batch, after);
    this.expect(work.following);
    return work.task;
  }

  expect(tasks) {
    this.following = tasks;
    for (const task of tasks.slice(0, AHEAD)) { this.picture(task.image).catch(() => {}); this.taxonomy(task.taxonomy_version).catch(() => {}); }
  }

  // What most likely comes next, when all of it is here already.
  ready() {
    const task = this.following[0];
    return task && this.#pictures.get(task.image.image_id)?.done && this.#taxonomies.get(task.taxonomy_version)?.done ? task : null;
  }

  picture(image) { return kept(this.#pictures, image.image_id, () => api.picture(image), AHEAD + 3); }
  taxonomy(version) { return kept(this.#taxonomies, version, () => api.taxonomy(version), 4); }
}

function kept(map, key, make, most) {
  let held = map.get(key);
  if (!held) {
    held = { done: false, value: make() };
    held.value.then(() => { held.done = true; }, () => map.delete(key));
    map.set(key, held);
    if (map.size > most) map.delete(map.keys().next().value);
  }
  return held.value;
}
