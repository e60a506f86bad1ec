// One line with all its fields, and the lines around it.

import { $, el, show } from './dom.js';
import { ask } from './api.js';
import { visible, clock, local, utc, get, text, flatten, number } from './text.js';

const CUT = 4000; // characters of a message or value before "show all"
const AROUND = 5;

export class Detail {
  line = null;
  #before = AROUND;
  #after = AROUND;
  #abort = null;
  #timer = 0;

  // on: {filter(field, value, not), close(), link(line)}
  constructor(on) {
    this.on = on;
    this.box = $('detail');
  }

  get open() {
    return !this.box.hidden;
  }

  close() {
    this.#abort?.abort();
    clearTimeout(this.#timer);
    this.line = null;
    show(this.box, false);
    $('columns').classList.remove('with-detail');
  }

  show(line, mark) {
    this.line = line;
    this.mark = mark;
    this.#before = this.#after = AROUND;
    const { doc, time } = line;
    const level = text(get(doc, 'log.level'));
    this.around = el('ol', { class: 'around-lines' });
    this.note = el('p', { class: 'muted note' });
    this.box.replaceChildren(
      el('header', {},
        el('div', {},
          el('strong', {}, visible(text(get(doc, 'service.name')) || text(get(doc, 'container.name')) || 'Line')), ' ',
          level ? el('span', { class: `badge level-${level}` }, visible(level)) : '',
          el('time', { datetime: time, title: utc(time) }, local(time))),
        el('div', { class: 'actions' },
          this.#copy('Copy JSON', () => JSON.stringify(doc, null, 2)),
          this.#copy('Copy link', () => this.on.link(line)),
          el('button', { type: 'button', class: 'square', 'aria-label': 'Close', title: 'Close (Esc)', onclick: () => this.on.close() }, '✕'))),
      el('div', { class: 'detail-body' },
        el('pre', { class: 'whole', tabindex: '0', 'aria-label': 'Message' }, ...this.#long(text(get(doc, 'message')), mark)),
        el('section', { class: 'around', 'aria-label': 'Lines around' },
          el('h3', {}, 'Lines around'),
          el('button', { type: 'button', class: 'quiet', onclick: () => { this.#before += 10; this.#ask(); } }, '↑ 10 more before'),
          this.around,
          el('button', { type: 'button', class: 'quiet', onclick: () => { this.#after += 10; this.#ask(); } }, '↓ 10 more after'),
          this.note),
        el('section', { 'aria-label': 'Fields' },
          el('h3', {}, 'Fields'),
          el('table', {}, el('tbody', {}, ...flatten(doc).map((f) => this.#field(f)))))));
    if (!this.open) {
      show(this.box, true);
      $('columns').classList.add('with-detail');
    }
    this.#drawAround([line]);
    // Someone who holds the arrow key down asks for one line, not for fifty.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), 120);
  }

  #copy(label, value) {
    const b = el('button', { type: 'button', class: 'quiet', onclick: async () => {
      try {
        await navigator.clipboard.writeText(value());
        b.textContent = 'Copied';
      } catch {
        b.textContent = 'Not allowed here'; // the clipboard needs https or localhost
      }
      setTimeout(() => { b.textContent = label; }, 1500);
    } }, label);
    return b;
  }

  #long(s, mark) {
    if (s.length <= CUT) return [visible(s, { mark, multi: true })];
    const rest = el('button', { type: 'button', class: 'quiet show-all', onclick: () => {
      rest.replaceWith(visible(s.slice(CUT), { mark, multi: true }));
    } }, `Show all ${number(s.length)} characters`);
    return [visible(s.slice(0, CUT), { mark, multi: true }), rest];
  }

  #field([name, value]) {
    const values = Array.isArray(value) ? value : [value];
    const scalar = (v) => v !== null && typeof v !== 'object' && String(v).length <= 500;
    const cells = values.map((v) => el('div', { class: 'field-value' },
      el('span', { class: 'text' }, ...this.#long(v === null ? 'null' : text(v))),
      scalar(v) && name !== 'message' && name !== '@timestamp' ? el('span', { class: 'field-tools' },
        el('button', { type: 'button', title: `Only lines with ${name}: ${v}`, 'aria-label': `Only lines with ${name}: ${v}`, onclick: () => this.on.filter(name, String(v), false) }, '+'),
        el('button', { type: 'button', title: `No lines with ${name}: ${v}`, 'aria-label': `No lines with ${name}: ${v}`, onclick: () => this.on.filter(name, String(v), true) }, '−')) : ''));
    return el('tr', {}, el('th', { scope: 'row' }, visible(name)), el('td', {}, ...cells));
  }

  // The neighbours are the lines of the same container, stream and file
  // generation by their number; where an event has no number, by their time.
  async #ask() {
    const line = this.line;
    if (!line) return;
    this.#abort?.abort();
    const abort = this.#abort = new AbortController();
    try {
      const found = await this.#neighbours(line, abort.signal);
      if (this.line === line) {
        this.note.textContent = '';
        this.#drawAround(found);
      }
    } catch (err) {
      if (err.name !== 'AbortError') this.note.textContent = err.message;
    }
  }

  async #neighbours(line, signal) {
    const field = (name) => get(line.doc, name);
    const same = ['container.id', 'stream'].filter((f) => field(f) !== undefined).map((f) => ['is', `${f}:${field(f)}`]);
    const n = field('event.sequence'), generation = field('log.file.generation');
    if (Number.isInteger(n) && generation !== undefined) {
      const res = await ask('search', [
        ['q', `event.sequence >= ${Math.max(0, n - this.#before)} and event.sequence <= ${n + this.#after}`],
        ...same, ['is', `log.file.generation:${generation}`], ['limit', this.#before + this.#after + 1],
      ], signal);
      return res.lines.sort((a, b) => get(a.doc, 'event.sequence') - get(b.doc, 'event.sequence'));
    }
    const [before, after] = await Promise.all([
      ask('search', [...same, ['newest', 'true'], ['after', line.cursor], ['limit', this.#before]], signal),
      ask('search', [...same, ['after', line.cursor], ['limit', this.#after]], signal),
    ]);
    return [...before.lines, line, ...after.lines];
  }

  #drawAround(lines) {
    this.around.replaceChildren(...lines.map((l) => {
      const here = l.id === this.line.id;
      const sequence = get(l.doc, 'event.sequence');
      return el('li', { class: here ? 'here' : '', 'aria-current': here ? 'true' : null },
        el('button', { type: 'button', disabled: here, title: utc(l.time), 'data-sequence': sequence, onclick: () => this.show(l, this.mark) },
          el('time', {}, clock(l.time)), el('span', {}, visible(text(get(l.doc, 'message')).slice(0, 300)))));
    }));
  }
}
