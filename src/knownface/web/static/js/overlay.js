// Faces drawn over a picture: boxes, names, landmarks, and where a head points to.

import { number } from "./texts.js";

const SPACE = "http://www.w3.org/2000/svg";
const LINE = 22; // pixels, the height of a label

/** Make an element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** How a similarity is written everywhere: in percent, never rounded up to a certainty. */
export function percent(value) {
  const floored = Math.floor(value * 1000) / 1000;
  return number(floored, { style: "percent", minimumFractionDigits: 1 });
}

function label(said, x, y, width) {
  const group = svg("g", { class: "face-label" });
  const words = svg("text", { x: 8, y: LINE - 6.5 });
  words.textContent = said;
  const plate = svg("rect", { height: LINE, rx: 4 });
  group.append(plate, words);
  group.place = (space) => {
    const taken = words.getComputedTextLength() + 16;
    plate.setAttribute("width", taken);
    const left = Math.max(0, Math.min(x, space - taken));
    const top = y >= LINE + 3 ? y - LINE - 3 : y + 3;
    group.setAttribute("transform", `translate(${left} ${top})`);
    return [left, top, taken];
  };
  group.dataset.width = String(width);
  return group;
}

function points(landmarks, scale) {
  const radius = landmarks.length > 20 ? 1.5 : 3;
  return landmarks.map(([x, y]) =>
    svg("circle", { class: "landmark", cx: x * scale, cy: y * scale, r: radius }),
  );
}

/** The directions to the right of a face, below it and in front of it, as seen in the picture. */
export function axes({ pitch, roll, yaw }) {
  const [p, r, y] = [pitch, roll, yaw].map((degrees) => (degrees * Math.PI) / 180);
  const turned = (ax, ay) => [
    ax * Math.cos(r) + ay * Math.sin(r),
    -ax * Math.sin(r) + ay * Math.cos(r),
  ];
  return {
    right: turned(Math.cos(y), 0),
    down: turned(-Math.sin(p) * Math.sin(y), Math.cos(p)),
    front: turned(-Math.cos(p) * Math.sin(y), -Math.sin(p)),
  };
}

function pose(face, scale) {
  const { box } = face;
  const nose = face.landmarks?.length === 5 ? face.landmarks[2] : null;
  const [x, y] = nose ?? [(box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2];
  const length = ((box.x_max - box.x_min) / 2) * scale;
  return Object.entries(axes(face.pose)).map(([name, [dx, dy]]) =>
    svg("line", {
      class: `axis-${name}`,
      x1: x * scale,
      y1: y * scale,
      x2: x * scale + dx * length,
      y2: y * scale + dy * length,
    }),
  );
}

/** Draw faces into a drawing of the picture's shown size; `said(face, i)` is what a label says. */
export function drawFaces(drawing, scale, faces, said, chosen = -1) {
  const [, , space] = drawing.getAttribute("viewBox").split(" ").map(Number);
  const labels = [];
  faces.forEach((face, i) => {
    const { box } = face;
    const [x, y] = [box.x_min * scale, box.y_min * scale];
    const [width, height] = [(box.x_max - box.x_min) * scale, (box.y_max - box.y_min) * scale];
    const group = svg("g", { class: `face tone-${face.tone ?? "plain"}`, "data-face": i });
    if (i === chosen) group.classList.add("chosen");
    group.append(svg("rect", { class: "face-box", x, y, width, height, rx: 4 }));
    if (face.landmarks) group.append(...points(face.landmarks, scale));
    if (face.pose) group.append(...pose(face, scale));
    const words = said(face, i);
    if (words) {
      const plate = label(words, x, y, width);
      group.append(plate);
      labels.push(plate);
    }
    drawing.append(group);
  });
  labels.forEach((one) => one.place(space));
}
