/**
 * One picture in a frame that says whether it is synthetic or real.
 *
 * A picture is {kind, url, title, alt, caption, facts, request}: "synthetic" or "real"; the address of its pixels; a
 * short title; a description; lines of text; pairs of a name and a value; and what its download is asked for by, or null.
 */

const MARKS = { synthetic: "SYNTHETIC", real: "REAL" };

export class Tile {
  /** A place for a picture of a kind; `open(button)` is called when it is clicked. */
  constructor(kind, title, open) {
    this.element = document.createElement("figure");
    this.element.className = "picture";
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.disabled = true;
    this.button.setAttribute("aria-label", `${title}, not there yet`);
    this.button.addEventListener("click", () => open(this.button));
    this.caption = document.createElement("figcaption");
    this.caption.append(strong(title));
    fillFrame(this.button, kind);
    this.element.append(this.button, this.caption);
  }

  show(picture) {
    fillFrame(this.button, picture.kind, picture);
    this.button.disabled = false;
    this.button.setAttribute("aria-label", `Enlarge: ${picture.alt}`);
    this.caption.replaceChildren(strong(picture.title), ...picture.caption.map(line));
  }

  /** Says in the picture's place why there is none. */
  fail(sentence) {
    const text = document.createElement("span");
    text.className = "why-not";
    text.textContent = sentence;
    this.button.append(text);
    this.button.setAttribute("aria-label", sentence);
  }
}

/** Puts a picture, if any, and the mark of its kind into an element. */
export function fillFrame(element, kind, picture = null) {
  element.className = `frame ${kind}`;
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.textContent = MARKS[kind];
  element.replaceChildren(mark);
  if (picture) {
    const image = document.createElement("img");
    image.alt = picture.alt;
    image.src = picture.url;
    element.prepend(image);
  }
}

/** Forgets the pixels of pictures that are no longer shown. */
export function release(pictures) {
  for (const picture of pictures) if (picture) URL.revokeObjectURL(picture.url);
}

function strong(text) {
  const element = document.createElement("strong");
  element.textContent = text;
  return element;
}

function line(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element;
}
