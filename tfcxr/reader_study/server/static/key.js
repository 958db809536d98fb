/** The page that asks for the study key once in each browser. */

import { startTheme } from "./theme.js";

const form = document.getElementById("key-form");
const input = document.getElementById("key");
const error = document.getElementById("key-error");

startTheme();
input.focus();
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.textContent = "";
  try {
    const response = await fetch(`${location.pathname}/key`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key: input.value.trim() }),
    });
    if (response.ok) location.reload();
    else error.textContent = (await response.json()).error;
  } catch {
    error.textContent = "The server does not answer; try again in a moment.";
  }
  input.select();
});
