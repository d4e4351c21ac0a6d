// The face collection: subjects at the left, the pictures of one of them at the right.

import { call, signedOut } from "./api.js";
import { takePictures } from "./bringing.js";
import { addressOf, deleteExamples, deleteSubject, settle } from "./deletions.js";
import { ask, onSubmit, suggestNames } from "./naming.js";
import { moment, text } from "./texts.js";
import { confirmDialog, element, fail, icon, toast } from "./ui.js";
import { VirtualList } from "./virtual.js";

const root = document.getElementById("collection");
const service = `/admin/api/services/${root.dataset.service}`;
const SUBJECT_ROW = 64;
const TILE = 176;
const MOST_SELECTED = 10_000;

const part = (id) => document.getElementById(id);
const searching = part("search");
const state = {
  subject: null, // {subject, examples}
  selected: new Map(), // image id → example
  leaving: new Set(), // image ids, and names of subjects behind "s:", that are about to be deleted
  anchor: 0,
};

// Pictures

function thumbnail(address, size) {
  const image = element("img", { alt: "", decoding: "async", width: size, height: size, draggable: false });
  image.src = `${address}?size=${size * 2}`;
  // Its address may be over: the list has fresh ones.
  image.addEventListener("error", () => image.replaceWith(icon("image")), { once: true });
  return image;
}

function pictured(address, size) {
  return address ? thumbnail(address, size) : icon("user");
}

// Subjects

async function loadSubjects(page, size, signal) {
  const query = new URLSearchParams({ search: searching.value.trim(), page, size });
  const found = await call("GET", `${service}/subjects?${query}`, undefined, { signal });
  if (!searching.value.trim()) part("count").textContent = text("faces.subjects", { n: found.total });
  else part("count").textContent = text("faces.found", { n: found.total });
  showEmptiness(found.total);
  return { items: found.subjects, total: found.total };
}

function paintSubject(row, item) {
  const leaving = item && state.leaving.has(`s:${item.subject}`);
  row.className = `virtual-item subject${leaving ? " leaving" : ""}`;
  row.setAttribute("aria-selected", String(Boolean(item) && item.subject === state.subject?.subject));
  const said = `${item?.subject}|${item?.examples}|${item?.picture}`;
  if (row.said === said) return;
  row.said = said;
  if (!item) {
    row.replaceChildren(element("span", { className: "portrait" }), element("span", { className: "ghost" }));
    return;
  }
  const name = element("span", { className: "truncate subject-name" }, item.subject);
  const count = element("span", { className: "muted small" }, text("faces.examples", { n: item.examples }));
  row.replaceChildren(
    element("span", { className: "portrait" }, pictured(item.picture, 44)),
    element("span", { className: "subject-text" }, name, count),
  );
}

const subjects = new VirtualList(part("subjects"), {
  rowHeight: SUBJECT_ROW,
  load: loadSubjects,
  paint: paintSubject,
  opened: (item, _, event, how) => item && (how === "press" || event.type === "keydown") && open(item),
});

function showEmptiness(total) {
  const any = total > 0 || searching.value.trim() !== "";
  part("nobody").hidden = any;
  part("browser").hidden = !any;
  part("none-found").hidden = total > 0 || !any;
  part("subjects").hidden = total === 0;
}

// Examples

async function loadExamples(page, size, signal) {
  if (!state.subject) return { items: [], total: 0 };
  const query = new URLSearchParams({ subject: state.subject.subject, page, size });
  const found = await call("GET", `${service}/examples?${query}`, undefined, { signal });
  part("no-examples").hidden = found.total > 0;
  part("examples").hidden = found.total === 0;
  part("examples-count").textContent = text("faces.examples", { n: found.total });
  part("foot").hidden = found.total === 0;
  state.subject.examples = found.total;
  return { items: found.examples, total: found.total };
}

function paintExample(tile, item) {
  const selected = Boolean(item) && state.selected.has(item.image_id);
  const leaving = item && state.leaving.has(item.image_id);
  tile.className = `virtual-item tile${leaving ? " leaving" : ""}`;
  tile.setAttribute("aria-selected", String(selected));
  const said = `${item?.image_id}|${item?.picture}`;
  if (tile.said === said) return;
  tile.said = said;
  if (!item) {
    tile.replaceChildren(element("span", { className: "tile-picture ghost" }));
    return;
  }
  const added = text("faces.added", { date: moment(item.created_at) });
  tile.setAttribute("aria-label", added);
  tile.title = added;
  const mark = element("span", { className: "tile-mark" }, icon("check"));
  tile.replaceChildren(element("span", { className: "tile-picture" }, pictured(item.picture, 160), mark));
}

const examples = new VirtualList(part("examples"), {
  rowHeight: TILE,
  columnWidth: TILE,
  load: loadExamples,
  paint: paintExample,
  opened: select,
});

for (const list of [subjects, examples]) {
  list.failed = (failure) => signedOut(failure) || fail(failure);
}

function select(item, index, event, how) {
  if (!item || how === "move") return;
  const { selected } = state;
  if (event.shiftKey) {
    const [first, last] = [Math.min(state.anchor, index), Math.max(state.anchor, index)];
    for (const [i, one] of examples.known()) if (i >= first && i <= last) selected.set(one.image_id, one);
  } else {
    if (!selected.delete(item.image_id)) selected.set(item.image_id, item);
    state.anchor = index;
  }
  showSelection();
}

function showSelection() {
  const n = state.selected.size;
  part("selection").hidden = n === 0;
  part("selected").textContent = n ? text("faces.selected", { n }) : "";
  examples.repaint();
}

