/** Starts the page: reads the loaded models, and shows the view that the address names. */

import { startCard } from "./card.js";
import { startCohorts } from "./cohorts.js";
import { startEnlarged } from "./enlarged.js";
import { startGenerate } from "./generate.js";
import { json, ServerError } from "./server.js";

const VIEWS = {
  generate: (models, report) => startGenerate(models, report),
  cohorts: (models, report) => startCohorts(report),
  card: (models, report) => startCard(models, report),
};
const started = new Set();
let current = "generate";

/** Shows one sentence of the server's, "" for none. */
function report(sentence) {
  document.getElementById("error").textContent = sentence;
}

async function showView(models) {
  const asked = location.hash.slice(1);
  const name = (current = Object.hasOwn(VIEWS, asked) ? asked : current);
  report("");
  const isNew = !started.has(name);
  started.add(name);
  const starting = isNew ? guarded(() => VIEWS[name](models, report)) : null; // fills the form before it is shown
  for (const view of Object.keys(VIEWS)) {
    document.getElementById(`${view}-view`).hidden = view !== name;
    const link = document.querySelector(`nav a[href="#${view}"]`);
    if (view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  await starting;
}

async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return report(error.message);
  }
}

startEnlarged();
await guarded(async () => {
  const { models } = await json("page/models");
  addEventListener("hashchange", () => showView(models));
  await showView(models);
});
