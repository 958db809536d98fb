/** The dialog that shows one picture large, with its provenance and its downloads. */

import { post, ServerError } from "./server.js";
import { fillFrame, withText } from "./tile.js";

const element = (id) => document.getElementById(id);
let shown = { pictures: [], index: 0 };

/** Opens picture `index` of a list, whose other pictures are before and behind it; focus then returns to `opener`. */
export function enlarge(pictures, index, opener) {
  const dialog = element("enlarged");
  show(pictures, index);
  dialog.onclose = () => opener.focus();
  dialog.showModal();
  element("close-enlarged").focus();
}

/** Connects the dialog's buttons and keys. */
export function startEnlarged() {
  const dialog = element("enlarged");
  element("close-enlarged").addEventListener("click", () => dialog.close());
  element("previous-picture").addEventListener("click", () => move(-1));
  element("next-picture").addEventListener("click", () => move(1));
  element("download-png").addEventListener("click", downloadPng);
  element("download-dicom").addEventListener("click", downloadDicom);
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) move(step);
  });
}

function show(pictures, index) {
  const picture = pictures[index];
  shown = { pictures, index };
  fillFrame(element("enlarged-picture"), picture);
  element("enlarged-picture").classList.add("enlarged-picture");
  element("enlarged-title").textContent = picture.title;
  element("enlarged-error").textContent = "";
  element("enlarged-facts").replaceChildren(
    ...picture.facts.flatMap(([name, value]) => [withText("dt", name), withText("dd", value)]),
  );
  element("download-png").hidden = !picture.file;
  element("download-dicom").hidden = !picture.request;
  element("previous-picture").disabled = neighbour(-1) === undefined;
  element("next-picture").disabled = neighbour(1) === undefined;
}

/** The next index in a direction whose picture has come. */
function neighbour(step) {
  const { pictures } = shown;
  let index = shown.index + step;
  while (pictures[index] && !pictures[index].url) index += step;
  return pictures[index] ? index : undefined;
}

function move(step) {
  const index = neighbour(step);
  if (index !== undefined) show(shown.pictures, index);
}

function downloadPng() {
  const { url, file } = shown.pictures[shown.index];
  save(url, `${file}.png`);
}

async function downloadDicom() {
  const { request, file } = shown.pictures[shown.index];
  try {
    const url = URL.createObjectURL(await (await post("page/dicom", request)).blob());
    save(url, `${file}.dcm`);
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    element("enlarged-error").textContent = error.message;
  }
}

function save(url, name) {
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
}
