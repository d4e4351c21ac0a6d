// Dialogs that ask for the name of a subject.

import { call } from "./api.js";
import { element, formErrors, openDialog } from "./ui.js";

/** Let a dialog do what it is there for: `run(name, dialog)`; what fails is said in it. */
export function onSubmit(dialog, run) {
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    formErrors(form, null);
    try {
      await run(form.elements.subject.value.trim(), dialog);
    } catch (failure) {
      formErrors(form, failure);
    }
  });
}

/** Open a dialog with a name to begin with. */
export function ask(dialog, value) {
  dialog.querySelector("[name=subject]").value = value;
  openDialog(dialog);
  dialog.querySelector("[name=subject]").select();
}

/** Offer the names that a service has already, while one is typed. */
export function suggestNames(service) {
  const known = document.getElementById("known-names");
  let suggesting;
  for (const input of document.querySelectorAll("[data-suggest]")) {
    input.addEventListener("input", () => {
      clearTimeout(suggesting);
      suggesting = setTimeout(async () => {
        const query = new URLSearchParams({ search: input.value.trim(), size: 12 });
        const found = await call("GET", `${service}/subjects?${query}`).catch(() => null);
        const names = found?.subjects.map(({ subject }) => element("option", { value: subject })) ?? [];
        known.replaceChildren(...names);
      }, 150);
    });
  }
}
