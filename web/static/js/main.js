// Puts the parts together: a change of the state goes into the URL, the URL is
// asked for, and the answers go to the list, the chart and the filters.

import { $, el, show } from './dom.js';
import { ask } from './api.js';
import * as url from './state.js';
import { List, MOST, showOlder } from './list.js';
import { Chart, stepFor } from './chart.js';
import { Facets, FIELDS, showChips } from './facets.js';
import { Detail } from './detail.js';
import { Checks } from './checks.js';
import { Sources } from './sources.js';
import { Tail } from './tail.js';
import { keys } from './keys.js';
import { marker, number, plural, zone, day, clock, get } from './text.js';

const PAGE = 500;          // lines of one question
const REFRESH = 5000;      // ms between counts while following
const DETAIL_MS = 60e3;    // around a line in a copied link

let state = url.read();
let run = null;            // {abort, range, cursor, more, answered} of the search on show
let older = false;         // a question for older lines is under way
let known = null;          // the list of sources
let counted = 0;           // when the counts were asked for while following
let recount = 0;

const detail = new Detail({ filter: toggle, close: closeDetail, link });
const list = new List({
  choose: (line) => { if (detail.open) openLine(line); },
  open: openLine,
  older: loadOlder,
  bottom: () => { if (tail.running && tail.paused && !$('pause').dataset.by) resume(); },
});
const chart = new Chart((since, until) => change({ range: 'custom', since: new Date(since).toISOString(), until: new Date(until).toISOString(), tail: false }));
const facets = new Facets({ toggle, more: (field) => { if (run) countField(field, run); } });
const tail = new Tail({
  ready: (first) => { if (first) search(run); else hint(''); },
  known: (id) => list.has(id),
  lines: arrived,
  waiting: showWaiting,
  problem: (message) => hint(message, 'error'),
  refused: (message) => { change({ tail: false }, true); hint(message, 'error'); },
});
new Checks();
new Sources((sources) => { known = sources; showEmpty(); });

// change takes new values of the state into the URL and asks again.
function change(values, replace = false) {
  state = { ...state, line: '', ...values };
  if (state.tail && state.range === 'custom') state = { ...state, range: '15m', since: '', until: '' };
  url.write(state, replace);
  start();
}

function toggle(field, value, not) {
  const name = not ? 'not' : 'is', other = not ? 'is' : 'not';
  const without = (l) => l.filter(([f, v]) => f !== field || v !== value);
  const had = state[name].some(([f, v]) => f === field && v === value);
  change({ [name]: had ? without(state[name]) : [...state[name], [field, value]], [other]: without(state[other]) });
}

// start shows what the state says. Answers of an earlier start are dropped.
function start() {
  run?.abort.abort();
  tail.stop();
  closeDetail();
  run = { abort: new AbortController(), range: url.bounds(state), cursor: '', more: false };
  showControls();
  if (state.tail) tail.start(url.conditions(state));
  else search(run);
}

async function search(r) {
  show($('progress'), true);
  try {
    if (state.tail) r.range = url.bounds(state);
    const res = await ask('search', [...url.conditions(state), ...url.times(r.range), ['newest', 'true'], ['limit', PAGE]], r.abort.signal);
    if (r !== run) return;
    Object.assign(r, { cursor: res.cursor, more: res.more, answered: true });
    hint('');
    list.set(res.lines, marker(state.q));
    showOlder(r.more, false);
    showCount();
    showEmpty();
    if (state.line && list.find(state.line) >= 0) {
      list.choose(list.find(state.line));
      openLine(list.lines[list.chosen]);
    }
    await counts(r);
  } catch (err) {
    if (err.name !== 'AbortError' && r === run) failed(err);
  } finally {
    if (r === run) show($('progress'), false);
  }
}

function failed(err) {
  hint(err.message, 'error', err.position);
  if (err.position !== undefined) $('q').setAttribute('aria-invalid', 'true');
}

// counts asks for the chart and the filters. Of "all time" the oldest line
// says where the chart begins.
async function counts(r) {
  counted = Date.now();
  const range = { ...r.range };
  if (range.since === null) {
    const first = await ask('search', [...url.conditions(state), ['limit', 1]], r.abort.signal);
    range.since = first.lines.length ? Date.parse(first.lines[0].time) : range.until - 900e3;
  }
  const step = stepFor(range);
  const histogram = (conditions) => ask('histogram', [...conditions, ...url.times(range), ['step', `${step}s`]], r.abort.signal);
  // Filters on the level that are already there leave fewer levels to count.
  const chosen = (l) => l.filter(([f]) => f === 'log.level').map(([, v]) => v);
  const severe = (...levels) => {
    const is = chosen(state.is), not = chosen(state.not);
    const left = levels.filter((l) => (!is.length || is.includes(l)) && !not.includes(l));
    return left.length ? histogram([...url.conditions(state, 'log.level'), ...left.map((l) => ['is', `log.level:${l}`])]) : { buckets: [] };
  };
  const [all, warn, error] = await Promise.all([
    histogram(url.conditions(state)), severe('warn', 'error', 'fatal'), severe('error', 'fatal'),
    ...FIELDS.map(([field]) => countField(field, r)),
  ]);
  if (r !== run) return;
  chart.set(all.buckets, warn.buckets, error.buckets, step);
  showCount();
}

