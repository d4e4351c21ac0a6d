// "Try it" for recognition and detection: a picture in, faces out, and the request behind it.

import { call, signedOut } from "./api.js";
import { certainty, meaning, reason } from "./meaning.js";
import { onChange, queryOf } from "./options.js";
import { drawFaces, percent } from "./overlay.js";
import { pretty, showSnippets } from "./snippets.js";
import { Stage, cut, encoded } from "./stage.js";
import { number, text } from "./texts.js";
import { element, failureText, formErrors, openDialog, toast } from "./ui.js";

const page = document.getElementById("try").dataset;
const service = `/admin/api/services/${page.service}`;
const recognizing = page.type === "recognition";
const least = Number(page.leastRate || 0);
const form = document.getElementById("options");
const list = document.getElementById("faces");
const outcome = document.getElementById("outcome");
const stage = new Stage(document.getElementById("stage"));

let faces = [];
let running = null;

const best = (face) => face.subjects?.[0];

/** The name of a subject, with a question mark where many strangers are as like. */
function presumed(match) {
  const sure = certainty(match);
  const doubtful = sure === "unsure" || sure === "unlikely";
  return doubtful ? text("try.doubtful", { name: match.subject }) : match.subject;
}

/** Who it is as far as is known. */
function named(face) {
  const match = best(face);
  return match ? presumed(match) : text("try.unknown");
}

function caption(face, i) {
  if (!recognizing) return faces.length > 1 ? String(i + 1) : percent(face.box.probability);
  const match = best(face);
  return match ? `${named(face)} ${percent(match.similarity)}` : named(face);
}

// What is said of one face

function line(name, value) {
  return [element("dt", {}, name), element("dd", {}, value)];
}

function degrees(value) {
  return number(value, { style: "unit", unit: "degree", maximumFractionDigits: 0, unitDisplay: "narrow", signDisplay: "exceptZero" });
}

function attributes(face) {
  const lines = [...line(text("try.face.probability"), percent(face.box.probability))];
  if (face.age) lines.push(...line(text("try.face.age"), `${face.age.low}–${face.age.high}`));
  for (const name of ["gender", "mask"]) {
    const found = face[name];
    if (!found) continue;
    const said = text(`try.value.${found.value}`);
    lines.push(...line(text(`try.face.${name}`), `${said} (${percent(found.probability)})`));
  }
  if (face.pose) {
    const { pitch, yaw, roll } = face.pose;
    const said = text("try.face.pose_value", { pitch: degrees(pitch), yaw: degrees(yaw), roll: degrees(roll) });
    lines.push(...line(text("try.face.pose"), said));
  }
  if (face.landmarks) lines.push(...line(text("try.face.landmarks"), number(face.landmarks.length)));
  if (face.embedding) lines.push(...line(text("try.face.embedding"), number(face.embedding.length)));
  const times = Object.values(face.execution_time ?? {});
  if (times.length) {
    const total = times.reduce((sum, one) => sum + one, 0);
    lines.push(...line(text("try.face.time"), number(total, { style: "unit", unit: "millisecond" })));
  }
  return element("dl", { className: "face-facts" }, ...lines);
}

function scored(match) {
  const sure = certainty(match);
  const bar = element("meter", { min: 0, max: 1, value: match.similarity, className: `tone-${sure ?? "plain"}` });
  bar.setAttribute("aria-label", text("try.similarity"));
  const score = element("span", { className: "match-score number" }, percent(match.similarity));
  const name = element("strong", { className: "match-name" }, presumed(match));
  return [element("div", { className: "match-head" }, name, score), bar];
}

function meant(match) {
  const said = meaning(match, least);
  if (!said) return [];
  const sure = certainty(match);
  const kind = { good: "good", unsure: "warning" }[sure] ?? "bad";
  const mark = element("span", { className: `badge ${kind}` }, text(`try.certainty.${sure}`));
  return [element("p", { className: "match-meaning small" }, mark, ` ${said}`)];
}

