/** The walk from one seed's picture to another's, along the arc between their z. */

import { enlarge } from "./enlarged.js";
import { slerp } from "./latents.js";
import { captionOf, pngFacts, readInputs, SYNTHETIC, titleOf } from "./models.js";
import { withFacts } from "./png_text.js";
import { inParallel, json, predict, ServerError } from "./server.js";
import { release, Tile } from "./tile.js";

const element = (id) => document.getElementById(id);
let pictures = [];
let running = null;

/** Connects the form; `model()` is the chosen model. */
export function startWalk(model, report) {
  element("walk-form").addEventListener("submit", (event) => {
    event.preventDefault();
    walk(model(), report);
  });
}

async function walk(model, report) {
  running?.abort();
  const { signal } = (running = new AbortController());
  const [from, to, count] = ["walk-from", "walk-to", "walk-count"].map((id) => Number(element(id).value));
  const inputs = { ...readInputs(model), truncation: null }; // the signature of z has none
  const slider = element("walk-position");
  const places = Array.from({ length: count }, (_, index) => index / (count - 1));
  const own = places.map((place) => described(model, inputs, from, to, place));
  const tile = new Tile(own[0], (button) => enlarge(own, Number(slider.value), button));
  const showPlace = () => {
    const index = Number(slider.value);
    element("walk-place").textContent = places[index].toFixed(2);
    tile.show(own[index]);
  };
  release(pictures);
  pictures = own;
  slider.max = count - 1;
  slider.value = 0;
  slider.oninput = showPlace;
  element("walk-picture").replaceChildren(tile.element);
  element("walk-result").hidden = false;
  showPlace();
  report("");
  try {
    const query = new URLSearchParams([["version", model.version], ["seed", from], ["seed", to]]);
    const path = `page/models/${encodeURIComponent(model.name)}/latents?${query}`;
    const [start, end] = (await json(path, { signal })).latents;
    await inParallel(places, async (place, index) => {
      const request = { z: [slerp(start, end, place)] };
      if (model.reads_label) request.label = [inputs.label];
      const outputs = await predict(model.name, model.version, "latent", request, signal);
      const [image] = outputs.image ?? outputs;
      const facts = pngFacts(model, inputs, { seed: null, from_seed: from, to_seed: to, position: place });
      own[index].url = URL.createObjectURL(withFacts(await drawn(image), facts));
      if (signal.aborted) return release([own[index]]);
      if (Number(slider.value) === index) showPlace();
    });
  } catch (error) {
    if (signal.aborted) return;
    running.abort();
    if (!(error instanceof ServerError)) throw error;
    report(error.message);
  }
}

/** The bytes of a PNG file of an image [height][width][channels] from -1 (black) to 1 (white). */
async function drawn(image) {
  const [height, width] = [image.length, image[0].length];
  const canvas = Object.assign(document.createElement("canvas"), { height, width });
  const pixels = new ImageData(width, height);
  image.flat().forEach((channels, index) => {
    const grey = Math.round((Math.min(1, Math.max(-1, channels[0])) + 1) * 127.5);
    pixels.data.set([grey, grey, grey, 255], index * 4);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const file = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new Uint8Array(await file.arrayBuffer());
}

function described(model, inputs, from, to, place) {
  const where = `${place.toFixed(2)} of the way from seed ${from} to seed ${to}`;
  return {
    kind: "synthetic",
    url: null,
    title: `Seed ${from} to ${to}, at ${place.toFixed(2)}`,
    alt: `Synthetic chest radiograph, ${where}, asked for ${inputs.text}`,
    caption: captionOf(model, inputs),
    facts: [
      ["what it is", SYNTHETIC],
      ["model", titleOf(model)],
      ["z", where],
      ["asked for", inputs.text],
      ["training data", model.data],
      ["SHA-256 of the weights", model.weights_sha256],
    ],
    file: `${model.name}-${model.version}-seed-${from}-to-${to}-at-${place.toFixed(2)}-synthetic`,
    request: null, // it has no seed of its own
  };
}
