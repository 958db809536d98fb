/**
 * What is asked of a grid, a pair and a single image.
 *
 * Each question has {title, hint, tiles, answers}: its words, an element per image, and elements below the images; and
 * answer(), missing(): what is open, "" for nothing; key(event): whether it took a key; click(index) on an image;
 * lock(): no more changes.
 */

import { placeMark } from "./radiograph.js";

const QUESTIONS = { grid, pair, single };
const NUDGE = 0.02; // share of the image that an arrow key moves a mark

/** The question of an item, with a saved answer if there is one; `changed()` is called after each click. */
export function question(item, diagnoses, radiographs, changed) {
  return QUESTIONS[item.kind](item, item.answer ?? {}, radiographs, changed, diagnoses);
}

function grid(item, saved, radiographs, changed) {
  const synthetic = item.images.map((_, index) => saved.synthetic?.[index] ?? null);
  const choices = radiographs.map((radiograph, index) =>
    choice(`Image ${radiograph.number}`, [[false, "Real"], [true, "Synthetic"]], synthetic[index], (value) => {
      synthetic[index] = value;
      changed();
    }),
  );
  const toggle = (index) => choices[index].choose(!synthetic[index]);
  return {
    title: "Which of these images are synthetic?",
    hint: `Each may be real or synthetic. Click an image, or press 1 to ${item.images.length}, to change its answer.`,
    tiles: radiographs.map((radiograph, index) => tile(radiograph, String(index + 1), choices[index].element)),
    answers: [],
    answer: () => ({ synthetic }),
    missing() {
      const open = synthetic.filter((value) => value === null).length;
      return open ? `${open} of ${synthetic.length} images still to answer` : "";
    },
    click: toggle,
    key(event) {
      const index = Number(event.key) - 1;
      if (!(index in synthetic)) return false;
      toggle(index);
      return true;
    },
    lock: () => choices.forEach((one) => one.lock()),
  };
}

function pair(item, saved, radiographs, changed) {
  let real = saved.real ?? null;
  const buttons = radiographs.map((_, index) =>
    button(index ? "The right one is real" : "The left one is real", () => choose(index)),
  );
  const show = () => {
    buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(index === real)));
    radiographs.forEach(({ frame }, index) => frame.classList.toggle("chosen", index === real));
  };
  const choose = (index) => {
    real = index;
    show();
    changed();
  };
  show();
  return {
    title: "Which of the two images is real?",
    hint: "One is real, the other synthetic. Click the real one, or press an arrow key.",
    tiles: radiographs.map((radiograph, index) => tile(radiograph, "", choiceGroup([buttons[index]]))),
    answers: [],
    answer: () => (real === null ? {} : { real }),
    missing: () => (real === null ? "Choose the real image" : ""),
    click: choose,
    key(event) {
      const index = { ArrowLeft: 0, ArrowRight: 1, 1: 0, 2: 1 }[event.key];
      if (index === undefined) return false;
      choose(index);
      return true;
    },
    lock: () => buttons.forEach((one) => (one.disabled = true)),
  };
}

function single(item, saved, radiographs, changed, diagnoses) {
  const given = { synthetic: saved.synthetic ?? null, confidence: saved.confidence ?? null };
  const named = new Set(saved.diagnoses ?? []);
  const set = (name) => (value) => {
    given[name] = value;
    changed();
  };
  const verdict = choice("Is the image real?", [[false, "Real"], [true, "Synthetic"]], given.synthetic, set("synthetic"));
  const levels = [[1, "1, a guess"], [2, "2"], [3, "3"], [4, "4"], [5, "5, sure"]];
  const confidence = choice("How sure are you?", levels, given.confidence, set("confidence"));
  const marks = new Marks(radiographs[0], saved.marks ?? [], changed);
  const answers = [field("Is the image real?", verdict.element)];
  if (item.asks_details) {
    answers.push(field("How sure are you?", confidence.element));
    if (diagnoses.length) {
      const boxes = diagnoses.map((name) => checkbox(name, named.has(name), (isOn) => {
        named[isOn ? "add" : "delete"](name);
        changed();
      }));
      answers.push(field("What do you see? Choose any.", choiceGroup(boxes)));
    }
    if (item.exposure_seconds === null) answers.push(field("What gives it away? Optional.", marks.element));
  }
  return {
    title: "Is this image real or synthetic?",
    hint: "",
    tiles: [tile(radiographs[0], "", null)],
    answers,
    answer: () => ({
      ...given,
      ...(item.asks_details && { diagnoses: diagnoses.filter((name) => named.has(name)), marks: marks.regions }),
    }),
    missing() {
      const isOpen = given.synthetic === null;
      const isUnsure = item.asks_details && given.confidence === null;
      if (isOpen && isUnsure) return "Say whether it is real, and how sure you are";
      return isOpen ? "Say whether it is real" : isUnsure ? "Say how sure you are" : "";
    },
    click() {},
    key(event) {
      const key = event.key.toLowerCase();
      if (key === "r" || key === "s") verdict.choose(key === "s");
      else if (item.asks_details && key >= "1" && key <= "5") confidence.choose(Number(key));
      else if (item.asks_details && key === "m") marks.add();
      else return false;
      return true;
    },
    lock() {
      answers.forEach((element) => (element.disabled = true));
      radiographs[0].setMarking(false);
    },
  };
}

