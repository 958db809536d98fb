/**
 * One image in a frame of a fixed size: window and level by a table of greys, zoom, pan, masks and marks.
 *
 * Nothing in the page tells one image from another but its pixels: same frame, same name, drawn only when all are there.
 */

const MOST_ZOOM = 8;
const CLICK_DISTANCE = 5; // pixels that a click may move

export class Radiograph {
  #context;
  #greys = null;
  #size = [1, 1];
  #window = { level: 0.5, width: 1 };
  #pointers = new Map();
  #moved = 0;
  #drawing = null;

  /** `number` from 1; `on` has click(), view(), window(dx, dy) and marks(). */
  constructor(number, on) {
    this.on = on;
    this.number = number;
    this.view = { zoom: 1, x: 0.5, y: 0.5 }; // the point of the image in the middle of the frame
    this.isMarking = false;
    this.isHidden = true;
    this.frame = Object.assign(document.createElement("div"), { className: "frame", tabIndex: 0 });
    this.frame.setAttribute("role", "group");
    this.frame.setAttribute("aria-label", `Image ${number}`);
    this.layer = Object.assign(document.createElement("div"), { className: "layer" });
    this.canvas = document.createElement("canvas");
    this.layer.append(this.canvas);
    this.text = Object.assign(document.createElement("div"), { className: "frame-text" });
    this.frame.append(this.layer, this.text);
    this.#context = this.canvas.getContext("2d", { willReadFrequently: true });
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.frame.addEventListener(type, (event) => this.#point(event));
    }
    this.frame.addEventListener("contextmenu", (event) => event.preventDefault());
    this.frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Takes the pixels of a decoded image; `show` makes them visible. */
  load(bitmap) {
    this.#size = [bitmap.width, bitmap.height];
    [this.canvas.width, this.canvas.height] = this.#size;
    this.#context.drawImage(bitmap, 0, 0);
    const { data } = this.#context.getImageData(0, 0, ...this.#size);
    this.#greys = Uint8Array.from({ length: data.length / 4 }, (_, index) => data[4 * index]);
    this.#context.clearRect(0, 0, ...this.#size);
  }

  show() {
    this.isHidden = false;
    this.text.textContent = "";
    const { level, width } = this.#window;
    const table = Uint8ClampedArray.from({ length: 256 }, (_, grey) => 255 * ((grey / 255 - level) / width + 0.5));
    this.#draw((index) => table[this.#greys[index]]);
  }

  /** Covers the image, with noise or plain grey. */
  mask(isNoise) {
    this.isHidden = true;
    this.#draw(isNoise ? () => Math.floor(256 * Math.random()) : () => 64);
  }

  /** Shows a word in place of the image. */
  say(text) {
    this.text.textContent = text;
  }

  setWindow(window) {
    this.#window = window;
    if (!this.isHidden) this.show();
  }

  setView({ zoom, x, y }) {
    const edge = 0.5 / zoom;
    const inside = (place) => Math.min(Math.max(place, edge), 1 - edge);
    this.view = { zoom, x: inside(x), y: inside(y) };
    const shift = (place) => `${100 * (0.5 - place * zoom)}%`;
    this.layer.style.transform = `translate(${shift(this.view.x)}, ${shift(this.view.y)}) scale(${zoom})`;
    this.#touchAction();
  }

  zoomBy(factor) {
    const zoom = Math.min(Math.max(this.view.zoom * factor, 1), MOST_ZOOM);
    this.setView({ ...this.view, zoom });
    this.on.view(this);
  }

  pan(dx, dy) {
    this.setView({ ...this.view, x: this.view.x + dx / this.view.zoom, y: this.view.y + dy / this.view.zoom });
    this.on.view(this);
  }

  setMarking(isMarking) {
    this.isMarking = isMarking;
    this.frame.classList.toggle("marking", isMarking);
    this.#touchAction();
  }

  #touchAction() {
    this.frame.style.touchAction = this.isMarking || this.view.zoom > 1 ? "none" : "pan-y";
  }

  #draw(grey) {
    const image = this.#context.createImageData(...this.#size);
    const pixels = new Uint32Array(image.data.buffer);
    for (let index = 0; index < pixels.length; index++) pixels[index] = 0xff000000 | (grey(index) * 0x010101);
    this.#context.putImageData(image, 0, 0);
  }

  #wheel(event) {
    if (!event.ctrlKey || this.isHidden) return; // the wheel alone scrolls the page
    event.preventDefault();
    this.zoomBy(1.2 ** -Math.sign(event.deltaY));
  }

  /** Shares of the image at a pointer. */
  #place(event) {
    const box = this.layer.getBoundingClientRect();
    const share = (at, start, length) => Math.min(Math.max((at - start) / length, 0), 1);
    return { x: share(event.clientX, box.left, box.width), y: share(event.clientY, box.top, box.height) };
  }

  #point(event) {
    const before = this.#pointers.get(event.pointerId);
    if (event.type === "pointerdown") {
      if (event.target.closest(".mark") && !this.isMarking) return;
      this.#pointers.set(event.pointerId, event);
      this.frame.setPointerCapture(event.pointerId);
      this.#moved = this.#pointers.size > 1 ? Infinity : 0;
      if (this.isMarking && !this.isHidden) this.#drawing = this.#place(event);
    } else if (before && event.type === "pointermove") {
      this.#drag(before, event);
      this.#pointers.set(event.pointerId, event);
    } else if (before) {
      this.#pointers.delete(event.pointerId);
      const isClick = event.type === "pointerup" && event.button === 0 && this.#moved < CLICK_DISTANCE;
      if (this.#drawing && event.type === "pointerup" && !isClick) this.on.marks(box(this.#drawing, this.#place(event)));
      else if (isClick && !this.isMarking) this.on.click(this);
      this.#drawing = null;
      this.preview?.remove();
    }
  }

  #drag(before, event) {
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    this.#moved += Math.hypot(dx, dy);
    if (this.isHidden) return;
    const size = this.frame.clientWidth;
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
      const distance = (at) => Math.max(Math.hypot(at.clientX - other.clientX, at.clientY - other.clientY), 1);
      this.zoomBy(distance(event) / distance(before));
      this.pan(-dx / 2 / size, -dy / 2 / size);
    } else if (this.#drawing) {
      this.#preview(box(this.#drawing, this.#place(event)));
    } else if (event.shiftKey || event.buttons === 2) {
      this.on.window(dx / size, dy / size);
    } else if (this.view.zoom > 1) {
      this.pan(-dx / size, -dy / size);
    }
  }

  #preview(region) {
    this.preview ??= Object.assign(document.createElement("div"), { className: "mark" });
    this.layer.append(this.preview);
    placeMark(this.preview, region);
  }
}

/** Puts a mark's element where its region is. */
export function placeMark(element, { x, y, width, height }) {
  const shares = { left: x, top: y, width, height };
  for (const [name, share] of Object.entries(shares)) element.style[name] = `${100 * share}%`;
}

function box(from, to) {
  return {
    x: Math.min(from.x, to.x),
    y: Math.min(from.y, to.y),
    width: Math.abs(from.x - to.x),
    height: Math.abs(from.y - to.y),
  };
}
