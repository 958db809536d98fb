/**
 * One picture in a frame that says whether it is synthetic, a phantom or real.
 *
 * A picture is {kind, url, title, alt, caption, facts, file, request}: "synthetic", "phantom" or "real"; the address of
 * its PNG file, null while it is waited for; a short title; a description; lines of text; pairs of a name and a value;
 * the name of its downloads without their ending, or null; and what its DICOM file is asked for by, or null.
 */

const MARKS = { synthetic: "SYNTHETIC", phantom: "PHANTOM", real: "REAL" };

export class Tile {
  /** A place for a picture; `open(button)` is called when it is clicked. All but the pixels is there at once. */
  constructor(picture, open) {
    this.element = document.createElement("figure");
    this.element.className = "picture";
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.addEventListener("click", () => open(this.button));
    this.caption = document.createElement("figcaption");
    this.element.append(this.button, this.caption);
    this.show(picture);
  }

  show(picture) {
    fillFrame(this.button, picture);
    this.button.disabled = !picture.url;
    this.button.setAttribute("aria-label", picture.url ? `Enlarge: ${picture.alt}` : `${picture.title}, not there yet`);
    this.caption.replaceChildren(withText("strong", picture.title), ...picture.caption.map((line) => withText("span", line)));
  }

  /** Says in the picture's place why there is none. */
  fail(sentence) {
    const text = withText("span", sentence);
    text.className = "why-not";
    this.button.append(text);
    this.button.setAttribute("aria-label", sentence);
  }
}

/** Puts a picture, where it has come, and the mark of its kind into an element. */
export function fillFrame(element, picture) {
  element.className = `frame ${picture.kind}`;
  const mark = withText("span", MARKS[picture.kind]);
  mark.className = "mark";
  element.replaceChildren(mark);
  if (picture.url) {
    const image = document.createElement("img");
    image.alt = picture.alt;
    image.src = picture.url;
    element.prepend(image);
  }
}

/** Forgets the pixels of pictures that are no longer shown. */
export function release(pictures) {
  for (const picture of pictures) if (picture.url) URL.revokeObjectURL(picture.url);
}

/** An element that holds a text. */
export function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

/** A list's item that holds a tile. */
export function inListItem(tile) {
  const item = document.createElement("li");
  item.append(tile.element);
  return item;
}
