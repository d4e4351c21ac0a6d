// Small plots of what a table says: <figure data-plot="bar" | "line"> with a .plot-area and a table.
// The table stays, for whoever would rather read it; nothing is drawn that it does not say.

import { element } from "./ui.js";
import { number } from "./texts.js";

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 200;
const MARGIN = { left: 46, right: 8, top: 10, bottom: 26 };

function shape(tag, attributes, said) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (said !== undefined) made.textContent = said;
  return made;
}

/** Read a table: its first column names the points, each other one is a series; "" is no value. */
function read(table) {
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const value = (cell) => (cell.dataset.value === "" ? null : Number(cell.dataset.value));
  return {
    labels: rows.map((row) => row.cells[0].textContent.trim()),
    series: names.map((name, k) => ({ name, values: rows.map((row) => value(row.cells[k + 1])) })),
  };
}

/** The round numbers that an axis up to `most` is labelled with, the last one at least `most`. */
export function ticks(most, whole = true) {
  if (!(most > 0)) return [0, 1];
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((k) => k >= rough);
  if (whole) step = Math.max(1, Math.ceil(step));
  const found = [0];
  while (found.at(-1) < most) found.push(Number((found.length * step).toPrecision(12)));
  return found;
}

function axes(svg, width, scale, labels, x) {
  for (const tick of scale.ticks) {
    const y = scale.y(tick);
    svg.append(
      shape("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
      shape(
        "text",
        { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" },
        number(tick, { notation: tick >= 10000 ? "compact" : "standard" }),
      ),
    );
  }
  // As many labels as fit side by side, the last one among them.
  const widest = Math.max(...labels.map((label) => label.length)) * 7 + 18;
  const each = Math.max(1, Math.ceil((labels.length * widest) / (width - MARGIN.left - MARGIN.right)));
  labels.forEach((label, k) => {
    if ((labels.length - 1 - k) % each) return;
    const end = labels.length > 8 && k === labels.length - 1;
    const place = end ? width - MARGIN.right : x(k);
    svg.append(
      shape("text", { x: place, y: HEIGHT - 6, "text-anchor": end ? "end" : "middle" }, label),
    );
  });
}

function bars(svg, series, scale, x, band) {
  const wide = Math.min(36, band * 0.68);
  const base = scale.y(0);
  series.forEach(({ values }, which) => {
    values.forEach((value, k) => {
      if (!value) return;
      const top = Math.min(scale.y(value), base - 1.5);
      const shown = { x: x(k) - wide / 2, y: top, width: wide, height: base - top };
      svg.append(shape("rect", { class: which ? "bar second" : "bar", rx: Math.min(3, wide / 3), ...shown }));
    });
  });
}

function curves(svg, series, scale, x) {
  series.forEach(({ values }, which) => {
    let path = "";
    values.forEach((value, k) => {
      if (value === null) return;
      const joined = k > 0 && values[k - 1] !== null;
      path += `${joined ? "L" : "M"}${x(k).toFixed(1)} ${scale.y(value).toFixed(1)}`;
      const alone = !joined && (values[k + 1] ?? null) === null;
      if (alone) path += "h0.1";
    });
    if (path) svg.append(shape("path", { class: which ? "curve second" : "curve", d: path }));
  });
}

function tips(area, svg, { labels, series }, x, band, unit) {
  const tip = element("div", { className: "plot-tip", hidden: true });
  labels.forEach((label, k) => {
    const place = { x: x(k) - band / 2, y: MARGIN.top, width: band };
    const over = shape("rect", {
      class: "hover-band",
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
      ...place,
    });
    over.addEventListener("pointerenter", () => {
      const said = series.map(({ name, values }) =>
        element("div", {}, `${name}: ${values[k] === null ? "–" : number(values[k]) + unit}`),
      );
      tip.replaceChildren(element("strong", {}, label), ...said);
      tip.hidden = false;
      const left = Math.min(x(k) + 8, area.clientWidth - tip.offsetWidth);
      tip.style.left = `${Math.max(0, left)}px`;
      tip.style.top = "0";
    });
    svg.append(over);
  });
  svg.addEventListener("pointerleave", () => (tip.hidden = true));
  return tip;
}

/** Draw a figure's table into its .plot-area, as wide as there is room. */
export function plot(figure) {
  const area = figure.querySelector(".plot-area");
  const data = read(figure.querySelector("table"));
  const width = Math.max(240, area.clientWidth);
  const most = Math.max(0, ...data.series.flatMap(({ values }) => values));
  const marks = ticks(most);
  const high = HEIGHT - MARGIN.top - MARGIN.bottom;
  const scale = { ticks: marks, y: (value) => MARGIN.top + high * (1 - value / marks.at(-1)) };
  const band = (width - MARGIN.left - MARGIN.right) / data.labels.length;
  const x = (k) => MARGIN.left + band * (k + 0.5);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
  axes(svg, width, scale, data.labels, x);
  if (figure.dataset.plot === "line") curves(svg, data.series, scale, x);
  else bars(svg, data.series, scale, x, band);
  const unit = figure.dataset.unit ? ` ${figure.dataset.unit}` : "";
  area.replaceChildren(svg, tips(area, svg, data, x, band, unit));
}

const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    if (target.dataset.width === String(Math.round(contentRect.width))) continue;
    target.dataset.width = String(Math.round(contentRect.width));
    plot(target.closest("figure"));
  }
});

function watch(root) {
  root.querySelectorAll("figure[data-plot] .plot-area").forEach((area) => widths.observe(area));
}

document.addEventListener("enhance", (event) => watch(event.detail));
watch(document);