async function countField(field, r) {
  try {
    const res = await ask('values', [...url.conditions(state, field), ...url.times(r.range), ['field', field], ['n', facets.wanted(field)]], r.abort.signal);
    if (r === run) facets.set(field, res.values, state);
  } catch (err) {
    if (err.name !== 'AbortError' && r === run) failed(err);
  }
}

async function loadOlder() {
  const r = run;
  if (older || !r?.more || list.lines.length >= MOST) return;
  older = true;
  try {
    const res = await ask('search', [...url.conditions(state), ...url.times(r.range), ['newest', 'true'], ['limit', PAGE], ['after', r.cursor]], r.abort.signal);
    if (r !== run) return;
    Object.assign(r, { cursor: res.cursor, more: res.more });
    list.prepend(res.lines);
    showOlder(r.more, list.lines.length >= MOST);
    showCount();
  } catch (err) {
    if (err.name !== 'AbortError' && r === run) failed(err);
  } finally {
    older = false;
  }
}

// --- following ---

function arrived(lines) {
  if (!list.atEnd() && list.lines.length) {
    // Somebody reads further up: what is before his eyes does not move.
    tail.pause();
    tail.waiting = tail.waiting.concat(lines);
    showWaiting();
    return;
  }
  list.append(lines);
  showCount();
  showEmpty();
  clearTimeout(recount);
  recount = setTimeout(refresh, Math.max(0, REFRESH - (Date.now() - counted)));
}

function refresh() {
  if (!tail.running || document.hidden) return;
  const r = run;
  r.range = url.bounds(state);
  counts(r).catch((err) => { if (err.name !== 'AbortError' && r === run) failed(err); });
}

function showWaiting() {
  const n = tail.waiting.length;
  const pill = $('pill');
  show(pill, tail.running && tail.paused);
  pill.textContent = n ? `↓ ${plural(n, 'new line')}${tail.dropped ? `, ${number(tail.dropped)} older ones left out` : ''}` : '↓ Go on following';
  $('pause').textContent = tail.paused ? 'Go on' : 'Pause';
}

function pause() {
  if (!tail.running) return;
  if (tail.paused) {
    resume();
    return;
  }
  tail.pause();
  $('pause').dataset.by = 'hand'; // scrolling to the end does not undo it
  showWaiting();
}

function resume() {
  delete $('pause').dataset.by;
  const lines = tail.resume();
  list.toEnd();
  if (lines.length) arrived(lines);
  showWaiting();
}

// --- what is on show besides the lines ---

function showControls() {
  document.title = state.q ? `${state.q} · Mesoscope` : 'Mesoscope';
  if (document.activeElement !== $('q') || $('q').value !== state.q) $('q').value = state.q;
  $('q').removeAttribute('aria-invalid');
  $('range').value = state.range;
  if (!$('range').value) $('range').value = '15m';
  show($('custom'), state.range === 'custom');
  if (state.range === 'custom') {
    $('from').value = input(state.since);
    $('to').value = state.until ? input(state.until) : '';
  }
  $('tail').setAttribute('aria-pressed', state.tail);
  show($('pause'), state.tail);
  delete $('pause').dataset.by;
  showWaiting();
  showChips(state, toggle);
  for (const [field] of FIELDS) facets.draw(field, state);
}

const input = (ts) => `${day(ts)}T${clock(ts, 0)}`;

// The line below the search box has its place at all times: nothing jumps
// when an error comes or goes.
function hint(message, kind = '', position) {
  const box = $('hint');
  box.className = `hint ${kind}`;
  box.replaceChildren(message);
  if (position !== undefined) {
    const q = new TextDecoder().decode(new TextEncoder().encode(state.q).slice(0, position)); // position counts bytes
    box.append(' ', el('code', {}, q.slice(-24), el('span', { class: 'here' }, state.q.slice(q.length, q.length + 1) || '␣'), state.q.slice(q.length + 1, q.length + 12)));
  }
}

function showCount() {
  const loaded = list.lines.length, total = chart.total;
  if (state.tail) $('count').textContent = `${plural(loaded, 'line')} on show`;
  else if (!run?.more) $('count').textContent = plural(loaded, 'line');
  else $('count').textContent = total > loaded ? `Newest ${number(loaded)} of ${plural(total, 'line')}` : `Newest ${plural(loaded, 'line')}`;
}

