// Deletions that can be taken back for some seconds; then, or when the page is left, they are final.

import { call } from "./api.js";
import { text } from "./texts.js";
import { fail, toast } from "./ui.js";

const SECONDS = 8;
const PART = 500; // ids in one call
// A browser sends this much after its page has been left, and no more.
const MOST_AFTERWARDS = 1200;

const pending = new Set();

async function carryOut(deletion) {
  if (!pending.delete(deletion)) return;
  clearTimeout(deletion.timer);
  deletion.hide();
  try {
    for (const [method, path, body] of deletion.calls) await call(method, path, body);
  } catch (failure) {
    // It is gone already: that is what was asked for.
    if (failure.status !== 404) fail(failure);
  }
  deletion.over();
}

function schedule(said, calls, size, over, undone) {
  const deletion = { calls, size, over };
  const undo = () => {
    if (!pending.delete(deletion)) return;
    clearTimeout(deletion.timer);
    undone();
    toast(text("faces.delete.undone"), { seconds: 3 });
  };
  deletion.undo = () => {
    deletion.hide();
    undo();
  };
  deletion.hide = toast(said, { action: { label: text("faces.delete.undo"), run: undo }, seconds: SECONDS });
  deletion.timer = setTimeout(() => carryOut(deletion), SECONDS * 1000);
  pending.add(deletion);
}

/** Delete examples: `over()` when they are gone, `undone()` when they are kept after all. */
export function deleteExamples(service, ids, said, over, undone) {
  const calls = [];
  for (let start = 0; start < ids.length; start += PART) {
    calls.push(["POST", `${service}/examples/delete`, { image_ids: ids.slice(start, start + PART) }]);
  }
  schedule(said, calls, ids.length, over, undone);
}

/** The address of a subject; a path cannot hold every name: browsers resolve "..". */
export function addressOf(service, name) {
  return `${service}/subjects?${new URLSearchParams({ subject: name })}`;
}

/** Delete a subject with all its examples, in the same way. */
export function deleteSubject(service, name, said, over, undone) {
  schedule(said, [["DELETE", addressOf(service, name)]], 1, over, undone);
}

/** Make final what is pending, before something else is done with it. */
export async function settle() {
  await Promise.all([...pending].map(carryOut));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (typing || event.key !== "z" || !(event.ctrlKey || event.metaKey) || !pending.size) return;
  event.preventDefault();
  [...pending].at(-1).undo();
});

window.addEventListener("beforeunload", (event) => {
  const size = [...pending].reduce((sum, one) => sum + one.size, 0);
  if (size > MOST_AFTERWARDS) event.preventDefault();
});

window.addEventListener("pagehide", () => {
  const token = document.querySelector("meta[name=csrf-token]")?.content ?? "";
  const headers = { "X-CSRF-Token": token, "content-type": "application/json" };
  for (const deletion of pending) {
    clearTimeout(deletion.timer);
    for (const [method, path, body] of deletion.calls) {
      fetch(path, { method, headers, body: body && JSON.stringify(body), keepalive: true });
    }
  }
  pending.clear();
});
