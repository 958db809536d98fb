/** The page of a reader: consent, one item after the other, pauses, and the end. The server says what comes next. */

import { Clock } from "./clock.js";
import { expose } from "./exposure.js";
import { Outbox } from "./outbox.js";
import { question } from "./questions.js";
import { Radiograph } from "./radiograph.js";
import { startTheme } from "./theme.js";
import { ViewTools } from "./view_tools.js";

const VIEWS = ["loading", "consent", "item", "finished"];
const COMMENT_MILLISECONDS = 800; // a comment is sent after a rest in typing
const TROUBLE = "The server does not answer. What you did is kept in this browser and sent again; leave the page open.";
const ELSEWHERE = "This item was answered already, in another tab or on another device. Here you go on where you are now.";
const element = (id) => document.getElementById(id);
const outbox = new Outbox((is) => (element("error").textContent = is ? TROUBLE : ""));
const clock = new Clock();
const tools = new ViewTools((facts) => current && send("viewed", facts));

/** The item on the screen: {item, question, radiographs, phase, shownSeconds}; phase is loading, timed, open or over. */
let current = null;
let afterSolution = null; // goes on after a training example
let typing = 0; // the timer that sends a comment

function viewport() {
  const frame = current?.radiographs[0]?.frame;
  return {
    width: innerWidth,
    height: innerHeight,
    pixel_ratio: devicePixelRatio,
    zoom: visualViewport?.scale ?? 1,
    image_size: frame?.clientWidth ?? null,
    theme: document.documentElement.dataset.theme,
    ...(current?.shownSeconds !== undefined && { shown_seconds: current.shownSeconds }),
  };
}

function send(event, answer = {}, fields = { item: current.item.item, elapsed_seconds: clock.seconds }) {
  const sent = { item: "", ...fields, event, answer, browser_time: new Date().toISOString(), viewport: viewport() };
  return outbox.add(sent);
}

function showView(name) {
  for (const view of VIEWS) element(`${view}-view`).hidden = view !== name;
  element("pause").hidden = name !== "item";
}

function notice(text) {
  element("notice").textContent = text;
}

