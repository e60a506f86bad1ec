// Times and hostile text.

const pad = (n, width = 2) => String(n).padStart(width, '0');

// Timestamps stay strings: a Date holds milliseconds, documents nanoseconds.
function fraction(ts, digits) {
  const m = /\.(\d+)/.exec(ts);
  return (m ? m[1] : '').padEnd(9, '0').slice(0, digits);
}

export function day(ts) {
  const d = new Date(ts);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
}

export function clock(ts, digits = 3) {
  const d = new Date(ts);
  const hms = `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
  return digits ? `${hms}.${fraction(ts, digits)}` : hms;
}

export function zone(d = new Date()) {
  const m = -d.getTimezoneOffset();
  return `${m < 0 ? '-' : '+'}${pad(Math.floor(Math.abs(m) / 60))}:${pad(Math.abs(m) % 60)}`;
}

export const local = (ts) => `${day(ts)} ${clock(ts, 9)} ${zone(new Date(ts))}`;

export function utc(ts) {
  const iso = new Date(ts).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}.${fraction(ts, 9)} UTC`;
}

export const number = (n) => n.toLocaleString('en');
export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (n < 1024) return `${unit === 'B' ? n : n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} TiB`;
}

// What must not act on the page or hide in it: C0 and C1 controls (an escape
// with its whole colour sequence), marks that turn the direction of text, and
// characters that nobody sees. Tabs stay; line feeds stay where multi is set.
const CONTROL = /\u001b\[[0-9;:?]*[A-Za-z]|[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function symbol(s) {
  const c = s.charCodeAt(0);
  if (c === 0x0a) return '⏎';
  // Caret notation; the Unicode pictures of controls are missing in many fonts.
  if (c < 0x20) return `^${String.fromCharCode(0x40 + c)}${s.slice(1)}`;
  if (c === 0x7f) return '^?';
  return `[U+${c.toString(16).toUpperCase().padStart(4, '0')}]`;
}

// visible turns text into nodes: controls as symbols, matches of mark (a RegExp
// with the g flag, or null) highlighted.
export function visible(text, { mark = null, multi = false } = {}) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (const m of text.matchAll(CONTROL)) {
    if (multi && m[0] === '\n') continue;
    plain(out, text.slice(from, m.index), mark);
    const s = document.createElement('span');
    s.className = 'ctl';
    s.textContent = symbol(m[0]);
    out.append(s);
    from = m.index + m[0].length;
  }
  plain(out, text.slice(from), mark);
  return out;
}

function plain(out, text, mark) {
  if (!text) return;
  if (!mark) {
    out.append(text);
    return;
  }
  let from = 0;
  for (const m of text.matchAll(mark)) {
    if (!m[0]) continue;
    out.append(text.slice(from, m.index));
    const e = document.createElement('mark');
    e.textContent = m[0];
    out.append(e);
    from = m.index + m[0].length;
  }
  out.append(text.slice(from));
}

// marker finds the words of a query that stand in messages: bare words and
// phrases, not the values of other fields, not what follows "not". It only
// chooses what is highlighted, so it need not understand every query.
export function marker(query) {
  const words = [];
  const terms = /(\bnot\s+)?(?:([^\s():"<>]+)\s*(:|[<>]=?)\s*)?(\([^()]*\)|"(?:\\.|[^"\\])*"|[^\s():"<>]+)/gi;
  for (const [, not, field, , value] of query.matchAll(terms)) {
    if (not || (field && field !== 'message')) continue;
    for (const [word] of value.matchAll(/"(?:\\.|[^"\\])*"|[^\s()"]+/g)) {
      if (/^(and|or|not)$/i.test(word)) continue;
      const parts = word.replace(/^"|"$/g, '').replace(/\\(.)/g, '$1').split('*').filter(Boolean);
      if (parts.length) words.push(parts.map((s) => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('\\S*'));
    }
  }
  return words.length ? new RegExp(words.slice(0, 50).join('|'), 'gi') : null;
}

// get reads a dotted name from nested objects, whose keys may hold dots.
export function get(doc, name) {
  if (doc === null || typeof doc !== 'object') return undefined;
  if (Object.hasOwn(doc, name)) return doc[name];
  for (let i = name.indexOf('.'); i > 0; i = name.indexOf('.', i + 1)) {
    const head = name.slice(0, i);
    if (Object.hasOwn(doc, head)) {
      const v = get(doc[head], name.slice(i + 1));
      if (v !== undefined) return v;
    }
  }
  return undefined;
}

export function text(v) {
  if (v === undefined || v === null) return '';
  return typeof v === 'object' ? JSON.stringify(v) : String(v);
}

// flatten gives [dotted name, value] of all leaves, sorted by name.
export function flatten(doc, prefix = '', out = []) {
  for (const [k, v] of Object.entries(doc)) {
    if (v !== null && typeof v === 'object' && !Array.isArray(v) && Object.keys(v).length) flatten(v, `${prefix}${k}.`, out);
    else out.push([prefix + k, v]);
  }
  if (!prefix) out.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  return out;
}
