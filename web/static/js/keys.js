// The page by keys alone.

import { $ } from './dom.js';

export function keys({ list, focusList, closeDetail, open, tail, pause, help, end }) {
  const moves = {
    ArrowDown: () => list.move(1), j: () => list.move(1),
    ArrowUp: () => list.move(-1), k: () => list.move(-1),
    PageDown: () => list.page(1), PageUp: () => list.page(-1),
    Home: () => { if (list.lines.length) list.choose(0); },
    End: () => { if (list.lines.length) list.choose(list.lines.length - 1); end(); },
  };
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
    const at = e.target;
    if (e.key === 'Escape') {
      if (at === $('q')) focusList();
      else if (!closeDetail()) focusList();
      e.preventDefault(); // the search box would clear itself
      return;
    }
    if (at === $('q') && e.key === 'ArrowDown') {
      e.preventDefault();
      focusList();
      return;
    }
    if (at.matches('input, select, textarea')) return;
    const inList = at === $('lines') || at === document.body;
    const key = moves[e.key];
    // Keys that scroll or press belong to whatever has the focus.
    if (key && (inList || e.key === 'j' || e.key === 'k')) {
      key();
      if (!$('detail').contains(at)) focusList(); // so that Enter opens the line next
    } else if (e.key === 'Enter' && inList) open();
    else if (e.key === '/') {
      $('q').focus();
      $('q').select();
    } else if (e.key === 't') tail();
    else if (e.key === 'p') pause();
    else if (e.key === '?') help();
    else return;
    e.preventDefault();
  });
}
