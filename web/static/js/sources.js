// What is followed, how far behind it is, and what is wrong.

import { $, el, show } from './dom.js';
import { outputView } from './output.js';
import { bytes, plural, visible } from './text.js';

const EVERY = 10e3, LATE = 30; // ms, s

export class Sources {
  list = null; // null: nobody says
  status = null;
  #timer = 0;

  constructor(changed) {
    this.changed = changed;
    $('sources-open').addEventListener('click', () => {
      this.#draw();
      $('sources').showModal();
    });
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#ask(); });
    this.#ask();
  }

  async #ask() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      const get = (path) => fetch(`api/v1/${path}`, { headers: { Accept: 'application/json' } });
      const response = await get('sources');
      if (response.ok) {
        const body = await response.json();
        this.list = Array.isArray(body) ? body : body.sources ?? [];
        const status = await get('status');
        if (status.ok) this.status = await status.json();
      } else if (response.status === 404) return; // a page without an agent
    } catch { /* the search says that nobody answers; here the last state stays */ }
    this.#label();
    this.#timer = setTimeout(() => this.#ask(), EVERY);
  }

  #label() {
    if (!this.list) return;
    const problems = this.list.filter(problem).length + (this.status?.problems?.length ?? 0), late = this.list.filter(behind).length;
    const button = $('sources-open');
    show(button, true);
    button.dataset.state = problems ? 'bad' : late ? 'late' : this.list.length ? 'good' : 'none';
    $('sources-label').textContent = problems ? plural(problems, 'problem') : plural(this.list.length, 'source') + (late ? `, ${late} behind` : '');
    if ($('sources').open) this.#draw();
    this.changed(this.list);
  }

  #draw() {
    const rank = (s) => (problem(s) ? 0 : behind(s) ? 1 : 2);
    const list = this.list.slice().sort((a, b) => rank(a) - rank(b) || (a.service || '').localeCompare(b.service || '') || (a.container || '').localeCompare(b.container || ''));
    const output = outputView(this.status);
    if (!list.length) {
      $('sources-body').replaceChildren(...output, el('p', {}, 'Nothing is followed yet. Start a container, or try ', el('code', {}, 'mesoscope standalone --demo'), '.'));
      return;
    }
    const row = (s) => el('tr', { class: problem(s) ? 'bad' : behind(s) ? 'late' : '' },
      el('td', {}, el('strong', {}, visible(s.service || s.container || '')), el('small', {}, visible(s.service && s.container !== s.service ? s.container || '' : ''))),
      el('td', {}, visible(s.stream || '')), el('td', {}, visible(s.driver || '')), el('td', {}, visible(s.state || '')),
      el('td', { class: 'num' }, s.lag_bytes ? bytes(s.lag_bytes) : '0'),
      el('td', { class: 'num' }, s.lag_seconds ? `${Math.round(s.lag_seconds)} s` : '0 s'),
      el('td', {}, visible(s.guarantee || ''), s.last_error ? el('small', { class: 'error' }, visible(s.last_error)) : ''));
    const table = el('table', {},
      el('thead', {}, el('tr', {}, ...['Container', 'Stream', 'Driver', 'State', 'Behind', 'for', 'Guarantee, last error'].map((t) => el('th', { scope: 'col' }, t)))),
      el('tbody', {}, ...list.slice(0, 500).map(row)));
    $('sources-body').replaceChildren(...output, table, list.length > 500 ? el('p', { class: 'muted' }, `and ${list.length - 500} more; mesoscope status shows all`) : '');
  }
}

const problem = (s) => Boolean(s.last_error);
const behind = (s) => s.lag_seconds > LATE;
