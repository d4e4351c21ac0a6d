// "Try it" for verification: two pictures side by side, matching faces joined by lines.

import { call, signedOut } from "./api.js";
import { certainty, meaning, reason } from "./meaning.js";
import { onChange, queryOf } from "./options.js";
import { drawFaces, percent, svg } from "./overlay.js";
import { pretty, showSnippets } from "./snippets.js";
import { Stage, cut } from "./stage.js";
import { text } from "./texts.js";
import { element, failureText } from "./ui.js";

const root = document.getElementById("try");
const page = root.dataset;
const least = Number(page.leastRate || 0);
const form = document.getElementById("options");
const list = document.getElementById("faces");
const outcome = document.getElementById("outcome");
const bridge = document.getElementById("bridge");
const source = new Stage(document.getElementById("source"));
const target = new Stage(document.getElementById("target"));

const LABEL = 26; // pixels over a box, where its label is

let found = null; // {face, matches}
let running = null;

const word = (match) => text(`try.verdict.${certainty(match) ?? "none"}`);

function edge(stage, box, towards) {
  const frame = bridge.getBoundingClientRect();
  const at = stage.overlay.getBoundingClientRect();
  const [x, y] = [at.left - frame.left, at.top - frame.top];
  const { scale } = stage;
  const across = [x + ((box.x_min + box.x_max) / 2) * scale, y + ((box.y_min + box.y_max) / 2) * scale];
  // From edge to edge, so that no line runs over a face.
  const edges = { right: [x + box.x_max * scale, across[1]], left: [x + box.x_min * scale, across[1]],
    down: [across[0], y + box.y_max * scale], up: [across[0], y + box.y_min * scale - LABEL] };
  return edges[towards];
}

/** Join the face of one picture with each of the other; thick and bright where they are alike. */
function join(chosen = -1) {
  bridge.replaceChildren();
  if (!found || !source.scale || !target.scale || source.unshowable || target.unshowable) return;
  const { width, height } = bridge.getBoundingClientRect();
  bridge.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const beside = target.root.getBoundingClientRect().left > source.root.getBoundingClientRect().left + 10;
  const alone = found.matches.length === 1;
  const [x1, y1] = edge(source, found.face.box, beside ? "right" : "down");
  found.matches.forEach((match, i) => {
    // To one face the line is short; among several it comes from above, and crosses none of them.
    const [x2, y2] = edge(target, match.box, beside && alone ? "left" : "up");
    const tone = certainty(match) ?? "plain";
    const kind = `join tone-${tone}${i === chosen ? " chosen" : ""}`;
    const half = (x1 + x2) / 2;
    const above = Math.max(4, Math.min(y1, y2) - 28 - 14 * i);
    let bend = `${x1} ${(y1 + y2) / 2}, ${x2} ${(y1 + y2) / 2}`;
    if (beside) bend = alone ? `${half} ${y1}, ${half} ${y2}` : `${half} ${above}, ${x2} ${above}`;
    const line = { class: kind, d: `M ${x1} ${y1} C ${bend}, ${x2} ${y2}`, "stroke-width": 1.5 + 3 * match.similarity };
    bridge.append(svg("path", line));
    if (alone) bridge.append(...plate(match, tone, half, (y1 + y2) / 2));
  });
}

/** The similarity in the middle of a line. */
function plate(match, tone, x, y) {
  const words = svg("text", { x, y: y + 5, "text-anchor": "middle" });
  words.textContent = percent(match.similarity);
  return [svg("rect", { class: `join-plate tone-${tone}`, x: x - 34, y: y - 12, width: 68, height: 24, rx: 12 }), words];
}

function draw(chosen = -1) {
  source.draw((drawing, scale) => drawFaces(drawing, scale, found ? [found.face] : [], () => ""));
  target.draw((drawing, scale) => {
    const caption = (match, i) => (found.matches.length > 1 ? `${i + 1} · ${percent(match.similarity)}` : "");
    drawFaces(drawing, scale, found?.matches ?? [], caption, chosen);
  });
  join(chosen);
}

