/**
 * Shows images for a limited time, as HYPE-time does (Zhou et al. 2019): a countdown, the image, then a mask of noise, so
 * that no afterimage stays. The time counts from the frame in which the image is painted; it ends with a whole frame of
 * the screen, 17 ms at 60 Hz.
 */

const COUNTDOWN = ["3", "2", "1"];
const COUNT_MILLISECONDS = 500;
const MASKS = 4;
const MASK_MILLISECONDS = 30;

/** Resolves with the seconds that the images were visible; `onShown()` is called in their first frame. */
export async function expose(radiographs, seconds, onShown) {
  for (const text of COUNTDOWN) {
    radiographs.forEach((radiograph) => radiograph.say(text));
    await pass(COUNT_MILLISECONDS);
  }
  await frame();
  radiographs.forEach((radiograph) => radiograph.show());
  const start = await frame(); // what was drawn above is painted when this one begins
  onShown();
  const interval = (await frame()) - start;
  let now = start + interval;
  while (now - start < 1000 * seconds - interval / 2) now = await frame();
  for (let count = 0; count < MASKS; count++) {
    radiographs.forEach((radiograph) => radiograph.mask(true));
    await pass(MASK_MILLISECONDS);
  }
  radiographs.forEach((radiograph) => radiograph.mask(false));
  return (now - start) / 1000;
}

function frame() {
  return new Promise(requestAnimationFrame);
}

function pass(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
