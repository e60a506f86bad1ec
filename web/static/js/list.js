// The list of lines: only the rows in sight are in the document, so ten
// thousand lines scroll as quickly as ten. Oldest first, newest at the bottom,
// as in a terminal.

import { $, el, show } from './dom.js';
import { visible, clock, day, utc, local, get, text } from './text.js';

export const MOST = 10000; // lines kept in the browser
const ROW = 24;            // px, as --row in app.css
const CUT = 1200;          // characters of a message in one row
const LEVELS = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };

export class List {
  lines = [];
  chosen = -1;
  mark = null;
  #rows = new Map(); // line id -> row in the document
  #ids = new Set();
  #frame = 0;
  #days = false;

  // on: {choose(line), open(line), older(), bottom()}
  constructor(on) {
    this.on = on;
    this.box = $('lines');
    this.canvas = $('canvas');
    this.box.addEventListener('scroll', () => {
      this.#later();
      if (this.box.scrollTop < ROW && this.lines.length) on.older();
      if (this.atEnd()) on.bottom();
    }, { passive: true });
    this.canvas.addEventListener('click', (e) => {
      const row = e.target.closest('.row');
      if (!row || getSelection().toString()) return; // somebody marks text to copy it
      this.choose(Number(row.dataset.at));
      on.open(this.lines[this.chosen]);
    });
    new ResizeObserver(() => this.#later()).observe(this.box);
  }

  atEnd() {
    return this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - ROW;
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.#draw();
  }

  set(lines, mark) {
    this.mark = mark;
    this.lines = lines.slice(-MOST);
    this.#ids = new Set(this.lines.map((l) => l.id));
    this.chosen = -1;
    this.#reset();
    this.toEnd();
  }

  prepend(lines) {
    const fresh = lines.filter((l) => !this.#ids.has(l.id)).slice(-(MOST - this.lines.length));
    if (!fresh.length) return 0;
    for (const l of fresh) this.#ids.add(l.id);
    this.lines = fresh.concat(this.lines);
    if (this.chosen >= 0) this.chosen += fresh.length;
    const top = this.box.scrollTop;
    this.#reset();
    this.box.scrollTop = top + fresh.length * ROW;
    this.#draw();
    return fresh.length;
  }

  // append adds new lines at the bottom and lets the oldest go.
  append(lines) {
    const stay = this.atEnd();
    const fresh = lines.filter((l) => !this.#ids.has(l.id));
    for (const l of fresh) this.#ids.add(l.id);
    this.lines = this.lines.concat(fresh);
    const gone = Math.max(0, this.lines.length - MOST);
    if (gone) {
      for (const l of this.lines.splice(0, gone)) this.#ids.delete(l.id);
      if (this.chosen >= 0) this.chosen = Math.max(-1, this.chosen - gone);
    }
    const top = this.box.scrollTop;
    this.#reset();
    if (stay) this.box.scrollTop = this.box.scrollHeight;
    else if (gone) this.box.scrollTop = Math.max(0, top - gone * ROW);
    this.#later();
    return fresh.length;
  }

  // move goes n lines down (up when negative); the first move takes the newest.
  move(n) {
    if (!this.lines.length) return;
    this.choose(this.chosen < 0 ? this.lines.length - 1 : this.chosen + n);
  }

  page(n) {
    this.move(n * Math.max(1, Math.floor(this.box.clientHeight / ROW) - 2));
  }

  choose(i) {
    this.chosen = Math.max(0, Math.min(this.lines.length - 1, i));
    const top = this.chosen * ROW + this.canvas.offsetTop;
    if (top < this.box.scrollTop) this.box.scrollTop = this.chosen === 0 ? 0 : top;
    else if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.#draw();
    this.on.choose(this.lines[this.chosen]);
  }

  has(id) {
    return this.#ids.has(id);
  }

  find(id) {
    return this.lines.findIndex((l) => l.id === id);
  }

  #reset() {
    const first = this.lines[0], last = this.lines.at(-1);
    this.#days = Boolean(first) && day(first.time) !== day(last.time);
    this.canvas.classList.toggle('days', this.#days);
    this.canvas.style.height = `${this.lines.length * ROW}px`;
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    this.#later();
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const top = this.box.scrollTop - this.canvas.offsetTop;
    const from = Math.max(0, Math.floor(top / ROW) - 10);
    const to = Math.min(this.lines.length, Math.ceil((top + this.box.clientHeight) / ROW) + 10);
    const wanted = new Map();
    for (let i = from; i < to; i++) wanted.set(this.lines[i].id, i);
    for (const [id, row] of this.#rows) {
      if (!wanted.has(id)) {
        row.remove();
        this.#rows.delete(id);
      }
    }
    for (const [id, i] of wanted) {
      let row = this.#rows.get(id);
      if (!row) {
        row = this.#build(this.lines[i]);
        this.#rows.set(id, row);
        this.canvas.append(row);
      }
      row.dataset.at = i;
      row.id = `line-${i}`;
      row.style.transform = `translateY(${i * ROW}px)`;
      row.setAttribute('aria-posinset', i + 1);
      row.setAttribute('aria-setsize', this.lines.length);
      row.setAttribute('aria-selected', i === this.chosen);
    }
    if (this.chosen >= 0) this.box.setAttribute('aria-activedescendant', `line-${this.chosen}`);
    else this.box.removeAttribute('aria-activedescendant');
  }

  #build({ time, doc }) {
    // A document that stands in the place of lost lines has no stream and no level.
    const gap = get(doc, 'event.kind') === 'pipeline_error';
    const level = gap ? 'fatal' : get(doc, 'log.level') || '';
    const stream = get(doc, 'stream');
    const row = el('div', { class: `row level-${Object.hasOwn(LEVELS, level) ? level : 'none'}`, role: 'option' });
    const when = el('time', { datetime: time, title: `${utc(time)}\n${local(time)}` });
    if (this.#days) when.append(`${day(time).slice(5)} `);
    when.append(clock(time));
    row.append(when, el('span', { class: 'level' }, gap ? 'GAP' : LEVELS[level] || ''));
    const container = text(get(doc, 'container.name')), service = text(get(doc, 'service.name'));
    row.append(el('span', { class: 'service', title: `${container} on ${text(get(doc, 'host.name'))}` }, visible(service || container)));
    row.append(el('span', { class: 'stream', title: stream === 'stderr' ? 'stderr' : '' }, stream === 'stderr' ? 'err' : ''));
    const message = text(get(doc, 'message'));
    const m = el('span', { class: 'message' }, visible(message.slice(0, CUT), { mark: this.mark }));
    if (message.length > CUT) m.append('…');
    row.append(m);
    return row;
  }
}

// showOlder says what is above the first loaded line.
export function showOlder(more, full) {
  show($('older'), more && !full);
  $('older-text').textContent = full ? `${MOST.toLocaleString('en')} lines are loaded, the most; choose a shorter time range for older ones`
    : more ? '' : 'Beginning of the time range';
}