function portrait(face, size) {
  const canvas = cut(stage.source, face.box, 0.25, size);
  if (!canvas) return element("span", { className: "face-portrait" });
  canvas.className = "face-portrait";
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function shown(face, i) {
  const item = element("li", { className: "face-item", tabIndex: -1 });
  item.dataset.face = String(i);
  const match = best(face);
  const title = recognizing ? named(face) : text("try.face.title", { n: i + 1 });
  const beside = match ? scored(match) : [element("h3", {}, title)];
  if (recognizing && !match) beside.push(element("p", { className: "muted small" }, text("try.unknown_text")));
  item.append(element("div", { className: "face-head" }, portrait(face, 160), element("div", { className: "match" }, ...beside)));
  if (match) {
    item.append(...meant(match));
    const others = face.subjects.slice(1).map((one) => element("li", { className: "match" }, ...scored(one), ...meant(one)));
    if (others.length) item.append(element("ol", { className: "matches" }, ...others));
  }
  item.append(attributes(face));
  if (recognizing && stage.source && !stage.stream) {
    const sure = best(face) && certainty(best(face)) !== "unlikely";
    const button = element("button", { type: "button", className: `button ${sure ? "quiet" : ""}` }, text("try.enrol.open"));
    button.addEventListener("click", () => enrol(face));
    item.append(button);
  }
  return item;
}

// The picture and the list point at each other

function choose(i) {
  for (const item of list.children) item.classList.toggle("chosen", Number(item.dataset.face) === i);
  stage.draw((drawing, scale) => drawFaces(drawing, scale, faces, caption, i));
}

list.addEventListener("pointerover", (event) => {
  const item = event.target.closest("[data-face]");
  if (item && !item.classList.contains("chosen")) choose(Number(item.dataset.face));
});
list.addEventListener("focusin", (event) => choose(Number(event.target.closest("[data-face]").dataset.face)));
list.addEventListener("pointerleave", () => choose(-1));
stage.overlay.addEventListener("click", (event) => {
  const at = event.target.closest("[data-face]");
  if (!at) return;
  const item = list.children[Number(at.dataset.face)];
  item.scrollIntoView({ block: "nearest", behavior: "smooth" });
  item.focus();
});

function show(answer) {
  faces = answer.result.map((face) => ({
    ...face,
    tone: recognizing ? (best(face) ? (certainty(best(face)) ?? "plain") : "unknown") : "plain",
  }));
  if (stage.unshowable) {
    // Nothing to lay the boxes on: say what was found all the same.
    stage.complain(text("try.unshowable"));
  }
  list.replaceChildren(...faces.map(shown));
  choose(-1);
  const names = recognizing ? faces.map(named).join(", ") : "";
  tell(text(recognizing ? "try.named" : "try.outcome", { n: faces.length, names }));
  document.getElementById("hint").hidden = true;
  document.getElementById("answer").textContent = pretty(answer);
}

function clear(said) {
  faces = [];
  list.replaceChildren();
  stage.draw(null);
  tell(said);
}

/** Say it, but not again and again: whoever listens would hear nothing else. */
function tell(said) {
  if (outcome.textContent !== said) outcome.textContent = said;
}

function request() {
  const path = recognizing ? "/api/v1/recognition/recognize" : "/api/v1/detection/detect";
  return { address: location.origin + page.prefix + path, query: queryOf(form), files: [["file", stage.name]] };
}

function describe() {
  showSnippets(document.getElementById("request"), request());
}

/** Ask about a picture; a newer question ends an older one. */
async function ask(blob) {
  running?.abort();
  const mine = (running = new AbortController());
  const query = queryOf(form).toString();
  const body = new FormData();
  body.append("file", blob, stage.name);
  const path = `${service}/${recognizing ? "recognize" : "detect"}${query ? `?${query}` : ""}`;
  return call("POST", path, body, { signal: mine.signal });
}

async function analyse() {
  describe();
  if (stage.stream || !stage.blob) return;
  stage.setBusy(true);
  stage.complain("");
  try {
    show(await ask(stage.blob));
    stage.setBusy(false);
  } catch (failure) {
    if (failure.name === "AbortError" || signedOut(failure)) return;
    stage.setBusy(false);
    const said = failure.code === undefined ? failureText(failure) : reason(failure);
    clear("");
    stage.complain(said);
    const body = { message: failure.message, code: failure.code };
    document.getElementById("answer").textContent = pretty(body);
  }
}

async function follow() {
  clear("");
  while (stage.live) {
    try {
      show(await ask(await stage.grab()));
    } catch (failure) {
      if (failure.name === "AbortError") break;
      // No face in this moment: the next one may have one.
      if (failure.code !== 28) {
        stage.complain(reason(failure));
        break;
      }
      clear(text("reason.code_28"));
    }
    await new Promise(requestAnimationFrame);
  }
}

stage.addEventListener("picture", analyse);
stage.addEventListener("camera", follow);
onChange(form, analyse);

// Enrolment of a face that nobody knows yet

const dialog = document.getElementById("enrol");

function enrol(face) {
  const small = cut(stage.source, face.box, 0.25, 240);
  small.setAttribute("role", "img");
  small.setAttribute("aria-label", text("try.enrol.picture"));
  document.getElementById("enrol-picture").replaceChildren(small);
  dialog.face = face;
  const input = document.getElementById("enrol-name");
  input.value = "";
  openDialog(dialog);
}

dialog?.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = document.getElementById("enrol-name").value.trim();
  const button = event.submitter;
  // A picture with one face is kept as it is; of several the one that is meant is cut out.
  const alone = faces.length === 1 && !form.elements.limit.value;
  const blob = alone ? stage.blob : await encoded(cut(stage.source, dialog.face.box, 0.5, 1024));
  const body = new FormData();
  body.append("file", blob, stage.name);
  button.disabled = true;
  try {
    await call("POST", `${service}/examples?subject=${encodeURIComponent(name)}`, body);
    dialog.close();
    toast(text("try.enrol.done", { name }));
    analyse();
  } catch (failure) {
    formErrors(event.target, null);
    if (!signedOut(failure)) event.target.querySelector(".form-error").textContent = reason(failure);
  } finally {
    button.disabled = false;
  }
});

describe();
