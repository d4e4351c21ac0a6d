// Many pictures on their way to the server: a few at a time, each with its progress and its reason.

import { reason } from "./meaning.js";
import { number, text } from "./texts.js";
import { VirtualList } from "./virtual.js";

const AT_ONCE = 3;
const TRIES = 6;
// Where there is little room, a reason takes two lines.
const ROW = innerWidth < 560 ? 80 : 56;
const LINGER = 6000; // milliseconds
const REST = 120; // milliseconds between two looks at thousands of files

/** Send a picture; resolves to {status, message, code, wait}, status 0 where nobody answered. */
function send(path, file, progress, signal) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", file, file.name);
    request.open("POST", path);
    request.setRequestHeader("X-CSRF-Token", document.querySelector("meta[name=csrf-token]").content);
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onloadend = () => {
      let said = {};
      try {
        said = JSON.parse(request.responseText);
      } catch {
        // Nothing that could be read: the status has to do.
      }
      resolve({ ...said, status: request.status, wait: Number(request.getResponseHeader("retry-after")) });
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

export class Uploads {
  /** `changed(subjects)` is called now and then while pictures arrive, and at the end. */
  constructor(root, { service, largest, changed }) {
    Object.assign(this, { root, service, largest, changed });
    this.files = [];
    this.running = 0;
    this.arrived = new Set();
    this.ended = new AbortController();
    this.bar = root.querySelector("progress");
    this.said = root.querySelector("[data-summary]");
    this.list = new VirtualList(root.querySelector("[role=listbox]"), {
      rowHeight: ROW,
      load: async (page, size) => ({ items: this.shown().slice(page * size, (page + 1) * size), total: this.files.length }),
      paint: (element, item) => this.paint(element, item),
    });
    root.querySelector("[data-cancel]").addEventListener("click", () => this.cancel());
    root.querySelector("[data-retry]").addEventListener("click", () => this.retry());
    root.querySelector("[data-hide]").addEventListener("click", () => (root.hidden = true));
    window.addEventListener("beforeunload", (event) => this.running && event.preventDefault());
  }

  /** Those that failed come first: they are what somebody has to look at. */
  shown() {
    return [...this.files].sort((one, other) => (other.state === "failed") - (one.state === "failed"));
  }

  /** Take files: [{file, subject}]. */
  add(files) {
    if (!this.running && this.files.every((one) => one.state !== "waiting")) this.files = [];
    if (this.ended.signal.aborted) this.ended = new AbortController();
    this.files.push(...files.map((one) => ({ ...one, state: "waiting", part: 0 })));
    this.root.hidden = false;
    while (this.running < AT_ONCE && this.next()) this.work();
    this.show();
  }

  next() {
    return this.files.find((one) => one.state === "waiting");
  }

  async work() {
    this.running++;
    for (let one = this.next(); one && !this.ended.signal.aborted; one = this.next()) {
      await this.upload(one);
      this.show();
    }
    this.running--;
    this.show();
    if (this.running) return;
    this.tell(true);
    // Nothing is left to read: it goes out of the way by itself.
    const flawless = () => !this.running && this.files.every((one) => one.state === "done");
    setTimeout(() => flawless() && (this.root.hidden = true), LINGER);
  }

  async upload(one) {
    one.state = "sending";
    const known = this.refusal(one.file);
    if (known) return this.end(one, known);
    const path = `${this.service}/examples?subject=${encodeURIComponent(one.subject)}`;
    for (let attempt = 1; ; attempt++) {
      const progress = (part) => {
        one.part = part;
        this.show();
      };
      const answer = await send(path, one.file, progress, this.ended.signal);
      if (answer.status === 201) {
        this.arrived.add(one.subject);
        return this.end(one, "");
      }
      if (this.ended.signal.aborted) return this.end(one, text("faces.upload.cancelled"));
      if (answer.status === 401) location.reload();
      if (answer.status !== 503 || attempt === TRIES) {
        const unreachable = text("script.unreachable");
        return this.end(one, answer.message ? reason(answer) : unreachable);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000 * (answer.wait || 1) * attempt));
    }
  }

  /** What is certain to be refused need not be sent. */
  refusal(file) {
    if (file.type && !file.type.startsWith("image/")) return text("faces.upload.no_picture");
    if (file.size > this.largest) return text("reason.status_413");
    return "";
  }

  end(one, why) {
    one.state = why ? "failed" : "done";
    one.why = why;
    one.part = 1;
  }

  cancel() {
    this.ended.abort();
    for (const one of this.files) {
      if (one.state === "waiting") this.end(one, text("faces.upload.cancelled"));
    }
    this.show();
  }

  retry() {
    const again = this.files.filter((one) => one.state === "failed");
    this.files = this.files.filter((one) => one.state !== "failed");
    this.add(again.map(({ file, subject }) => ({ file, subject })));
  }

  tell(atOnce) {
    if (!this.arrived.size || (!atOnce && Date.now() < (this.due ?? 0))) return;
    this.due = Date.now() + 2000;
    const arrived = new Set(this.arrived);
    this.arrived.clear();
    this.changed(arrived);
  }

  show() {
    this.tell(false);
    if (this.showing) return;
    this.showing = setTimeout(() => {
      this.showing = 0;
      this.draw();
    }, REST);
  }

  draw() {
    const count = (state) => this.files.filter((one) => one.state === state).length;
    const [done, failed, all] = [count("done"), count("failed"), this.files.length];
    this.bar.max = all;
    this.bar.value = this.files.reduce((sum, one) => sum + one.part, 0);
    const over = !this.running;
    const said = text(over ? "faces.upload.over" : "faces.upload.under_way", { done, all });
    const more = failed ? ` ${text("faces.upload.failed", { n: failed })}` : "";
    if (this.said.textContent !== said + more) this.said.textContent = said + more;
    this.root.querySelector("[data-cancel]").hidden = over;
    this.root.querySelector("[data-retry]").hidden = !over || !failed;
    this.root.querySelector("[data-hide]").hidden = !over;
    this.list.box.style.height = `${Math.min(5, all) * ROW + 2}px`;
    this.list.reset();
  }

  paint(element, one) {
    if (!one) return;
    element.className = `virtual-item upload ${one.state}`;
    const name = document.createElement("span");
    name.className = "truncate";
    name.textContent = [one.subject, one.file.name].join(" / ");
    const state = document.createElement("span");
    state.className = "upload-state small";
    const part = number(one.part, { style: "percent", maximumFractionDigits: 0 });
    state.textContent = one.why || text(`faces.upload.${one.state}`, { part });
    state.title = one.why ?? "";
    element.replaceChildren(name, state);
  }
}
