/** The view of data folders: one data set at a time, by split and label, each picture marked synthetic or real. */

import { enlarge } from "./enlarged.js";
import { fillSelect, SYNTHETIC } from "./models.js";
import { call, inParallel, json, ServerError } from "./server.js";
import { inListItem, release, Tile } from "./tile.js";

const element = (id) => document.getElementById(id);
const IMAGES_PER_PAGE = 24;
const WHAT = {
  synthetic: SYNTHETIC,
  phantom: "computed phantom; shows no patient",
  real: "real radiograph",
};
let cohorts = [];
let pictures = [];
let running = null;
let start = 0;

/** Reads which data sets there are, at the first visit, and shows the first one. */
export async function startCohorts(report) {
  const show = () => showPage(report);
  const fromStart = () => {
    start = 0;
    return show();
  };
  const turn = (pages) => {
    start += pages * IMAGES_PER_PAGE;
    return show();
  };
  const choose = () => {
    showFilters(cohorts[element("cohort").value]);
    return fromStart();
  };
  ({ cohorts } = await json("page/cohorts"));
  element("no-cohorts").hidden = cohorts.length > 0;
  element("cohort-form").hidden = element("cohort-pages").hidden = !cohorts.length;
  if (!cohorts.length) return;
  fillSelect(element("cohort"), cohorts.map((cohort) => `${cohort.kind}: ${cohort.name}, ${cohort.image_size} px`));
  element("cohort").addEventListener("change", choose);
  element("split").addEventListener("change", fromStart);
  element("cohort-label").addEventListener("change", fromStart);
  element("previous-page").addEventListener("click", () => turn(-1));
  element("next-page").addEventListener("click", () => turn(1));
  await choose();
}

function showFilters(cohort) {
  const splits = Object.entries(cohort.splits);
  element("split").replaceChildren(...splits.map(([name, images]) => new Option(`${name} (${images})`, name)));
  element("cohort-label").replaceChildren(
    new Option("any", ""),
    ...cohort.label_names.map((name) => new Option(name, name)),
  );
  const what = WHAT[cohort.kind];
  const licence = cohort.licence && `Licence: ${cohort.licence}`;
  const facts = [`${what[0].toUpperCase()}${what.slice(1)}.`, cohort.notice, licence];
  element("cohort-facts").textContent = facts.filter(Boolean).join(" ");
}

async function showPage(report) {
  running?.abort();
  const { signal } = (running = new AbortController());
  const cohort = cohorts[element("cohort").value];
  const [split, label] = [element("split").value, element("cohort-label").value];
  const path = `page/cohorts/${cohort.number}`;
  const list = element("cohort-pictures");
  report("");
  release(pictures);
  list.replaceChildren();
  list.setAttribute("aria-busy", "true");
  element("cohort-status").textContent = "reading";
  try {
    const query = new URLSearchParams({ split, label, start, count: IMAGES_PER_PAGE });
    const { total, images } = await json(`${path}/images?${query}`, { signal });
    const own = images.map((image) => described(cohort, split, image));
    const tiles = own.map((picture, index) => new Tile(picture, (button) => enlarge(own, index, button)));
    pictures = own;
    list.replaceChildren(...tiles.map(inListItem));
    element("previous-page").disabled = start === 0;
    element("next-page").disabled = start + images.length >= total;
    element("cohort-status").textContent = total ? `${start + 1} to ${start + images.length} of ${total}` : "none";
    await inParallel(images, async (image, index) => {
      const address = `${path}/picture?${new URLSearchParams({ split, position: image.position })}`;
      own[index].url = URL.createObjectURL(await (await call(address, { signal })).blob());
      if (signal.aborted) return release([own[index]]);
      tiles[index].show(own[index]);
    });
  } catch (error) {
    if (signal.aborted) return;
    running.abort();
    if (!(error instanceof ServerError)) throw error;
    element("cohort-status").textContent = "";
    report(error.message);
  }
  list.removeAttribute("aria-busy");
}

function described(cohort, split, image) {
  const title = image.seed === null ? `Image ${image.position}` : `Seed ${image.seed}`;
  const word = cohort.kind === "real" ? "labels" : "made as";
  const labels = (image.labels.join(" + ") || "no label") + (image.unknown ? `, ${image.unknown} unknown` : "");
  return {
    kind: cohort.kind,
    url: null,
    title,
    alt: `${WHAT[cohort.kind]}: ${title}, ${word} ${labels}`,
    caption: [`${word}: ${labels}`, `${cohort.name}, ${split}`, WHAT[cohort.kind]],
    facts: [
      ["what it is", WHAT[cohort.kind]],
      ["data set", cohort.name],
      ["split", split],
      ["position", String(image.position)],
      ...(image.seed === null ? [] : [["seed", String(image.seed)]]),
      [word, labels],
      ...(cohort.saved_model ? [["model", cohort.saved_model]] : []),
      ["licence", cohort.licence || "not stated"],
      ...(cohort.weights_sha256 ? [["SHA-256 of the weights", cohort.weights_sha256]] : []),
    ],
    file: null,
    request: null,
  };
}
