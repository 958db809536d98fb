/** Dark for reading rooms, or light; the choice stays in this browser. */

import { store, stored } from "./storage.js";

const STORED = "tfcxr.theme";

function show(theme, button) {
  document.documentElement.dataset.theme = theme;
  if (button) button.textContent = theme === "dark" ? "Light room" : "Dark room";
}

/** Shows the chosen theme; a button, if there is one, switches it. */
export function startTheme(button = null) {
  show(stored(STORED) === "light" ? "light" : "dark", button);
  button?.addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    store(STORED, theme);
    show(theme, button);
  });
}
