// What was dropped or chosen, as files with the name of the folder that each is in.

const NOISE = /^(\.|thumbs\.db$|desktop\.ini$)/i;

function read(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

async function* inside(entry, folder) {
  if (NOISE.test(entry.name)) return;
  if (entry.isFile) {
    yield { file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder };
    return;
  }
  const reader = entry.createReader();
  // A reader gives some hundred entries at a time, and nothing when there are no more.
  for (let entries = await read(reader); entries.length; entries = await read(reader)) {
    entries.sort((one, other) => one.name.localeCompare(other.name));
    for (const one of entries) yield* inside(one, entry.name);
  }
}

/** The files of a drop: [{file, folder}], folder is null for those that were dropped themselves. */
export async function dropped(transfer) {
  // Taken before the first pause: afterwards the browser has forgotten them.
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) {
    if (entry instanceof File) found.push({ file: entry, folder: null });
    else if (entry) for await (const one of inside(entry, null)) found.push(one);
  }
  return found;
}

/** The files of an <input>, also of one that takes a folder. */
export function chosen(input) {
  return [...input.files]
    .filter((file) => !NOISE.test(file.name))
    .map((file) => ({ file, folder: file.webkitRelativePath.split("/").at(-2) ?? null }));
}
