/** The view that generates: a picture for each seed, drawn one by one as they come. */

import { enlarge } from "./enlarged.js";
import {
  captionOf,
  fillSelect,
  generates,
  pngFacts,
  readInputs,
  showInputs,
  SYNTHETIC,
  titleOf,
  versionsOf,
} from "./models.js";
import { withFacts } from "./png_text.js";
import { inParallel, predict, ServerError } from "./server.js";
import { inListItem, release, Tile } from "./tile.js";
import { startWalk } from "./walk.js";

const element = (id) => document.getElementById(id);
const RANDOM_SEEDS = 2 ** 31;
const SLOW_SIZE = 512; // pixels from which a picture takes long
let pictures = [];
let running = null;

/** Connects the view to the loaded models and generates first pictures. */
export function startGenerate(models, report) {
  const usable = versionsOf(models).filter(generates);
  const model = () => usable[element("model").value];
  if (!usable.length) {
    element("generate-view").replaceChildren();
    report("No loaded model generates pictures; export one with python -m tfcxr.export.");
    return;
  }
  const generate = () => generatePictures(model(), report);
  const choose = () => {
    const isSlow = model().image_size >= SLOW_SIZE;
    element("count").value = isSlow ? 3 : 12;
    element("walk-count").value = isSlow ? 3 : 9;
    showInputs(model());
    generate();
  };
  fillSelect(element("model"), usable.map(titleOf));
  element("model").addEventListener("change", choose);
  element("generate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  element("truncation").addEventListener("input", showTruncation);
  const seed = element("seed");
  const moveSeed = (value) => {
    seed.value = Math.max(0, value);
    if (element("generate-form").reportValidity()) generate();
  };
  element("previous-seeds").addEventListener("click", () => moveSeed(Number(seed.value) - Number(element("count").value)));
  element("next-seeds").addEventListener("click", () => moveSeed(Number(seed.value) + Number(element("count").value)));
  element("random-seeds").addEventListener("click", () => moveSeed(Math.floor(Math.random() * RANDOM_SEEDS)));
  startWalk(model, report);
  choose();
}

function showTruncation() {
  element("truncation-value").textContent = Number(element("truncation").value).toFixed(2);
}

async function generatePictures(model, report) {
  running?.abort();
  const { signal } = (running = new AbortController());
  const inputs = readInputs(model);
  const first = Number(element("seed").value);
  const seeds = Array.from({ length: Number(element("count").value) }, (_, index) => first + index);
  const [list, progress, status] = ["pictures", "progress", "generate-status"].map(element);
  const own = seeds.map((seed) => described(model, inputs, seed));
  const tiles = own.map((picture, index) => new Tile(picture, (button) => enlarge(own, index, button)));
  release(pictures);
  pictures = own;
  list.replaceChildren(...tiles.map(inListItem));
  list.setAttribute("aria-busy", "true");
  progress.max = seeds.length;
  progress.value = 0;
  status.textContent = "";
  report("");
  const start = performance.now();
  await inParallel(seeds, async (seed, index) => {
    try {
      await generatePicture(own[index], model, inputs, seed, signal);
      if (signal.aborted) return release([own[index]]);
      tiles[index].show(own[index]);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServerError)) throw error;
      tiles[index].fail(error.message);
      report(error.message);
    }
    progress.value += 1;
  });
  if (signal.aborted) return;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  status.textContent = `${own.filter(({ url }) => url).length} pictures in ${seconds} s`;
  list.removeAttribute("aria-busy");
}

/** Gives a picture its pixels, and the facts that come with them. */
async function generatePicture(picture, model, inputs, seed, signal) {
  const request = { seed: [seed] };
  if (model.reads_label) request.label = [inputs.label];
  if (model.has_truncation) request.truncation = inputs.truncation;
  const outputs = await predict(model.name, model.version, "png", request, signal);
  const [png] = outputs.png_bytes ?? outputs;
  if (outputs.is_accepted?.[0] === false && outputs.copies_refused) {
    throw new ServerError("Every candidate was a copy of a training image, so none is shown.");
  }
  const bytes = Uint8Array.from(atob(png.b64), (letter) => letter.charCodeAt(0));
  picture.url = URL.createObjectURL(withFacts(bytes, pngFacts(model, inputs, { seed })));
  if (outputs.tries) picture.facts.push(["candidates tried", String(outputs.tries[0])]);
}

function described(model, inputs, seed) {
  const title = titleOf(model);
  return {
    kind: "synthetic",
    url: null,
    title: `Seed ${seed}`,
    alt: `Synthetic chest radiograph, seed ${seed}, asked for ${inputs.text}`,
    caption: captionOf(model, inputs),
    facts: [
      ["what it is", SYNTHETIC],
      ["model", title],
      ["seed", String(seed)],
      ["asked for", inputs.text],
      ...(model.has_truncation ? [["truncation", inputs.truncation.toFixed(2)]] : []),
      ["training data", model.data],
      ["SHA-256 of the weights", model.weights_sha256],
    ],
    file: `${model.name}-${model.version}-seed-${seed}-synthetic`,
    request: {
      model: model.name,
      version: model.version,
      seed,
      label: model.reads_label ? inputs.label : null,
      truncation: inputs.truncation,
    },
  };
}