part("select-all").addEventListener("click", async () => {
  try {
    for (const one of await examples.all(MOST_SELECTED)) state.selected.set(one.image_id, one);
    showSelection();
  } catch (failure) {
    fail(failure);
  }
});
part("select-none").addEventListener("click", () => {
  state.selected.clear();
  showSelection();
  part("examples").focus();
});
part("examples").addEventListener("keydown", (event) => {
  if (event.key === "Delete" && state.selected.size) removeSelected();
  if (event.key === "Escape") part("select-none").click();
  if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    part("select-all").click();
  }
});

function open(item) {
  if (state.subject?.subject !== item.subject) {
    state.selected.clear();
    part("selection").hidden = true;
  }
  state.subject = { ...item };
  const address = new URL(location.href);
  address.searchParams.set("subject", item.subject);
  history.replaceState(null, "", address);
  part("nothing-open").hidden = true;
  part("opened").hidden = false;
  root.classList.add("has-open");
  part("opened-name").textContent = item.subject;
  showLeaving();
  subjects.repaint();
  return examples.reset({ top: true });
}

function close() {
  state.subject = null;
  state.selected.clear();
  history.replaceState(null, "", location.pathname);
  part("nothing-open").hidden = false;
  part("opened").hidden = true;
  root.classList.remove("has-open");
  subjects.repaint();
}

function showLeaving() {
  part("opened").classList.toggle("leaving", state.leaving.has(`s:${state.subject?.subject}`));
}

part("back").addEventListener("click", () => {
  close();
  part("subjects").focus();
});

function reload() {
  return Promise.all([subjects.reset(), state.subject && examples.reset()]);
}

// Deleting

function leave(keys, on) {
  for (const key of keys) state.leaving[on ? "add" : "delete"](key);
  examples.repaint();
  subjects.repaint();
  showLeaving();
}

function removeSelected() {
  const ids = [...state.selected.keys()];
  const { subject } = state;
  state.selected.clear();
  leave(ids, true);
  showSelection();
  const back = () => leave(ids, false);
  const over = async () => {
    back();
    await reload();
    // A subject whose last example goes, goes too.
    if (state.subject?.subject === subject.subject && !state.subject.examples) close();
  };
  deleteExamples(service, ids, text("faces.delete.done", { n: ids.length }), over, back);
  part("examples").focus();
}

function removeSubject() {
  const name = state.subject.subject;
  leave([`s:${name}`], true);
  const back = () => leave([`s:${name}`], false);
  const over = async () => {
    back();
    if (state.subject?.subject === name) close();
    await reload();
  };
  deleteSubject(service, name, text("faces.delete.subject_done", { name }), over, back);
}

part("delete-selected").addEventListener("click", removeSelected);
part("delete-subject").addEventListener("click", removeSubject);

// Adding, renaming, moving

part("add-subject").addEventListener("click", () => ask(part("adding"), searching.value.trim()));
onSubmit(part("adding"), async (name, dialog) => {
  await call("POST", `${service}/subjects`, { subject: name });
  dialog.close();
  searching.value = "";
  await subjects.reset({ top: true });
  await open({ subject: name, examples: 0 });
});

part("rename").addEventListener("click", () => ask(part("renaming"), state.subject.subject));
onSubmit(part("renaming"), async (name, dialog) => {
  const { subject } = state.subject;
  const path = addressOf(service, subject);
  await settle();
  try {
    await call("PUT", path, { subject: name });
  } catch (failure) {
    if (failure.status !== 409 || failure.code !== 43) throw failure;
    dialog.close();
    if (!(await mergeWanted(subject, name))) return;
    await call("PUT", path, { subject: name, merge: true });
    toast(text("faces.merge.done", { from: subject, to: name }));
  }
  dialog.close();
  await subjects.reset();
  await open({ subject: name, examples: 0 });
});

/** Say what a merge would do, in numbers, before it is done. */
async function mergeWanted(from, to) {
  const query = new URLSearchParams({ subject: to, size: 1 });
  const { total, examples: some } = await call("GET", `${service}/examples?${query}`);
  const name = some[0]?.subject ?? to;
  const moving = text("faces.examples", { n: state.subject.examples });
  return confirmDialog({
    title: text("faces.merge.title", { from, to: name }),
    text: text("faces.merge.text", { from, to: name, there: text("faces.examples", { n: total }), moving }),
    action: text("faces.merge.yes"),
    danger: true,
  });
}

part("move").addEventListener("click", () => ask(part("moving"), ""));
onSubmit(part("moving"), async (name, dialog) => {
  const ids = [...state.selected.keys()];
  const { moved } = await call("POST", `${service}/examples/move`, { image_ids: ids, subject: name });
  dialog.close();
  state.selected.clear();
  showSelection();
  toast(text("faces.move.done", { n: moved, name }));
  await reload();
  if (!state.subject.examples) close();
});

suggestNames(service);

// Uploading

takePictures(root, {
  service,
  opened: () => state.subject?.subject,
  droppedOn: (target) => {
    const index = target.closest("#subjects .virtual-item")?.dataset.index;
    return index === undefined ? undefined : subjects.item(Number(index))?.subject;
  },
  changed: async (arrived) => {
    await reload();
    if (!state.subject && arrived.size === 1) await open({ subject: [...arrived][0], examples: 0 });
  },
});

// The start

let typing;
searching.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => subjects.reset({ top: true }), 200);
});
searching.form.addEventListener("submit", (event) => event.preventDefault());
searching.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && !part("subjects").hidden) {
    event.preventDefault();
    part("subjects").focus();
  }
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

await subjects.reset();
const first = new URL(location.href).searchParams.get("subject");
if (first) await open({ subject: first, examples: 0 });
