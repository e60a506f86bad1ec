// What is searched for lives in the URL and nowhere else, so that a link shows
// someone else the same lines and the browser's back button works.

// A line of this very moment belongs in, also from a host whose clock is ahead.
const AHEAD = 5e3;
const UNITS = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };

export function read() {
  const p = new URLSearchParams(location.search);
  const since = p.get('since') || '', until = p.get('until') || '';
  return {
    q: p.get('q') || '',
    range: since ? 'custom' : p.get('range') || '15m',
    since, until,
    is: p.getAll('is').map(cut),
    not: p.getAll('not').map(cut),
    tail: p.get('tail') === '1',
    line: p.get('line') || '',
  };
}

export function write(state, replace = false) {
  const p = new URLSearchParams();
  if (state.q) p.set('q', state.q);
  if (state.range === 'custom') {
    p.set('since', state.since);
    if (state.until) p.set('until', state.until);
  } else if (state.range !== '15m') p.set('range', state.range);
  for (const [field, value] of state.is) p.append('is', `${field}:${value}`);
  for (const [field, value] of state.not) p.append('not', `${field}:${value}`);
  if (state.tail) p.set('tail', '1');
  if (state.line) p.set('line', state.line);
  const url = p.size ? `?${p}` : location.pathname;
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
}

function cut(s) {
  const i = s.indexOf(':');
  return i < 0 ? [s, ''] : [s.slice(0, i), s.slice(i + 1)];
}

// conditions are the query and the filters as the API wants them. without
// leaves out the filters of one field, to count what else could be chosen.
export function conditions(state, without) {
  const p = [];
  if (state.q.trim()) p.push(['q', state.q]);
  for (const name of ['is', 'not']) {
    for (const [field, value] of state[name]) {
      if (field !== without) p.push([name, `${field}:${value}`]);
    }
  }
  return p;
}

// bounds are the range in milliseconds; a begin of null is "all time".
export function bounds(state, now = Date.now() + AHEAD) {
  if (state.range === 'custom') {
    return { since: Date.parse(state.since), until: state.until ? Date.parse(state.until) : now };
  }
  if (state.range === 'all') return { since: null, until: now };
  return { since: now - (span(state.range) ?? UNITS.m * 15), until: now };
}

export function span(range) {
  const m = /^(\d+)([smhd])$/.exec(range);
  return m ? Number(m[1]) * UNITS[m[2]] : null;
}

export function times({ since, until }) {
  const p = [];
  if (since !== null) p.push(['since', new Date(since).toISOString()]);
  p.push(['until', new Date(until).toISOString()]);
  return p;
}
