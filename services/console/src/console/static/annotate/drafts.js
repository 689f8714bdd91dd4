// Nothing that was drawn is lost: each step is kept in this browser at once, and goes to the registry when it can.
import * as api from "./api.js";

const WAIT_MS = 700, AGAIN_MS = 3000;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export class Drafts extends EventTarget {
  task = null; version = 0; state = "saved";
  #timer = null; #busy = null; #saving = null;

  constructor(person, store = localStorage) {
    super();
    Object.assign(this, { person, store });
    addEventListener("online", () => this.comeBack());
    setInterval(() => { if (this.state === "offline" || this.#outbox().length) this.comeBack(); }, AGAIN_MS);
  }

  // What to begin a task with: what is kept here when it is newer, else the registry's draft. Two that differ are a conflict.
  open(task) {
    clearTimeout(this.#timer);
    this.task = task;
    this.version = task.draft?.version ?? 0;
    const kept = this.#read(task.task_id), saved = task.draft?.annotation ?? null;
    if (!kept?.dirty) { this.#tell("saved"); return { doc: saved, begun: kept?.begun }; }
    const moved = kept.base !== this.version && saved && !same(core(saved), core(kept.annotation));
    if (moved) return { doc: kept.annotation, begun: kept.begun, conflict: task.draft };
    this.#later(0);
    return { doc: kept.annotation, begun: kept.begun };
  }

  // Keep this; `begun` is what a tool has not finished yet.
  keep(annotation, begun = null) {
    this.#write(this.task.task_id, { annotation, begun, base: this.version, dirty: true, at: Date.now() });
    this.#tell(this.state === "offline" ? "offline" : "saving");
    this.#later(WAIT_MS);
  }

  begun(points) {
    const kept = this.#read(this.task.task_id) ?? { annotation: null, base: this.version, dirty: false };
    this.#write(this.task.task_id, { ...kept, begun: points, at: Date.now() });
  }

  // Whose words count after a conflict: mine go over the version that is there now.
  settle(version) { this.version = version; const kept = this.#read(this.task.task_id); if (kept) this.#write(this.task.task_id, { ...kept, base: version }); }

  forget(taskId) { this.store.removeItem(this.#name("draft", taskId)); }

  // An answer on its way. It is tried again until the registry has it or says no.
  post(entry) {
    clearTimeout(this.#timer);
    this.#writeOutbox([...this.#outbox().filter((one) => one.key !== entry.key), entry]);
    this.task = null;
    return this.deliver();
  }

  async deliver() {
    await this.#saving;                            // a draft must not overtake its answer
    await this.#busy;
    this.#busy = this.#deliverAll();
    return this.#busy;
  }

  async #deliverAll() {
    for (const entry of this.#outbox()) {
      try {
        if (entry.review) await api.review(entry.task_id, entry.review, entry.version, entry.key);
        else await api.send(entry.task_id, entry.annotation, entry.version, entry.key);
        this.forget(entry.task_id);
      } catch (error) {
        if (error instanceof api.Away) { this.#tell("offline"); return; }
        this.dispatchEvent(new CustomEvent("refused", { detail: { entry, error } }));
      }
      this.#writeOutbox(this.#outbox().filter((one) => one.key !== entry.key));
    }
    if (this.state === "offline" && !this.task) this.#tell("saved");
  }

  // The network is back: what waits goes out, that of other tasks as well.
  async comeBack() {
    await this.deliver();
    if (this.task && this.#read(this.task.task_id)?.dirty) await this.save();
    else if (this.state === "offline" && !this.#outbox().length) this.#tell("saved");
    for (const id of this.#kept()) if (id !== this.task?.task_id) await this.#replay(id);
  }

  save() {
    this.#saving = this.#save();
    return this.#saving;
  }

  async #save() {
    clearTimeout(this.#timer);
    const { task } = this, kept = task && this.#read(task.task_id);
    if (!kept?.dirty) return;
    this.#tell("saving");
    try {
      const saved = await api.saveDraft(task.task_id, kept.annotation, this.version);
      this.#saved(task, kept, saved.version);
      if (saved.claim_expires_at === null && this.task === task) this.dispatchEvent(new Event("lost"));
    } catch (error) {
      if (this.task !== task) return;
      if (error instanceof api.Away) this.#tell("offline");
      else if (error.status === 412 && error.problem.current) this.#conflict(error.problem.current);
      else { this.#tell("refused"); this.dispatchEvent(new CustomEvent("warn", { detail: error.message })); }
    }
  }

  #saved(task, kept, version) {
    if (this.task === task) this.version = version;
    const now = this.#read(task.task_id);
    if (!now) return;
    const dirty = !same(now.annotation, kept.annotation);
    this.#write(task.task_id, { ...now, base: version, dirty });
    if (this.task !== task) return;
    if (dirty) this.#later(WAIT_MS);
    this.#tell(dirty ? "saving" : "saved");
  }

  #conflict(current) {
    this.#tell("conflict");
    this.dispatchEvent(new CustomEvent("conflict", { detail: current }));
  }

  async #replay(id) {
    const kept = this.#read(id);
    if (!kept?.dirty || this.#outbox().some((one) => one.task_id === id)) return;
    try {
      const saved = await api.saveDraft(id, kept.annotation, kept.base);
      this.#write(id, { ...kept, base: saved.version, dirty: false });
    } catch { /* it stays here, and is shown when its task is opened again */ }
  }

  #later(ms) { clearTimeout(this.#timer); this.#timer = setTimeout(() => this.save(), ms); }
  #tell(state) { this.state = state; this.dispatchEvent(new Event("state")); }
  #name(kind, id = "") { return `andon ${kind} ${this.person} ${id}`; }
  #kept() { const head = this.#name("draft"); return Object.keys(this.store).filter((name) => name.startsWith(head)).map((name) => name.slice(head.length)); }
  #read(id) { return JSON.parse(this.store.getItem(this.#name("draft", id))); }
  #outbox() { return JSON.parse(this.store.getItem(this.#name("outbox")) ?? "[]"); }
  #writeOutbox(entries) { if (entries.length) this.#put(this.#name("outbox"), entries); else this.store.removeItem(this.#name("outbox")); }
  #write(id, value) { this.#put(this.#name("draft", id), value); }
  #put(name, value) {
    try { this.store.setItem(name, JSON.stringify(value)); } catch { this.dispatchEvent(new Event("full")); }
  }
}

// What two drafts are compared by.
const core = ({ verdict, classes, shapes, ambiguity }) => ({
  verdict, classes, ambiguity, shapes: shapes.map(({ shape_id, class_name, kind, box, rings, counts, points }) => ({ shape_id, class_name, kind, box, rings, counts, points })),
});