/** An answer of the server to GET, as long as it takes; null where the item is another one by now. */
async function get(path, read) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 5000)) {
    try {
      const response = await fetch(`${location.pathname}/${path}`, { signal: AbortSignal.timeout(20000) });
      if (response.ok) {
        const result = await read(response);
        if (!outbox.size) element("error").textContent = "";
        return result;
      }
      if (response.status < 500) {
        if (path !== "state") return null;
        element("error").textContent = (await response.json()).error;
        await new Promise(() => {}); // such as a link that is not valid any more
      }
    } catch {
      // no connection: tried again
    }
    element("error").textContent = TROUBLE;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Shows what the server says comes next. */
async function goOn() {
  current = null;
  await outbox.settled();
  const state = await get("state", (response) => response.json());
  element("progress-line").hidden = !state.has_consented;
  Object.assign(element("progress"), { max: state.total, value: state.done });
  element("progress-text").textContent = `${Math.min(state.done + 1, state.total)} of ${state.total}`;
  document.documentElement.style.setProperty("--image-size", `${state.display_size}px`);
  if (!state.has_consented) showConsent(state);
  else if (state.item) await showItem(state);
  else showEnd("finished");
}

function showConsent({ consent }) {
  const paragraphs = consent.split(/\n\s*\n/).map((text) => Object.assign(document.createElement("p"), { textContent: text }));
  element("consent-text").replaceChildren(...paragraphs);
  showEnd("consent");
}

function showEnd(view) {
  showView(view);
  element(`${view}-title`).focus();
}

async function showItem({ item, diagnoses }) {
  const radiographs = item.images.map((_, index) => new Radiograph(index + 1, {
    click: () => current?.phase === "open" && current.question.click(index),
    view() {},
    window() {},
    marks() {},
  }));
  const shown = { item, radiographs, phase: "loading", question: question(item, diagnoses, radiographs, changed) };
  current = shown;
  tools.start(radiographs);
  element("badge").hidden = !item.is_training;
  element("question").textContent = shown.question.title;
  element("hint").textContent = shown.question.hint;
  element("images").replaceChildren(...shown.question.tiles);
  element("images").className = `images ${item.kind}`;
  element("item-view").className = item.kind;
  element("show").textContent = item.images.length > 1 ? "Show the images" : "Show the image";
  element("answers").replaceChildren(...shown.question.answers);
  element("comment").value = item.answer?.comment ?? "";
  element("comment").disabled = false;
  element("comment-field").open = Boolean(item.answer?.comment);
  element("comment-field").hidden = !item.asks_details;
  element("tools").hidden = item.exposure_seconds !== null;
  element("next").textContent = "Next";
  showView("item");
  setPhase(shown, "loading");
  const bitmaps = await Promise.all(item.images.map((image) =>
    get(`images/${image}.png`, async (response) => createImageBitmap(await response.blob())),
  ));
  if (current !== shown) return;
  if (bitmaps.includes(null)) return goOn();
  radiographs.forEach((radiograph, index) => radiograph.load(bitmaps[index]));
  if (item.exposure_seconds === null) await open(shown);
  else if (item.was_shown) await openMasked(shown);
  else waitForExposure(shown);
  element("question").focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Shows all images in one frame; the clock starts when they are painted. */
async function open(shown) {
  await new Promise(requestAnimationFrame);
  shown.radiographs.forEach((radiograph) => radiograph.show());
  await new Promise(requestAnimationFrame);
  if (current !== shown) return;
  clock.start(shown.item.elapsed_seconds);
  if (element("paused").open) clock.pause();
  setPhase(shown, "open");
  send("shown");
}

/** A timed image is shown once; after a reload its question stays. */
async function openMasked(shown) {
  shown.radiographs.forEach((radiograph) => radiograph.mask(false));
  clock.start(shown.item.elapsed_seconds);
  setPhase(shown, "open");
}

function waitForExposure(shown) {
  shown.radiographs.forEach((radiograph) => radiograph.mask(false));
  setPhase(shown, "timed");
}

async function startExposure() {
  const shown = current;
  if (shown?.phase !== "timed") return;
  setPhase(shown, "exposed");
  shown.shownSeconds = await expose(shown.radiographs, shown.item.exposure_seconds, () => {
    clock.start();
    send("shown");
  });
  setPhase(shown, "open");
  send("viewed", { shown_seconds: shown.shownSeconds });
}

function setPhase(shown, phase) {
  shown.phase = phase;
  element("timed").hidden = shown.item.exposure_seconds === null;
  element("timed").classList.toggle("spent", phase !== "timed" && phase !== "exposed"); // the image stays in its place
  element("show").disabled = phase === "exposed";
  element("pause").disabled = phase === "exposed";
  for (const id of ["answers", "images"]) element(id).classList.toggle("waiting", phase !== "open" && phase !== "over");
  showMissing();
}

function answer() {
  const comment = element("comment").value.trim();
  return { ...current.question.answer(), ...(comment && { comment }) };
}

function showMissing() {
  const isOpen = current.phase === "open";
  const missing = isOpen ? current.question.missing() : "";
  element("missing").textContent = missing;
  element("next").disabled = !(current.phase === "over" || (isOpen && !missing));
}

/** A click on an answer: sent at once. */
async function changed() {
  const shown = current;
  if (shown?.phase !== "open") return;
  notice("");
  showMissing();
  react(shown, await send("change", answer()));
}

async function finish() {
  const shown = current;
  if (shown?.phase === "over") return afterSolution?.();
  if (shown?.phase !== "open" || shown.question.missing()) return;
  notice("");
  clearTimeout(typing);
  const sent = send("final", answer());
  clock.pause();
  shown.phase = "sent";
  showMissing();
  shown.question.lock();
  element("comment").disabled = true;
  const { status, body } = await sent;
  if (react(shown, { status, body })) {
    if (body.solution) showSolution(shown, body.solution);
    else await goOn();
  }
}

/** Whether the server took an answer; else says why not and shows where the reader is now. */
function react(shown, { status, body }) {
  if (status === 200) return true;
  if (current !== shown) return false;
  notice(status === 409 ? ELSEWHERE : body.error);
  goOn();
  return false;
}

function showSolution(shown, solution) {
  shown.radiographs.forEach((radiograph, index) => {
    radiograph.show();
    const label = document.createElement("p");
    label.className = `solution ${solution[index] ? "synthetic" : "real"}`;
    label.textContent = `Solution: ${solution[index] ? "synthetic" : "real"}`;
    radiograph.frame.after(label);
  });
  setPhase(shown, "over");
  afterSolution = () => {
    afterSolution = null;
    goOn();
  };
  element("hint").textContent = "This was an example; it does not count.";
  element("next").textContent = "Go on";
  element("next").focus();
}

function pause(reason) {
  if (!current || !["timed", "open", "over"].includes(current.phase) || element("paused").open) return;
  clock.pause();
  document.body.classList.add("is-paused");
  element("keys").close();
  element("paused").showModal();
  if (current.phase === "open") send("paused", { reason });
}

function resume() {
  document.body.classList.remove("is-paused");
  if (current?.phase === "open") clock.resume();
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.matches("textarea, input[type=text], input[type=password]")) return;
  if (key === "?") element("keys").showModal();
  else if (key.toLowerCase() === "l") element("theme").click();
  else if (key.toLowerCase() === "p") pause("key");
  else if (!current || element("item-view").hidden) return;
  else if (key === "Enter") return onEnter(event);
  else if (target.matches("input[type=range]") && key.startsWith("Arrow")) return;
  else if (current.phase === "open" && !event.shiftKey && current.question.key(event)) event.preventDefault();
  else if (element("tools").hidden || !tools.key(event)) return;
  event.preventDefault();
}

/** Enter goes on, but where it presses a button that is no answer. */
function onEnter(event) {
  if (event.target.matches("summary, button:not(.choice)") && !event.repeat) return;
  event.preventDefault();
  if (event.repeat) return; // a key held down does not run through the study
  if (current.phase === "timed") startExposure();
  else finish();
}

function start() {
  startTheme(element("theme"));
  element("consent-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!element("agree").checked) return;
    await send("consent", { agrees: true }, {});
    await goOn();
  });
  element("next").addEventListener("click", finish);
  element("show").addEventListener("click", startExposure);
  element("pause").addEventListener("click", () => pause("button"));
  element("paused").addEventListener("close", resume);
  element("continue").addEventListener("click", () => element("paused").close());
  element("help").addEventListener("click", () => element("keys").showModal());
  element("close-keys").addEventListener("click", () => element("keys").close());
  element("comment").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(changed, COMMENT_MILLISECONDS);
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => document.hidden && pause("hidden"));
  return goOn();
}

await start();
