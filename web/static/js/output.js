// Where lines go: what is wrong, how the store has answered, what could not be stored.

import { el } from './dom.js';
import { bytes, local, number, plural, visible } from './text.js';

export function outputView(status) {
  const o = status?.output;
  if (!o?.kind) return [];
  const problems = (status.problems ?? []).map((p) => el('p', { class: 'error' }, visible(p)));
  const row = (a) => el('tr', {},
    el('td', {}, visible(a.answer)),
    el('td', {}, visible(a.outcome), a.example ? el('small', {}, visible(a.example)) : ''),
    el('td', { class: 'num' }, number(a.lines)),
    el('td', { class: 'num' }, local(a.last).slice(0, 19)));
  const answers = o.answers?.length ? el('table', { id: 'answers' },
    el('thead', {}, el('tr', {}, ...['Answer', 'What happens to the lines', 'Lines', 'Last'].map((t) => el('th', { scope: 'col' }, t)))),
    el('tbody', {}, ...o.answers.map(row))) : '';
  return [...problems, el('p', {}, el('strong', {}, 'Output: ', visible(o.kind), ', ', visible(o.state))), answers, letters(o.dead_letters)];
}

function letters(d) {
  if (!d) return '';
  const when = d.count ? `, given up from ${local(d.oldest).slice(0, 19)} to ${local(d.newest).slice(0, 19)}` : '';
  return el('p', { id: 'dead-letters' }, el('strong', {}, plural(d.count, 'dead letter')), ` (${bytes(d.bytes)})${when}. `,
    el('code', {}, visible(d.command)), ' shows them.', el('small', {}, 'Newest: ', visible(d.reason)));
}
