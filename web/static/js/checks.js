// How the checks of this host's containers stand: what is red first, since when,
// with the last result.

import { $, el, show } from './dom.js';
import { local, plural, visible } from './text.js';

const EVERY = 10e3, MOST = 500; // ms, rows
const BAD = new Set(['CRITICAL', 'WARNING', 'UNKNOWN']);

export class Checks {
  list = [];
  status = null;
  #timer = 0;

  constructor() {
    $('checks-open').addEventListener('click', () => {
      this.#draw();
      $('checks').showModal();
    });
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#ask(); });
    this.#ask();
  }

  async #ask() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      const get = (path) => fetch(`api/v1/${path}`, { headers: { Accept: 'application/json' } });
      const status = await get('collector');
      if (status.status === 204 || status.status === 404) return; // a page without checks
      const list = await get('checks');
      if (status.ok && list.ok) [this.status, this.list] = [await status.json(), await list.json()];
    } catch { /* the search says that nobody answers; here the last state stays */ }
    this.#label();
    this.#timer = setTimeout(() => this.#ask(), EVERY);
  }

  #label() {
    if (!this.status) return;
    const bad = this.list.filter((c) => BAD.has(c.status)), wrong = this.#wrong().length;
    const button = $('checks-open');
    show(button, this.list.length + wrong > 0);
    button.dataset.state = bad.some((c) => c.status === 'CRITICAL') ? 'bad' : bad.length + wrong ? 'late' : 'good';
    $('checks-label').textContent = bad.length ? `${bad.length} of ${plural(this.list.length, 'check')} bad` : plural(this.list.length, 'check');
    if ($('checks').open) this.#draw();
  }

  // wrong are sentences about the checks that are not run, and about the rest.
  #wrong() {
    const findings = (this.status?.findings ?? []).map((f) => `${f.app || f.host || ''} ${f.check || ''}: ${f.text}`);
    return [...(this.status?.problems ?? []), ...findings];
  }

  #draw() {
    const row = (c) => el('tr', { 'data-status': c.status },
      el('td', {}, el('strong', {}, visible(c.status)), c.flapping ? el('small', {}, 'flapping') : '', c.stale ? el('small', {}, 'no result') : ''),
      el('td', {}, el('strong', {}, visible(c.app || c.name)), el('small', {}, visible(c.app ? `${c.name} (${c.kind})` : c.kind))),
      el('td', { class: 'num' }, local(BAD.has(c.status) && c.first_bad || c.since).slice(0, 19)),
      el('td', {}, visible(c.text || ''), el('small', {}, visible(c.target), c.last_good && BAD.has(c.status) ? `, last good ${local(c.last_good).slice(0, 19)}` : '')));
    const table = el('table', {},
      el('thead', {}, el('tr', {}, ...['Status', 'Check', 'Since', 'Last result'].map((t) => el('th', { scope: 'col' }, t)))),
      el('tbody', {}, ...this.list.slice(0, MOST).map(row)));
    $('checks-body').replaceChildren(...this.#wrong().map((t) => el('p', { class: 'error' }, visible(t))), table,
      this.list.length > MOST ? el('p', { class: 'muted' }, `and ${this.list.length - MOST} more; mesoscope status --all shows them`) : '');
  }
}