function portrait(stage, face) {
  const canvas = cut(stage.source, face.box, 0.25, 160);
  if (!canvas) return element("span", { className: "face-portrait" });
  canvas.className = "face-portrait";
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function shown(match, i) {
  const sure = certainty(match);
  const item = element("li", { className: "face-item" });
  item.dataset.face = String(i);
  const pair = element("div", { className: "face-pair" }, portrait(source, found.face), portrait(target, match));
  const title = found.matches.length > 1 ? text("try.face.title", { n: i + 1 }) : word(match);
  const bar = element("meter", { min: 0, max: 1, value: match.similarity, className: `tone-${sure ?? "plain"}` });
  bar.setAttribute("aria-label", text("try.similarity"));
  const score = element("span", { className: "match-score number" }, percent(match.similarity));
  item.append(pair, element("div", { className: "match-head" }, element("h3", {}, title), score), bar);
  const said = meaning(match, least);
  const verdict = found.matches.length > 1 ? `${word(match)}. ${said}` : said;
  if (verdict) item.append(element("p", { className: "small" }, verdict));
  return item;
}

list.addEventListener("pointerover", (event) => {
  const item = event.target.closest("[data-face]");
  if (item) draw(Number(item.dataset.face));
});
list.addEventListener("pointerleave", () => draw());

function show(answer) {
  const { source_image_face: face, face_matches: matches } = answer.result[0];
  const toned = matches.map((match) => ({ ...match, tone: certainty(match) ?? "plain" }));
  toned.sort((one, other) => other.similarity - one.similarity);
  found = { face: { ...face, tone: "plain" }, matches: toned };
  list.replaceChildren(...toned.map(shown));
  document.getElementById("hint").hidden = true;
  outcome.textContent = [word(toned[0]), percent(toned[0].similarity)].join(" – ");
  document.getElementById("answer").textContent = pretty(answer);
  draw();
}

function describe() {
  const address = `${location.origin}${page.prefix}/api/v1/verification/verify`;
  const files = [["source_image", source.name], ["target_image", target.name]];
  showSnippets(document.getElementById("request"), { address, query: queryOf(form), files });
}

function refuse(failure) {
  found = null;
  list.replaceChildren();
  outcome.textContent = "";
  draw();
  const said = failure.code === undefined ? failureText(failure) : reason(failure);
  document.getElementById("problem").textContent = said;
  const body = { message: failure.message, code: failure.code };
  document.getElementById("answer").textContent = pretty(body);
}

async function compare() {
  describe();
  found = null;
  draw();
  document.getElementById("problem").textContent = "";
  if (!source.blob || !target.blob) {
    const missing = source.blob || target.blob ? "try.verify.second" : "";
    outcome.textContent = missing ? text(missing) : "";
    return;
  }
  running?.abort();
  const mine = (running = new AbortController());
  const query = queryOf(form).toString();
  const body = new FormData();
  body.append("source_image", source.blob, source.name);
  body.append("target_image", target.blob, target.name);
  [source, target].forEach((stage) => stage.setBusy(true));
  const path = `/admin/api/services/${page.service}/verify${query ? `?${query}` : ""}`;
  try {
    show(await call("POST", path, body, { signal: mine.signal }));
  } catch (failure) {
    if (failure.name === "AbortError" || signedOut(failure)) return;
    refuse(failure);
  }
  [source, target].forEach((stage) => stage.setBusy(false));
}

for (const stage of [source, target]) {
  stage.addEventListener("picture", compare);
  stage.addEventListener("drawn", () => join());
}
new ResizeObserver(() => join()).observe(root.querySelector(".pair"));
document.getElementById("swap").addEventListener("click", async () => {
  const [first, second] = [source, target].map(({ blob, name }) => ({ blob, name }));
  if (!first.blob || !second.blob) return;
  await source.take(second.blob, second.name);
  await target.take(first.blob, first.name);
});
onChange(form, compare);
describe();
