// A list or grid of any length that keeps only what is seen in the page: a listbox with the keyboard.
//
// Items come in pages: load(page, size, signal) → {items, total}. Elements are used again for other
// items, so their number depends on the size of the window alone.

const PAGE = 100;
const KEPT = 40; // pages
const TALLEST = 8_000_000; // pixels: browsers stop somewhere above
const PAUSE = 60; // milliseconds of rest before what flew past is asked for
const FRESH = 8 * 60_000; // the addresses of pictures last ten minutes

export class VirtualList {
  /** `paint(element, item, index)` fills an element; item is undefined while it is on its way. */
  constructor(box, { rowHeight, columnWidth = 0, load, paint, opened = () => {} }) {
    Object.assign(this, { box, height: rowHeight, columnWidth, load, paint, opened });
    this.total = 0;
    this.active = 0;
    this.pages = new Map();
    this.asked = new Map();
    this.elements = new Map(); // by index
    this.free = [];
    this.space = document.createElement("div");
    this.space.className = "virtual-space";
    this.space.setAttribute("role", "presentation");
    box.replaceChildren(this.space);
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    box.addEventListener("keydown", (event) => this.press(event));
    box.addEventListener("click", (event) => this.click(event));
    box.addEventListener("focus", () => this.mark());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  get columns() {
    return this.columnWidth ? Math.max(1, Math.round(this.space.clientWidth / this.columnWidth)) : 1;
  }

  /** Of one row: the tiles of a grid are squares. */
  get rowHeight() {
    return this.columnWidth ? Math.floor(this.space.clientWidth / this.columns) : this.height;
  }

  get rows() {
    return Math.ceil(this.total / this.columns);
  }

  item(index) {
    return this.pages.get(Math.floor(index / PAGE))?.items[index % PAGE];
  }

  /** All items that are here now, with their places. */
  *known() {
    for (const [page, { items }] of this.pages) {
      for (const [i, item] of items.entries()) yield [page * PAGE + i, item];
    }
  }

  /** Ask for everything anew; the place that is shown stays unless `top` is set. */
  async reset({ top = false } = {}) {
    this.stop();
    this.pages.clear();
    if (top) {
      this.box.scrollTop = 0;
      this.active = 0;
    }
    const [first] = this.visible();
    await this.fetch(Math.floor(first / PAGE));
  }

  /** Show what has changed about items that are here. */
  repaint() {
    for (const [index, element] of this.elements) this.fill(element, index);
  }

  stop() {
    for (const asked of this.asked.values()) asked.abort();
    this.asked.clear();
    clearTimeout(this.waiting);
  }

  // What is seen

  /** The shown height stands for the whole one, which may be more than a browser can show. */
  scrolled() {
    const whole = this.rows * this.rowHeight;
    const height = Math.min(whole, TALLEST);
    const view = this.box.clientHeight;
    const factor = height > view ? (whole - view) / (height - view) : 1;
    return { height, view, offset: this.box.scrollTop * factor };
  }

  visible() {
    const { offset, view } = this.scrolled();
    const [columns, rowHeight] = [this.columns, this.rowHeight];
    const first = Math.max(0, Math.floor(offset / rowHeight) - 2) * columns;
    const last = Math.min(this.total, (Math.ceil((offset + view) / rowHeight) + 2) * columns);
    return [Math.min(first, Math.max(0, this.total - 1)), last];
  }

  draw() {
    const { height, offset } = this.scrolled();
    this.space.style.height = `${height}px`;
    const [first, last] = this.visible();
    for (const [index, element] of this.elements) {
      if (index >= first && index < last) continue;
      this.elements.delete(index);
      this.free.push(element);
    }
    const [columns, rowHeight] = [this.columns, this.rowHeight];
    const shift = this.box.scrollTop - offset;
    for (let index = first; index < last; index++) {
      let element = this.elements.get(index);
      if (!element) {
        element = this.free.pop() ?? this.made();
        this.elements.set(index, element);
        this.fill(element, index);
      }
      element.style.width = `${100 / columns}%`;
      element.style.height = `${rowHeight}px`;
      const x = ((index % columns) * 100).toString();
      const y = Math.floor(index / columns) * rowHeight + shift;
      element.style.transform = `translate(${x}%, ${y}px)`;
    }
    // More than a screenful of unused elements would only be carried along.
    for (const element of this.free.splice(last - first + 8)) element.remove();
    for (const element of this.free) element.hidden = true;
    this.mark();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.want(first, last), PAUSE);
  }