function showEmpty() {
  const box = $('empty');
  const empty = list.lines.length === 0 && Boolean(run?.answered);
  show(box, empty);
  if (!empty) return;
  const filtered = state.q || state.is.length || state.not.length;
  if (known && !known.length && !filtered) {
    box.replaceChildren(
      el('h2', {}, 'Nothing to follow yet'),
      el('p', {}, 'No container was found on this machine. They appear here as soon as they start; Mesoscope looks again every few seconds.'),
      el('p', {}, 'To see it at work without Docker, stop this one and start the sample workload:'),
      el('pre', {}, 'mesoscope standalone --demo'),
      state.range === 'all' ? '' : el('p', {}, el('button', { type: 'button', onclick: () => change({ range: 'all', since: '', until: '' }) }, 'Search older lines')));
    return;
  }
  if (state.tail) {
    box.replaceChildren(el('h2', {}, 'Waiting for lines'), el('p', {}, filtered ? 'New lines that match appear here as they are written.' : 'New lines appear here as they are written.'));
    return;
  }
  const actions = el('p', {});
  if (state.range !== 'all') {
    const wider = { '5m': '1h', '15m': '1h', '1h': '24h', '6h': '24h', '24h': '7d', '7d': '30d' }[state.range] || 'all';
    const name = $('range').querySelector(`option[value="${wider}"]`).textContent.toLowerCase();
    actions.append(el('button', { type: 'button', onclick: () => change({ range: wider, since: '', until: '' }) }, `Search ${wider === 'all' ? 'all time' : `the ${name}`}`), ' ');
  }
  if (state.is.length || state.not.length) actions.append(el('button', { type: 'button', onclick: () => change({ is: [], not: [] }) }, 'Clear the filters'));
  box.replaceChildren(el('h2', {}, 'No lines'), el('p', {}, filtered ? 'Nothing in this time range matches.' : 'There is nothing in this time range.'), actions);
}

// --- one line ---

function openLine(line) {
  if (!line) return;
  detail.show(line, list.mark);
  state.line = line.id;
  url.write(state, true);
}

function closeDetail() {
  if (!detail.open) return false;
  const inside = $('detail').contains(document.activeElement);
  detail.close();
  if (inside) focusList();
  state.line = '';
  url.write(state, true);
  return true;
}

// link leads to the line also when "the last 15 minutes" are others.
function link(line) {
  const t = Date.parse(line.time);
  const p = new URLSearchParams([
    ['since', new Date(t - DETAIL_MS).toISOString()], ['until', new Date(t + DETAIL_MS).toISOString()],
    ...['container.id', 'stream'].filter((f) => get(line.doc, f) !== undefined).map((f) => ['is', `${f}:${get(line.doc, f)}`]),
    ['line', line.id],
  ]);
  return `${location.origin}${location.pathname}?${p}`;
}

function focusList() {
  $('lines').focus({ preventScroll: true });
}

// --- controls ---

$('search').addEventListener('submit', (e) => {
  e.preventDefault();
  change({ q: $('q').value.trim() });
  focusList();
});
$('range').addEventListener('change', () => {
  const range = $('range').value;
  if (range !== 'custom') {
    change({ range, since: '', until: '' });
    return;
  }
  const { since, until } = url.bounds(state);
  show($('custom'), true);
  $('from').value = input(new Date(since ?? until - 86400e3).toISOString());
  $('to').value = input(new Date(until).toISOString());
  $('from').focus();
});
$('custom').addEventListener('submit', (e) => {
  e.preventDefault();
  const since = new Date($('from').value), until = $('to').value ? new Date($('to').value) : null;
  if (until && until <= since) {
    hint('The end of the time range is not after its begin.', 'error');
    return;
  }
  change({ range: 'custom', since: since.toISOString(), until: until ? until.toISOString() : '', tail: false });
});
$('zone').textContent = `${Intl.DateTimeFormat().resolvedOptions().timeZone} (UTC${zone()})`;
$('tail').addEventListener('click', () => change({ tail: !state.tail }));
$('pause').addEventListener('click', pause);
$('pill').addEventListener('click', resume);
$('older').addEventListener('click', loadOlder);
$('clear').addEventListener('click', () => change({ is: [], not: [] }));
$('facets-open').addEventListener('click', () => {
  const open = $('columns').classList.toggle('with-facets');
  $('facets-open').setAttribute('aria-expanded', open);
});
$('help-open').addEventListener('click', () => $('help').showModal());
$('theme').addEventListener('click', () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  try { localStorage.setItem('theme', root.dataset.theme); } catch { /* for this page only, then */ }
  chart.draw();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => chart.draw());
addEventListener('popstate', () => { state = url.read(); start(); });

keys({
  list, focusList, closeDetail,
  open: () => openLine(list.lines[list.chosen < 0 ? (list.move(1), list.chosen) : list.chosen]),
  tail: () => change({ tail: !state.tail }),
  pause,
  help: () => $('help').showModal(),
  end: () => { if (tail.running && tail.paused) resume(); },
});

start();
