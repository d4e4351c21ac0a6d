// The request that the page makes, for a program: the same address, the same parameters.

const KEY = "YOUR_API_KEY";

function shell(said) {
  return `'${said.replaceAll("'", "'\\''")}'`;
}

const quoted = (said) => JSON.stringify(said);

/**
 * The parts with names of files that a form does not misread: curl gives a meaning to , ; " and \.
 * Two files of one name would look like one, so those are called after their parts.
 */
function named(files) {
  const twins = new Set(files.map(([, name]) => name)).size < files.length;
  return files.map(([part, name]) => {
    const plain = !twins && /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}_ .()+&@#~'-]*$/u.test(name);
    return [part, plain ? name : `${part}.jpg`];
  });
}

function curl({ address, query, files }) {
  const full = address + (query.size ? `?${query}` : "");
  const parts = named(files).map(([part, name]) => `  -F ${shell(`${part}=@${name}`)}`);
  return [`curl -X POST ${shell(full)}`, `  -H ${shell(`x-api-key: ${KEY}`)}`, ...parts].join(" \\\n");
}

function python({ address, query, files }) {
  const parameters = [...query].map(([name, value]) => `        ${quoted(name)}: ${quoted(value)},`);
  const opened = named(files).map(([part, name]) => `        ${quoted(part)}: open(${quoted(name)}, "rb"),`);
  return [
    "import requests",
    "",
    "answer = requests.post(",
    `    ${quoted(address)},`,
    ...(parameters.length ? ["    params={", ...parameters, "    },"] : []),
    `    headers={"x-api-key": ${quoted(KEY)}},`,
    "    files={",
    ...opened,
    "    },",
    ")",
    "answer.raise_for_status()",
    "print(answer.json())",
  ].join("\n");
}

function javascript({ address, query, files }) {
  const full = address + (query.size ? `?${query}` : "");
  const appended = files.map(
    ([part], i) => `form.append(${quoted(part)}, document.querySelectorAll("input[type=file]")[${i}].files[0]);`,
  );
  return [
    "const form = new FormData();",
    ...appended,
    `const answer = await fetch(${quoted(full)}, {`,
    '  method: "POST",',
    `  headers: { "x-api-key": ${quoted(KEY)} },`,
    "  body: form,",
    "});",
    "console.log(await answer.json());",
  ].join("\n");
}

const writers = { curl, python, javascript };

/** Fill the part of the page that shows the request, in the language that is chosen there. */
export function showSnippets(root, request) {
  const code = root.querySelector("code");
  const show = () => {
    const chosen = root.querySelector("input:checked").value;
    code.textContent = writers[chosen](request);
  };
  root.onchange = show;
  show();
}

/** JSON as people read it: indented, but numbers that belong together on one line. */
export function pretty(document) {
  return JSON.stringify(document, null, 2).replace(/\[[\s\d.,eE+-]+\]/g, (list) =>
    list.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]"),
  );
}
