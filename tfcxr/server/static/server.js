/** Calls to the server that served this page. An API token, if it wants one, is asked for once and kept for this tab. */

const TOKEN_KEY = "tfcxr.token";
const ROOT = new URL("../../", import.meta.url);

/** A refusal; its message is one sentence for the reader. */
export class ServerError extends Error {}

/** The answer to a request; throws ServerError where the server refuses or does not answer. */
export async function call(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      response = await fetch(new URL(path, ROOT), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("The server does not answer; see whether it still runs.");
    }
    if (response.status === 401) {
      if (token === sessionStorage.getItem(TOKEN_KEY)) await askForToken(token !== null);
    } else if (response.ok) {
      return response;
    } else {
      throw new ServerError(await sentence(response));
    }
  }
}

/** The JSON of an answer. */
export async function json(path, options) {
  return (await call(path, options)).json();
}

/** The answer to a JSON body. */
export function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return call(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** Outputs by name of one signature, in the column format of TensorFlow Serving's REST protocol. */
export async function predict(model, version, signature, inputs, signal) {
  const path = `v1/models/${encodeURIComponent(model)}/versions/${version}:predict`;
  const answer = await (await post(path, { signature_name: signature, inputs }, signal)).json();
  return answer.outputs;
}

/** Runs `work(item, index)` for all items, a few at a time, in their order; an error stops the rest. */
export async function inParallel(items, work, workers = 6) {
  const waiting = items.entries();
  const run = async () => {
    for (const [index, item] of waiting) await work(item, index);
  };
  await Promise.all(Array.from({ length: workers }, run));
}

async function sentence(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string") return error;
  } catch {
    // not JSON: its status says all there is
  }
  return `The server refused the request with status ${response.status}.`;
}

let asking = null;

/** Asks for the token, again where one was refused; requests that wait at the same time share one question. */
function askForToken(isAgain) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = document.getElementById("token-dialog");
    const form = document.getElementById("token-form");
    const input = document.getElementById("token");
    input.value = "";
    document.getElementById("token-refused").textContent = isAgain ? "The server refused that token." : "";
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN_KEY, input.value);
      dialog.close("given");
    };
    document.getElementById("cancel-token").onclick = () => dialog.close();
    dialog.returnValue = "";
    dialog.onclose = () => {
      asking = null;
      if (dialog.returnValue === "given") resolve();
      else reject(new ServerError("The server asks for an API token; reload the page to give one."));
    };
    dialog.showModal();
  });
  return asking;
}