/** Regions of an image, drawn by dragging or by keys. */
class Marks {
  constructor(radiograph, regions, changed) {
    Object.assign(this, { radiograph, changed, regions: regions.map((region) => ({ ...region })) });
    this.toggle = button("Draw marks", () => this.setMarking(!radiograph.isMarking));
    this.list = Object.assign(document.createElement("span"), { className: "soft" });
    this.clear = button("Remove all", () => {
      this.regions = [];
      this.#show();
      changed();
    });
    this.element = choiceGroup([this.toggle, this.clear, this.list]);
    radiograph.on.marks = (region) => this.add(region, false);
    this.setMarking(false);
    this.#show();
  }

  setMarking(isOn) {
    this.radiograph.setMarking(isOn);
    this.toggle.setAttribute("aria-pressed", String(isOn));
  }

  /** Adds a region; one from the keyboard starts in the middle, with the focus. */
  add(region = { x: 0.4, y: 0.4, width: 0.2, height: 0.2 }, takesFocus = true) {
    if (this.toggle.matches(":disabled") || this.radiograph.isHidden) return;
    this.regions.push(region);
    this.#show();
    if (takesFocus) this.elements.at(-1).focus();
    this.changed();
  }

  #show() {
    this.elements?.forEach((element) => element.remove());
    this.elements = this.regions.map((region, index) => {
      const element = Object.assign(document.createElement("div"), { className: "mark", tabIndex: 0 });
      element.setAttribute("role", "group");
      element.setAttribute("aria-label", `Mark ${index + 1}: arrows move it, Shift and arrows change its size`);
      element.addEventListener("keydown", (event) => this.#key(event, region, element));
      placeMark(element, region);
      return element;
    });
    this.radiograph.layer.append(...this.elements);
    this.clear.hidden = !this.regions.length;
    this.list.textContent = this.regions.length ? `${this.regions.length} marked` : "";
  }

  #key(event, region, element) {
    if (this.toggle.matches(":disabled")) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Delete" || event.key === "Backspace") {
      this.regions = this.regions.filter((other) => other !== region);
      this.#show();
      this.radiograph.frame.focus();
    } else if (event.key in arrows) {
      const [dx, dy] = arrows[event.key];
      const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
      if (event.shiftKey) {
        region.width = clamp(region.width + NUDGE * dx, NUDGE, 1 - region.x);
        region.height = clamp(region.height + NUDGE * dy, NUDGE, 1 - region.y);
      } else {
        region.x = clamp(region.x + NUDGE * dx, 0, 1 - region.width);
        region.y = clamp(region.y + NUDGE * dy, 0, 1 - region.height);
      }
      placeMark(element, region);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.changed();
  }
}

/** Buttons of which one is chosen. */
function choice(label, options, chosen, onChoose) {
  const buttons = options.map(([value, text]) => button(text, () => choose(value)));
  const show = () => buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(options[index][0] === chosen)));
  const choose = (value) => {
    if (buttons[0].matches(":disabled")) return;
    chosen = value;
    show();
    onChoose(value);
  };
  const element = choiceGroup(buttons);
  element.setAttribute("aria-label", label);
  show();
  return { element, choose, lock: () => buttons.forEach((one) => (one.disabled = true)) };
}

function choiceGroup(elements) {
  const group = Object.assign(document.createElement("div"), { className: "choices" });
  group.setAttribute("role", "group");
  group.append(...elements);
  return group;
}

function button(text, onClick) {
  const element = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  element.className = "choice";
  element.addEventListener("click", onClick);
  return element;
}

function checkbox(text, isOn, onChange) {
  const label = Object.assign(document.createElement("label"), { className: "checkbox" });
  const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: isOn });
  input.addEventListener("change", () => onChange(input.checked));
  label.append(input, ` ${text}`);
  return label;
}

function field(title, ...content) {
  const element = document.createElement("fieldset");
  element.append(Object.assign(document.createElement("legend"), { textContent: title }), ...content);
  return element;
}

function tile(radiograph, name, below) {
  const element = Object.assign(document.createElement("div"), { className: "tile" });
  element.append(radiograph.frame);
  const line = Object.assign(document.createElement("div"), { className: "tile-line" });
  if (name) line.append(Object.assign(document.createElement("kbd"), { textContent: name }));
  if (below) line.append(below);
  if (line.childNodes.length) element.append(line);
  return element;
}
