// A place for one picture: dropped, pasted, chosen, or taken with the webcam; faces are drawn on it.

import { text } from "./texts.js";

const QUALITY = 0.92;
const stages = [];

/** The picture of a canvas or video frame as a JPEG. */
export function encoded(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

export class Stage extends EventTarget {
  constructor(root) {
    super();
    this.root = root;
    this.blob = null;
    this.name = "picture.jpg";
    this.stream = null;
    for (const name of ["frame", "empty", "picture", "img", "video", "overlay", "busy", "actions", "problem", "file"]) {
      this[name === "picture" ? "holder" : name] = root.querySelector(`[data-${name}]`);
    }
    this.file.addEventListener("change", () => {
      if (this.file.files[0]) this.take(this.file.files[0]);
      this.file.value = "";
    });
    root.addEventListener("click", (event) => {
      const wish = event.target.closest("[data-do]")?.dataset.do;
      if (wish) this[wish]();
    });
    root.addEventListener("pointerenter", () => (Stage.current = this));
    root.addEventListener("focusin", () => (Stage.current = this));
    this.acceptDrops();
    new ResizeObserver(() => this.redraw()).observe(this.holder);
    this.img.addEventListener("load", () => this.redraw());
    stages.push(this);
  }

  /** What is shown has this size; coordinates of faces refer to it. */
  get size() {
    if (this.stream) return [this.video.videoWidth, this.video.videoHeight];
    return this.unshowable ?? [this.img.naturalWidth, this.img.naturalHeight];
  }

  /** What a face can be cut out of; null for a picture that only the server can read. */
  get source() {
    if (this.stream) return this.video;
    return this.unshowable ? null : this.img;
  }

  get live() {
    return Boolean(this.stream) && this.root.querySelector("[data-live]").checked;
  }

  choose() {
    this.file.click();
  }

  /** Show a picture and tell whoever waits for one. */
  async take(blob, name = blob.name ?? "picture.jpg") {
    // What the browser takes for something else is no picture; what it knows nothing of may be one.
    if (blob.type && !/^(image\/|application\/octet-stream$)/.test(blob.type)) {
      this.complain(text("try.no_picture", { name }));
      return;
    }
    this.stopCamera();
    this.complain("");
    this.blob = blob;
    this.name = name;
    this.paint = null;
    if (this.img.src) URL.revokeObjectURL(this.img.src);
    this.unshowable = null;
    this.img.src = URL.createObjectURL(blob);
    this.img.alt = name;
    this.show();
    try {
      await this.img.decode();
    } catch {
      // TIFF and the like: the server reads them, a browser does not.
      this.unshowable = [1, 1];
      this.img.hidden = true;
    }
    this.dispatchEvent(new CustomEvent("picture"));
  }

  /** Keep a drawing, and make it again whenever the size of the picture changes. */
  draw(paint) {
    this.paint = paint;
    this.redraw();
  }

  redraw() {
    const [width, height] = this.size;
    const shown = this.stream ? this.video : this.img;
    this.overlay.replaceChildren();
    this.scale = width ? shown.clientWidth / width : 0;
    if (!this.paint || !this.scale || !height) return;
    this.overlay.setAttribute("viewBox", `0 0 ${shown.clientWidth} ${shown.clientHeight}`);
    this.paint(this.overlay, this.scale);
    this.dispatchEvent(new CustomEvent("drawn"));
  }

  setBusy(on) {
    this.busy.hidden = !on;
    this.frame.toggleAttribute("aria-busy", on);
  }

  complain(said) {
    this.problem.hidden = !said;
    this.problem.textContent = said;
  }

  show() {
    const camera = Boolean(this.stream);
    this.empty.hidden = camera || Boolean(this.blob);
    this.holder.hidden = !this.empty.hidden;
    this.actions.hidden = !this.empty.hidden;
    this.img.hidden = camera;
    this.video.hidden = !camera;
    for (const part of this.actions.querySelectorAll("[data-when]")) {
      part.hidden = (part.dataset.when === "camera") !== camera;
    }
  }

  // The webcam

  async openCamera() {
    this.complain("");
    if (!navigator.mediaDevices?.getUserMedia) {
      this.complain(text("try.camera.insecure"));
      return;
    }
    try {
      const wish = { video: { width: { ideal: 1280 }, height: { ideal: 720 } }, audio: false };
      this.stream = await navigator.mediaDevices.getUserMedia(wish);
    } catch (error) {
      const known = { NotAllowedError: "denied", NotFoundError: "absent" }[error.name];
      this.complain(text(`try.camera.${known ?? "failed"}`));
      return;
    }
    this.paint = null;
    this.video.srcObject = this.stream;
    this.show();
    await this.video.play();
    this.redraw();
    this.root.querySelector('[data-do="shoot"]').focus();
    this.dispatchEvent(new CustomEvent("camera"));
  }

  /** What the webcam sees now. */
  async grab() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = this.size;
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    return encoded(canvas);
  }

  async shoot() {
    const blob = await this.grab();
    await this.take(blob, "webcam.jpg");
    this.root.querySelector('[data-do="choose"]:not([hidden])')?.focus();
  }

  stopCamera() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  closeCamera() {
    this.stopCamera();
    this.paint = null;
    this.show();
    this.redraw();
    if (this.blob) this.dispatchEvent(new CustomEvent("picture"));
    else this.empty.querySelector("button").focus();
  }

  toggleLive() {
    this.dispatchEvent(new CustomEvent("camera"));
  }

  // Dropping

  acceptDrops() {
    const over = (on) => this.frame.classList.toggle("dropping", on);
    this.frame.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      over(true);
    });
    this.frame.addEventListener("dragleave", (event) => {
      if (!this.frame.contains(event.relatedTarget)) over(false);
    });
    this.frame.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const file = event.dataTransfer.files[0];
      if (file) this.take(file);
    });
  }
}

// A file that misses its place must not make the browser leave the page for it.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => event.preventDefault());
}

// A picture that is pasted goes where the visitor is, else where one is missing.
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (!file || !stages.length) return;
  event.preventDefault();
  const empty = stages.find((stage) => !stage.blob);
  const here = stages.length > 1 && Stage.current?.blob && empty ? empty : Stage.current;
  (here ?? empty ?? stages[0]).take(file);
});

/** Cut a face out of a picture with some room around it, as a canvas; null where that cannot be. */
export function cut(source, box, room, longest = 640) {
  if (!source) return null;
  const width = source.naturalWidth || source.videoWidth;
  const height = source.naturalHeight || source.videoHeight;
  const side = Math.max(box.x_max - box.x_min, box.y_max - box.y_min) * (1 + 2 * room);
  const [x, y] = [(box.x_min + box.x_max - side) / 2, (box.y_min + box.y_max - side) / 2];
  const [left, top] = [Math.max(0, x), Math.max(0, y)];
  const [right, bottom] = [Math.min(width, x + side), Math.min(height, y + side)];
  const scale = Math.min(1, longest / side);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round((right - left) * scale));
  canvas.height = Math.max(1, Math.round((bottom - top) * scale));
  const context = canvas.getContext("2d");
  context.drawImage(source, left, top, right - left, bottom - top, 0, 0, canvas.width, canvas.height);
  return canvas;
}
