// Filters with counts. The counts of a field leave out the field's own
// filters, so that the other values can still be seen and added.

import { $, el } from './dom.js';
import { visible, number } from './text.js';

export const FIELDS = [
  ['log.level', 'Level'],
  ['service.name', 'Service'],
  ['container.name', 'Container'],
  ['host.name', 'Host'],
  ['stream', 'Stream'],
];
const FEW = 8, MANY = 100;
const ORDER = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];

export class Facets {
  #long = new Set(); // fields whose whole list is shown
  #answers = new Map();
  #groups = new Map();

  // on: {toggle(field, value, not), more(field)}
  constructor(on) {
    this.on = on;
    for (const [field, title] of FIELDS) {
      const body = el('ul');
      const group = el('section', { class: 'facet', 'aria-label': title }, el('h2', { title: field }, title), body);
      this.#groups.set(field, body);
      $('facets').append(group);
    }
  }

  wanted(field) {
    return this.#long.has(field) ? MANY : FEW + 1;
  }

  set(field, values, state) {
    this.#answers.set(field, values);
    this.draw(field, state);
  }

  draw(field, state) {
    const body = this.#groups.get(field);
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    let values = (this.#answers.get(field) || []).slice();
    for (const list of [state.is, state.not]) {
      for (const [f, value] of list) {
        if (f === field && !values.some((v) => v.value === value)) values.push({ value, count: 0 });
      }
    }
    if (field === 'log.level') values.sort((a, b) => (ORDER.indexOf(a.value) + 99) % 99 - (ORDER.indexOf(b.value) + 99) % 99);
    const most = Math.max(1, ...values.map((v) => v.count));
    const more = values.length > FEW && !this.#long.has(field);
    if (more) values = values.slice(0, FEW);
    body.replaceChildren(...values.map((v) => this.#value(field, v, most, state)));
    if (!values.length) body.append(el('li', { class: 'muted none' }, 'none'));
    if (more || this.#long.has(field)) {
      body.append(el('li', {}, el('button', { type: 'button', class: 'quiet more', 'data-key': 'more', onclick: () => {
        if (!this.#long.delete(field)) this.#long.add(field);
        this.on.more(field);
      } }, more ? 'More …' : 'Fewer')));
    }
    if (focused) [...body.querySelectorAll('[data-key]')].find((e) => e.dataset.key === focused)?.focus();
  }

  #value(field, { value, count }, most, state) {
    const has = (list) => list.some(([f, v]) => f === field && v === value);
    const on = has(state.is), off = has(state.not);
    const bar = el('span', { class: 'share', 'aria-hidden': 'true' });
    bar.style.width = `${Math.max(count ? 2 : 0, 100 * count / most)}%`;
    return el('li', { class: off ? 'off' : on ? 'on' : '' },
      el('button', {
        type: 'button', class: 'value', 'aria-pressed': String(on), 'data-key': `is ${value}`,
        title: on ? `Remove the filter ${field}: ${value}` : `Only lines with ${field}: ${value}`,
        onclick: () => this.on.toggle(field, value, false),
      }, bar, field === 'log.level' ? el('i', { class: `dot level-${value}`, 'aria-hidden': 'true' }) : '',
      el('span', { class: 'name' }, visible(value)), el('span', { class: 'n' }, number(count))),
      el('button', {
        type: 'button', class: 'not', 'aria-pressed': String(off), 'data-key': `not ${value}`,
        'aria-label': `Exclude ${value}`, title: off ? `Show ${value} again` : `No lines with ${field}: ${value}`,
        onclick: () => this.on.toggle(field, value, true),
      }, '−'));
  }
}

// showChips shows each filter with a way to take it off.
export function showChips(state, toggle) {
  const chip = (not) => ([field, value]) => el('span', { class: not ? 'chip not' : 'chip' },
    el('span', { class: 'chip-text', title: `${field}: ${value}` }, not ? 'not ' : '', `${field}: `, visible(value)),
    el('button', { type: 'button', 'aria-label': `Remove filter ${not ? 'not ' : ''}${field}: ${value}`, onclick: () => toggle(field, value, not) }, '✕'));
  $('chips').replaceChildren(...state.is.map(chip(false)), ...state.not.map(chip(true)));
  $('clear').hidden = state.is.length + state.not.length < 2;
}
