/**
 * What the reader did, on its way to the server: one request after the other, each kept in this browser until the server
 * has acknowledged it. A request that is sent again has its name again, so it is stored once.
 */

import { forget, store, stored, storedNames } from "./storage.js";

const PREFIX = `tfcxr.outbox.${location.pathname}.`;
const ANSWER_SECONDS = 20;
const LONGEST_WAIT = 5000; // milliseconds between tries

/** A random name, hexadecimal. */
export function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  #waiting = [];
  #isSending = false;
  #wake = () => {};

  /** `onTrouble(is)` is called when the server stops answering, and when it answers again. */
  constructor(onTrouble) {
    this.tab = randomName();
    this.onTrouble = onTrouble;
    addEventListener("online", () => this.#wake());
    this.#adopt();
  }

  /** Number of requests that the server has not acknowledged. */
  get size() {
    return this.#waiting.length;
  }

  /** Sends a request; the promise has {status, body} of the server's answer. */
  add(request) {
    const { promise, resolve } = withResolvers();
    this.#waiting.push({ request: { request: randomName(), tab: this.tab, ...request }, resolve });
    this.#keep();
    this.#send();
    return promise;
  }

  /** Resolves when everything was acknowledged. */
  async settled() {
    while (this.#waiting.length) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    let wait = 500;
    while (this.#waiting.length) {
      const { request, resolve } = this.#waiting[0];
      const answer = await post(request);
      if (answer) {
        this.#waiting.shift();
        this.#keep();
        this.onTrouble(false);
        wait = 500;
        resolve(answer);
      } else {
        this.onTrouble(true);
        await this.#rest(wait);
        wait = Math.min(2 * wait, LONGEST_WAIT);
      }
    }
    this.#isSending = false;
  }

  #rest(milliseconds) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, milliseconds);
    });
  }

  #keep() {
    const name = PREFIX + this.tab;
    if (this.#waiting.length) store(name, JSON.stringify(this.#waiting.map(({ request }) => request)));
    else forget(name);
  }

  /** Takes over what an earlier tab of this link could not send. */
  #adopt() {
    for (const name of storedNames(PREFIX)) {
      for (const request of JSON.parse(stored(name))) this.#waiting.push({ request, resolve() {} });
      forget(name);
    }
    this.#keep();
    this.#send();
  }
}

/** The server's answer; null where it does not answer, or cannot store now, so that it is tried again. */
async function post(request) {
  try {
    const response = await fetch(`${location.pathname}/answers`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
      keepalive: true,
      signal: AbortSignal.timeout(1000 * ANSWER_SECONDS),
    });
    if (response.status >= 500 || response.status === 429) return null;
    return { status: response.status, body: await response.json() };
  } catch {
    return null;
  }
}

function withResolvers() {
  let resolve;
  const promise = new Promise((resolved) => (resolve = resolved));
  return { promise, resolve };
}
