/** Seconds spent on an item, without pauses, by the monotonic clock: the wall clock may jump. */

export class Clock {
  #spent = 0;
  #since = null;

  /** Starts; `spent` seconds were counted before, such as on another device. */
  start(spent = 0) {
    this.#spent = spent;
    this.#since = performance.now();
  }

  pause() {
    this.#spent = this.seconds;
    this.#since = null;
  }

  resume() {
    this.#since ??= performance.now();
  }

  get seconds() {
    return this.#spent + (this.#since === null ? 0 : (performance.now() - this.#since) / 1000);
  }
}
