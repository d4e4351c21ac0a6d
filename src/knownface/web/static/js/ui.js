// What every screen does in the same way: say something, ask, show that something is under way.

import { Failure, signedOut } from "./api.js";
import { refusal } from "./meaning.js";
import { moment, text } from "./texts.js";

const icons = new URL("../icons.svg", import.meta.url).pathname;

/** Make an element: element("p", {className: "muted"}, "text", child). */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `${icons}#${name}`);
  svg.append(use);
  return svg;
}

/** The failure in the visitor's language; `message` is what the server says of it. */
export function failureText(failure, message = failure.message) {
  return failure instanceof Failure ? refusal(failure, message) : text("script.broken");
}

/** Say something for a while. `action`: {label, run}; returns a function that takes it away. */
export function toast(said, { kind = "", action = null, seconds = 6 } = {}) {
  const shown = element("div", { className: `toast ${kind}` }, element("p", {}, said));
  const end = () => shown.remove();
  if (action) {
    const button = element("button", { type: "button", className: "button" }, action.label);
    button.addEventListener("click", () => {
      end();
      action.run();
    });
    shown.append(button);
  }
  const close = element("button", { type: "button", className: "button icon-only" }, icon("close"));
  close.setAttribute("aria-label", text("script.dismiss"));
  close.addEventListener("click", end);
  shown.append(close);
  document.getElementById("toasts").append(shown);
  // A failure stays until it has been read.
  if (kind !== "bad") setTimeout(end, seconds * 1000);
  return end;
}

/** Say something on the page that is about to be opened. */
export function toastNext(said) {
  sessionStorage.setItem("toast", said);
}

export function saidBefore() {
  const said = sessionStorage.getItem("toast");
  sessionStorage.removeItem("toast");
  if (said) toast(said);
}

/** Show a failure that belongs to no form. */
export function fail(failure) {
  if (failure.name === "AbortError" || signedOut(failure)) return;
  if (!(failure instanceof Failure)) console.error(failure);
  toast(failureText(failure), { kind: "bad" });
}

export function openDialog(dialog) {
  dialog.querySelectorAll("form").forEach((form) => formErrors(form, null));
  dialog.showModal();
  dialog.querySelector("[autofocus], .dialog-body :is(input, select, textarea, .primary)")?.focus();
}

/** Ask before something is done; the answer is true or false. */
export function confirmDialog({ title, text: said, action, danger = false }) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = said;
  const yes = document.getElementById("confirm-yes");
  yes.textContent = action;
  yes.className = `button ${danger ? "danger" : "primary"}`;
  return new Promise((resolve) => {
    dialog.returnValue = "";
    yes.onclick = () => dialog.close("yes");
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
    (danger ? dialog.querySelector(".form-actions [data-close]") : yes).focus();
  });
}

/** Show something that is shown only now; resolves when it has been put away. */
export function reveal(title, said, value) {
  const dialog = document.getElementById("secret");
  document.getElementById("secret-title").textContent = title;
  document.getElementById("secret-text").textContent = said;
  document.getElementById("secret-value").textContent = value;
  return new Promise((resolve) => {
    dialog.onclose = () => {
      document.getElementById("secret-value").textContent = "";
      resolve();
    };
    dialog.showModal();
    dialog.querySelector("[data-copy]").focus();
  });
}

/** Mark a button as busy until the promise is settled, and return what that gives. */
export async function busy(button, promise) {
  button?.setAttribute("aria-busy", "true");
  if (button) button.disabled = true;
  try {
    return await promise;
  } finally {
    button?.removeAttribute("aria-busy");
    if (button) button.disabled = false;
  }
}

function fieldError(input, said) {
  const place = document.getElementById(`${input.id}-error`);
  if (!place) return;
  place.textContent = said;
  place.hidden = !said;
  if (said) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

/** Show a failure in its form, at the field that it names if it names one; null clears it. */
export function formErrors(form, failure) {
  const inputs = [...form.querySelectorAll(".input")];
  inputs.forEach((input) => fieldError(input, ""));
  const place = form.querySelector(".form-error");
  if (place) place.textContent = "";
  if (!failure) return;
  if (signedOut(failure)) return;
  if (!(failure instanceof Failure)) console.error(failure);
  const { message } = failure;
  const named = inputs.find((input) => input.name && message?.startsWith(`${input.name}:`));
  const said = failureText(failure, named ? message.slice(named.name.length + 1).trim() : message);
  if (named) {
    fieldError(named, said);
    named.focus();
  } else if (place) place.textContent = said;
  else toast(said, { kind: "bad" });
}

/** Check what the browser can, in the visitor's language; true when nothing is wrong. */
export function valid(form) {
  formErrors(form, null);
  const wrong = [...form.querySelectorAll(".input")].filter((input) => {
    const twin = input.dataset.equals && form.elements[input.dataset.equals];
    let said = "";
    if (input.validity.valueMissing) said = text("script.field.missing");
    else if (input.validity.typeMismatch) said = text(`script.field.${input.type}`);
    else if (input.validity.tooShort) said = text("script.field.short", { n: input.minLength });
    else if (twin && twin.value !== input.value) said = text("script.field.unequal");
    else if (!input.validity.valid) said = input.validationMessage;
    if (said) fieldError(input, said);
    return said;
  });
  wrong[0]?.focus();
  return !wrong.length;
}

/** Write times, and draw plots, in a part of the page that has just come. */
export function enhance(root) {
  for (const time of root.querySelectorAll("time[data-format]")) {
    time.textContent = moment(time.dateTime, time.dataset.format);
    if (time.dataset.format === "relative") time.title = moment(time.dateTime, "datetime");
  }
  document.dispatchEvent(new CustomEvent("enhance", { detail: root }));
}

/** Fetch this page again and put its new parts in the place of the old ones. */
export async function refresh(selector = "main") {
  let answer;
  try {
    answer = await fetch(location.href, { credentials: "same-origin" });
  } catch {
    return false;
  }
  if (answer.redirected || !answer.ok) {
    if (answer.redirected) location.assign(answer.url);
    return false;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const focused = document.activeElement?.id;
  for (const old of document.querySelectorAll(selector)) {
    const found = old.id ? fresh.getElementById(old.id) : fresh.querySelector(selector);
    if (!found) continue;
    old.replaceWith(document.adoptNode(found));
    enhance(found);
  }
  if (focused) document.getElementById(focused)?.focus();
  return true;
}

/** Put a text in the clipboard, also where the page came over plain HTTP. */
export async function copy(said) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(said);
    return;
  }
  const area = element("textarea", { value: said, readOnly: true, className: "visually-hidden" });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
