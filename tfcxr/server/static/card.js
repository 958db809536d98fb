/** The view of model cards, with the last evaluation of each model. */

import { fillSelect, titleOf, versionsOf } from "./models.js";
import { call, ServerError } from "./server.js";

const element = (id) => document.getElementById(id);

/** Connects the view to the loaded models and shows the first card. */
export async function startCard(models, report) {
  const described = versionsOf(models).filter((model) => model.has_card);
  const show = async () => {
    const model = described[element("card-model").value];
    const path = `page/models/${encodeURIComponent(model.name)}/card?version=${model.version}`;
    try {
      // the server escapes all text of a card before it marks headings, tables, lists and code
      element("card-text").innerHTML = await (await call(path)).text();
      report("");
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      report(error.message);
    }
  };
  fillSelect(element("card-model"), described.map(titleOf));
  if (!described.length) {
    element("card-text").textContent = "No loaded model has a card.";
    return;
  }
  element("card-model").addEventListener("change", show);
  await show();
}
