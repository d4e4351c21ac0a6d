// Pictures that are chosen for the page or dropped on it, and the question whom they show.

import { chosen, dropped } from "./folders.js";
import { ask, onSubmit } from "./naming.js";
import { text } from "./texts.js";
import { fail } from "./ui.js";
import { Uploads } from "./uploads.js";

const part = (id) => document.getElementById(id);
const holdsFiles = (event) => [...event.dataTransfer.types].includes("Files");

/**
 * Send to a service what is brought to the page.
 *
 * `opened()` names the subject that is open, `droppedOn(target)` the one that something was dropped
 * on, undefined where there is none; `changed` is told as by Uploads.
 */
export function takePictures(root, { service, opened, droppedOn, changed }) {
  const uploads = new Uploads(part("uploads"), { service, largest: Number(root.dataset.largest), changed });
  let homeless = [];
  let over = 0;

  function take(files, subject = opened()) {
    const placed = files.map(({ file, folder }) => ({ file, subject: folder ?? subject }));
    homeless = placed.filter((one) => !one.subject);
    const ready = placed.filter((one) => one.subject);
    if (ready.length) uploads.add(ready);
    if (homeless.length) {
      part("whose-count").textContent = text("faces.whose.text", { n: homeless.length });
      ask(part("whose"), "");
    }
  }

  onSubmit(part("whose"), async (name, dialog) => {
    dialog.close();
    uploads.add(homeless.map(({ file }) => ({ file, subject: name })));
    homeless = [];
  });

  for (const input of document.querySelectorAll("[data-files]")) {
    input.addEventListener("change", () => {
      take(chosen(input));
      input.value = "";
    });
  }
  root.addEventListener("click", (event) => {
    const wish = event.target.closest("[data-choose]")?.dataset.choose;
    if (wish) part(wish).click();
  });

  function hover(change) {
    over = change ? over + change : 0;
    part("drop").hidden = over <= 0;
    const name = opened();
    part("drop-text").textContent = name ? text("faces.drop.to", { name }) : text("faces.drop.anywhere");
  }
  window.addEventListener("dragenter", (event) => holdsFiles(event) && hover(1));
  window.addEventListener("dragleave", (event) => holdsFiles(event) && hover(-1));
  window.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  window.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const there = droppedOn(event.target);
    hover(0);
    try {
      take(await dropped(event.dataTransfer), there);
    } catch (failure) {
      fail(failure);
    }
  });
}
