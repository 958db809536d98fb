/** Brightness, contrast and zoom of the images of an item, by sliders, keys and dragging. */

const element = (id) => document.getElementById(id);
const KEY_STEP = 10;
const PAN_STEP = 0.1; // share of the frame
const KEYS = { b: ["brightness", 1], d: ["brightness", -1], c: ["contrast", 1], v: ["contrast", -1] };

export class ViewTools {
  #radiographs = [];

  /** `onView(facts)` is called a second after the last change. */
  constructor(onView) {
    this.onView = onView;
    for (const name of ["brightness", "contrast"]) element(name).addEventListener("input", () => this.#setWindow());
    element("zoom").addEventListener("input", () => this.#setZoom(Number(element("zoom").value)));
    element("reset").addEventListener("click", () => this.reset());
  }

  /** Takes the images of the next item; the view starts as it was designed. */
  start(radiographs) {
    clearTimeout(this.timer);
    this.#radiographs = radiographs;
    this.active = radiographs[0];
    for (const radiograph of radiographs) {
      radiograph.frame.addEventListener("focus", () => this.#activate(radiograph));
      radiograph.frame.addEventListener("pointerdown", () => this.#activate(radiograph));
      radiograph.on.view = (one) => this.#viewed(one);
      radiograph.on.window = (dx, dy) => {
        element("contrast").valueAsNumber += -200 * dx;
        element("brightness").valueAsNumber += -200 * dy;
        this.#setWindow();
      };
    }
    for (const name of ["brightness", "contrast"]) element(name).value = 0;
    element("zoom").value = 1;
  }

  reset() {
    for (const name of ["brightness", "contrast"]) element(name).value = 0;
    this.#setWindow();
    for (const radiograph of this.#radiographs) radiograph.setView({ zoom: 1, x: 0.5, y: 0.5 });
    this.#viewed(this.active);
  }

  /** Whether the key was one of the view's. */
  key(event) {
    const [name, step] = KEYS[event.key.toLowerCase()] ?? [];
    const pan = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (name) {
      element(name).valueAsNumber += step * KEY_STEP;
      this.#setWindow();
    } else if (event.key === "+" || event.key === "=") {
      this.active.zoomBy(1.25);
    } else if (event.key === "-") {
      this.active.zoomBy(1 / 1.25);
    } else if (event.key === "0") {
      this.reset();
    } else if (pan && event.shiftKey) {
      this.active.pan(PAN_STEP * pan[0], PAN_STEP * pan[1]);
    } else {
      return false;
    }
    return true;
  }

  #activate(radiograph) {
    this.active = radiograph;
    element("zoom").value = radiograph.view.zoom;
  }

  /** Level .5 and width 1 show all greys; 100 halves the width, or moves the level by half of the range. */
  #setWindow() {
    const [brightness, contrast] = ["brightness", "contrast"].map((name) => element(name).valueAsNumber);
    const window = { level: 0.5 - brightness / 200, width: 2 ** (-contrast / 50) };
    for (const radiograph of this.#radiographs) radiograph.setWindow(window);
    this.#viewed(this.active);
  }

  #setZoom(zoom) {
    this.active.setView({ ...this.active.view, zoom });
    this.#viewed(this.active);
  }

  #viewed(radiograph) {
    element("zoom").value = radiograph.view.zoom;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const [brightness, contrast] = ["brightness", "contrast"].map((name) => element(name).valueAsNumber);
      this.onView({ image: radiograph.number, ...radiograph.view, brightness, contrast });
    }, 1000);
  }
}
