// Forms and buttons that say in their attributes what they call and what comes after:
//
//   data-call="POST /admin/api/applications"   the call; a form's fields are its JSON body
//   data-go="/applications/{id}"               then: open this page, {…} from the answer
//   data-leave="location"                      then: go where this part of the answer says
//   data-refresh="#keys"                       then: fetch these parts of the page again
//   data-done="…"                              then: say this
//   data-query                                 the fields go into the query, not into a body
//   data-reveal="key"                          then: show this part of the answer, only now,
//   data-reveal-title, data-reveal-text        under this title and with these words
//   data-confirm="…"                           before: ask (data-confirm-title, data-confirm-yes,
//                                              data-danger)
//
// A field: data-type="number" | "moment" (a day, to its end) | "json"; data-optional leaves an empty
// one out and data-null sends null for it; data-equals="other" has to say the same and is not sent.
//
// data-open="dialog" opens a dialog, with data-fill='{"id": 1}' about one thing of many.

import { call } from "./api.js";
import { busy, confirmDialog, copy, fail, formErrors, openDialog, refresh, reveal, toast, toastNext, valid } from "./ui.js";
import { text } from "./texts.js";

function value(input) {
  if (input.type === "checkbox") return input.checked;
  const said = input.type === "password" ? input.value : input.value.trim();
  if (said === "" && "null" in input.dataset) return null;
  if (input.dataset.type === "number") return Number(said);
  if (input.dataset.type === "json") return JSON.parse(said);
  if (input.dataset.type === "moment") return said && new Date(`${said}T23:59:59`).toISOString();
  return said;
}

/** The JSON body that a form stands for. */
export function body(form) {
  const document = {};
  for (const input of form.elements) {
    if (!input.name || input.disabled || input.dataset.equals) continue;
    if (input.type === "radio" && !input.checked) continue;
    const said = value(input);
    if (said === "" && "optional" in input.dataset) continue;
    document[input.name] = said;
  }
  return Object.keys(document).length ? document : undefined;
}

function part(answer, path) {
  return path.split(".").reduce((found, name) => found?.[name], answer);
}

function filled(template, answer) {
  return template.replace(/\{([\w.]+)\}/g, (_, path) => encodeURIComponent(part(answer, path)));
}

/** Open a dialog about one thing of many: its data-fill is put into slots, fields and the call. */
function openAbout(dialog, fill) {
  for (const slot of dialog.querySelectorAll("[data-slot]")) slot.textContent = fill[slot.dataset.slot];
  for (const form of dialog.querySelectorAll("form[data-call-for]")) {
    form.dataset.call = filled(form.dataset.callFor, fill);
    for (const input of form.elements) if (input.name in fill) input.value = fill[input.name];
  }
  openDialog(dialog);
}

/** Do what comes after a call. */
export async function after(element, answer) {
  const { go, done, leave, reveal: shown } = element.dataset;
  element.closest("dialog")?.close();
  if (leave) {
    location.assign(part(answer, leave));
    return;
  }
  const secret = shown && part(answer, shown);
  if (secret) {
    await reveal(element.dataset.revealTitle, element.dataset.revealText, secret);
  }
  if (go) {
    if (done) toastNext(done);
    location.assign(filled(go, answer));
    return;
  }
  await refresh(element.dataset.refresh ?? "main");
  if (done) toast(done);
}

async function submit(form, submitter) {
  if (!valid(form)) return;
  const [method, path] = form.dataset.call.split(" ");
  const sent = body(form);
  const sending = new CustomEvent("sending", { bubbles: true, cancelable: true, detail: sent });
  if (!form.dispatchEvent(sending)) return;
  try {
    const asked = "query" in form.dataset ? [`${path}?${new URLSearchParams(sent)}`] : [path, sent];
    const answer = await busy(submitter, call(method, ...asked));
    const sentEvent = new CustomEvent("sent", { bubbles: true, cancelable: true, detail: answer });
    if (form.dispatchEvent(sentEvent)) await after(form, answer);
  } catch (failure) {
    formErrors(form, failure);
  }
}

async function press(button) {
  const said = button.dataset;
  if (said.confirm) {
    const asked = {
      title: said.confirmTitle,
      text: said.confirm,
      action: said.confirmYes,
      danger: "danger" in said,
    };
    if (!(await confirmDialog(asked))) return;
  }
  const [method, path] = said.call.split(" ");
  try {
    const sent = said.body ? JSON.parse(said.body) : undefined;
    const answer = await busy(button, call(method, path, sent));
    const sentEvent = new CustomEvent("sent", { bubbles: true, cancelable: true, detail: answer });
    if (button.dispatchEvent(sentEvent)) await after(button, answer);
  } catch (failure) {
    fail(failure);
  }
}

async function copied(button) {
  await copy(document.querySelector(button.dataset.copy).textContent.trim());
  const label = button.querySelector("span");
  const before = label.textContent;
  label.textContent = text("script.copied");
  toast(text("script.copied"), { seconds: 2 });
  setTimeout(() => (label.textContent = before), 2000);
}

function showPassword(button) {
  const input = document.getElementById(button.dataset.showPassword);
  const shown = input.type === "password";
  input.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.call) return;
  event.preventDefault();
  submit(form, event.submitter ?? form.querySelector("[type=submit]"));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button, [data-open]");
  if (!button) {
    if (event.target instanceof HTMLDialogElement) event.target.close();
    return;
  }
  const said = button.dataset;
  if (said.open) openAbout(document.getElementById(said.open), JSON.parse(said.fill ?? "{}"));
  else if ("close" in said) button.closest("dialog").close();
  else if (said.call) press(button);
  else if (said.copy) copied(button);
  else if (said.showPassword) showPassword(button);
});

// The button of a form with data-match="name" works once the name has been typed.
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form?.dataset.match === undefined) return;
  form.querySelector("[type=submit]").disabled = event.target.value !== form.dataset.match;
});

// A choice that is a call of its own: <select data-call="PUT …" name="role">.
document.addEventListener("change", async (event) => {
  const select = event.target;
  if (!(select instanceof HTMLSelectElement) || !select.dataset.call) return;
  const option = select.selectedOptions[0];
  if (option.dataset.confirm) {
    const { confirm, confirmTitle, confirmYes } = option.dataset;
    const asked = { title: confirmTitle, text: confirm, action: confirmYes, danger: true };
    if (!(await confirmDialog(asked))) {
      await refresh(select.dataset.refresh ?? "main");
      return;
    }
  }
  const [method, path] = select.dataset.call.split(" ");
  try {
    await after(select, await busy(select, call(method, path, { [select.name]: select.value })));
  } catch (failure) {
    fail(failure);
    await refresh(select.dataset.refresh ?? "main");
  }
});