  made() {
    const element = document.createElement("div");
    element.className = "virtual-item";
    element.setAttribute("role", "option");
    this.space.append(element);
    return element;
  }

  fill(element, index) {
    element.hidden = false;
    element.id = `${this.box.id}-${index}`;
    element.dataset.index = String(index);
    element.setAttribute("aria-posinset", String(index + 1));
    element.setAttribute("aria-setsize", String(this.total));
    const item = this.item(index);
    element.classList.toggle("on-its-way", item === undefined);
    this.paint(element, item, index);
  }

  mark() {
    for (const [index, element] of this.elements) element.classList.toggle("active", index === this.active);
    if (this.elements.has(this.active)) {
      this.box.setAttribute("aria-activedescendant", `${this.box.id}-${this.active}`);
    } else this.box.removeAttribute("aria-activedescendant");
  }

  // What is fetched

  want(first, last) {
    const wanted = new Set();
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) wanted.add(page);
    // Of an empty list nothing is wanted, and what is on its way tells whether it still is one.
    for (const [page, asked] of this.asked) {
      if (wanted.size && !wanted.has(page)) asked.abort();
    }
    for (const page of wanted) {
      const there = this.pages.get(page);
      if (!this.asked.has(page) && (!there || Date.now() - there.at > FRESH)) this.fetch(page);
    }
  }

  async fetch(page) {
    const asked = new AbortController();
    this.asked.set(page, asked);
    try {
      const { items, total } = await this.load(page, PAGE, asked.signal);
      this.pages.delete(page);
      this.pages.set(page, { items, at: Date.now() });
      // The oldest of them are forgotten; a map keeps the order.
      for (const old of [...this.pages.keys()].slice(0, -KEPT)) this.pages.delete(old);
      const grown = total !== this.total;
      this.total = total;
      this.active = Math.max(0, Math.min(this.active, total - 1));
      if (grown) {
        for (const element of this.elements.values()) this.free.push(element);
        this.elements.clear();
      }
      this.draw();
      this.repaint();
    } catch (failure) {
      if (failure.name !== "AbortError") this.failed?.(failure);
    } finally {
      if (this.asked.get(page) === asked) this.asked.delete(page);
    }
  }

  /** Every item there is, be it shown or not. */
  async all(most) {
    const found = [];
    for (let page = 0; found.length < Math.min(most, this.total || 1); page++) {
      const { items } = await this.load(page, 500);
      found.push(...items);
      if (items.length < 500) break;
    }
    return found.slice(0, most);
  }

  // What is pressed

  reveal(index) {
    const { view, offset } = this.scrolled();
    const top = Math.floor(index / this.columns) * this.rowHeight;
    if (top >= offset && top + this.rowHeight <= offset + view) return;
    const wanted = top < offset ? top : top + this.rowHeight - view;
    const whole = this.rows * this.rowHeight;
    const height = Math.min(whole, TALLEST);
    this.box.scrollTop = height > view ? (wanted * (height - view)) / (whole - view) : 0;
    this.draw();
  }

  move(index) {
    this.active = Math.max(0, Math.min(index, this.total - 1));
    this.reveal(this.active);
    this.mark();
  }

  press(event) {
    const columns = this.columns;
    const screenful = Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight) - 1) * columns;
    const steps = { ArrowDown: columns, ArrowUp: -columns, PageDown: screenful, PageUp: -screenful,
      ...(columns > 1 ? { ArrowRight: 1, ArrowLeft: -1 } : {}), Home: -this.total, End: this.total };
    if (event.altKey || event.target !== this.box) return;
    if (event.key in steps) {
      event.preventDefault();
      this.move(this.active + steps[event.key]);
      this.opened(this.item(this.active), this.active, event, "move");
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.opened(this.item(this.active), this.active, event, "press");
    }
  }

  click(event) {
    const element = event.target.closest(".virtual-item");
    if (!element || element.hidden) return;
    this.active = Number(element.dataset.index);
    this.mark();
    this.opened(this.item(this.active), this.active, event, "press");
  }
}
