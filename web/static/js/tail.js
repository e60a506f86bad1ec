// Following new lines. While paused (by the button, or because somebody reads
// further up) they are kept here, a bounded number of them.

import { ask, tailAddress } from './api.js';

const WAITING = 5000;

export class Tail {
  waiting = [];
  dropped = 0;
  paused = false;
  #source = null;
  #started = false;

  // on: {ready(first), known(id), lines(lines), waiting(), problem(message), refused(message)}
  constructor(on) {
    this.on = on;
  }

  get running() {
    return this.#source !== null;
  }

  start(params) {
    this.stop();
    this.#started = false;
    const source = this.#source = new EventSource(tailAddress(params));
    source.addEventListener('ready', () => {
      const first = !this.#started;
      this.#started = true;
      this.on.ready(first);
    });
    source.addEventListener('lines', (e) => this.#take(JSON.parse(e.data)));
    source.addEventListener('problem', (e) => this.on.problem(JSON.parse(e.data).error));
    source.addEventListener('error', async () => {
      if (this.#source !== source) return;
      if (source.readyState !== EventSource.CLOSED) {
        this.on.problem('Mesoscope does not answer. Trying again …');
        return;
      }
      // Refused. An EventSource does not tell why; a search of the same does.
      this.stop();
      let message = 'The live tail was refused; too many may be running.';
      try {
        await ask('search', [...params, ['limit', '1']]);
      } catch (err) {
        message = err.message;
      }
      this.on.refused(message);
    });
  }

  stop() {
    this.#source?.close();
    this.#source = null;
    this.waiting = [];
    this.dropped = 0;
    this.paused = false;
  }

  pause() {
    this.paused = true;
  }

  // resume gives out what has come meanwhile.
  resume() {
    this.paused = false;
    const lines = this.waiting;
    this.waiting = [];
    this.dropped = 0;
    return lines;
  }

  #take(all) {
    // The first search and the tail overlap, so that nothing falls between.
    const lines = all.filter((l) => !this.on.known(l.id));
    if (!lines.length) return;
    if (!this.paused) {
      this.on.lines(lines);
      return;
    }
    this.waiting = this.waiting.concat(lines);
    const over = this.waiting.length - WAITING;
    if (over > 0) {
      this.dropped += over;
      this.waiting.splice(0, over);
    }
    this.on.waiting();
  }
}
