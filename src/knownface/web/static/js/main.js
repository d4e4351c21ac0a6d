// What runs on every page.

import "./forms.js";
import { enhance, refresh, saidBefore } from "./ui.js";

const YEAR = 365 * 86400;

function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax`;
}

document.getElementById("language").addEventListener("change", (event) => {
  remember("knownface_language", event.target.value);
  location.reload();
});

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  remember("knownface_theme", root.dataset.theme);
});

// A menu closes on Escape, and when something else is pressed.
document.addEventListener("keydown", (event) => {
  const menu = document.querySelector("details.menu[open]");
  if (event.key !== "Escape" || !menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// A search shows what it finds while it is typed, and the address says it too.
let typing;
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form || !("search" in form.dataset)) return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    const query = new URLSearchParams(new FormData(form));
    if (!query.get("search")) query.delete("search");
    history.replaceState(null, "", `${location.pathname}?${query}`.replace(/\?$/, ""));
    refresh("#results");
  }, 200);
});

// Parts of a page that live: <section id="live" data-every="5">.
setInterval(() => {
  for (const part of document.querySelectorAll("[data-every]")) {
    const due = Number(part.dataset.due ?? 0);
    if (document.hidden || document.querySelector("dialog[open]") || Date.now() < due) continue;
    part.dataset.due = String(Date.now() + part.dataset.every * 1000);
    if (due) refresh(`#${part.id}`);
  }
}, 1000);

enhance(document);
saidBefore();
