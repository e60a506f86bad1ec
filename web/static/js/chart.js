// Counts over time. Errors and warnings are drawn over the whole, each series
// including the one below it, so that the bars look stacked.

import { $, color } from './dom.js';
import { clock, day, plural } from './text.js';

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000]; // s
const HEIGHT = 92;

// stepFor is a round step in seconds that gives 50 to 120 bars.
export function stepFor({ since, until }) {
  const s = (until - since) / 1000;
  return STEPS.find((step) => s / step <= 120) ?? Math.ceil(s / 120 / 2592000) * 2592000;
}

export class Chart {
  #plot = null;
  #data = null;
  #step = 0;

  // zoom(since, until) in ms is called when a span was dragged.
  constructor(zoom) {
    this.zoom = zoom;
    this.box = $('chart');
    new ResizeObserver(() => this.#plot?.setSize({ width: this.box.clientWidth, height: HEIGHT })).observe(this.box);
  }

  // set takes the buckets of all lines, of warnings and worse, of errors and worse.
  set(all, warn, error, step) {
    const x = all.map((b) => Date.parse(b.time) / 1000);
    this.#data = [x, ...[all, warn, error].map((s) => x.map((_, i) => s[i]?.count ?? 0))];
    const same = this.#plot && step === this.#step;
    this.#step = step;
    const sum = (s) => s.reduce((n, b) => n + b.count, 0);
    this.total = sum(all);
    this.box.setAttribute('aria-label', `Lines over time: ${plural(this.total, 'line')}, ${plural(sum(error), 'error')}`);
    if (same) this.#plot.setData(this.#data);
    else this.draw();
    this.#say(null);
  }

  // draw builds the plot again, also when the theme has changed.
  draw() {
    this.#plot?.destroy();
    this.#plot = null;
    if (!this.#data) return;
    const step = this.#step;
    const bars = uPlot.paths.bars({ size: [0.82, 40], align: 1 });
    const series = (name, label) => ({ label, paths: bars, fill: color(name), stroke: color(name), width: 0, points: { show: false } });
    const font = '11px system-ui, sans-serif';
    const axis = { stroke: color('--muted'), font, ticks: { show: false }, grid: { show: false } };
    this.#plot = new uPlot({
      width: this.box.clientWidth || 600, height: HEIGHT, padding: [8, 0, 0, 0],
      legend: { show: false },
      scales: { x: { time: true, range: (_, min, max) => [min, Math.max(max, min) + step] }, y: { range: (_, __, max) => [0, Math.max(1, max)] } },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      axes: [
        { ...axis, size: 20, gap: 3, space: 90, values: (u, splits) => splits.map((t) => (edge(u, t) ? '' : this.#label(t))) },
        { ...axis, size: 46, gap: 6, space: 28, grid: { show: true, stroke: color('--line'), width: 1 }, values: (_, s) => s.map((n) => (Number.isInteger(n) ? short(n) : '')) },
      ],
      series: [{}, series('--bar', 'lines'), series('--warn-bar', 'warnings'), series('--error-bar', 'errors')],
      hooks: {
        setCursor: [(u) => this.#say(u.cursor.idx)],
        setSelect: [(u) => {
          const { left, width } = u.select;
          if (width < 3) return;
          const since = u.posToVal(left, 'x'), until = u.posToVal(left + width, 'x');
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          const from = Math.floor(since / step) * step;
          this.zoom(from * 1000, Math.max(from + step, Math.ceil(until / step) * step) * 1000);
        }],
      },
    }, this.#data, this.box);
  }

  #label(seconds) {
    const ts = new Date(seconds * 1000).toISOString();
    const span = this.#data[0].at(-1) - this.#data[0][0];
    if (span > 3 * 86400) return day(ts).slice(5);
    if (span > 86400) return `${day(ts).slice(5)} ${clock(ts, 0).slice(0, 5)}`;
    return span > 900 ? clock(ts, 0).slice(0, 5) : clock(ts, 0);
  }

  #say(i) {
    const box = $('chart-text');
    if (i === null || i === undefined || !this.#data) {
      box.textContent = '';
      return;
    }
    const [x, all, warn, error] = this.#data.map((s) => s[i]);
    const ts = (t) => new Date(t * 1000).toISOString();
    const parts = [`${day(ts(x))} ${clock(ts(x), 0)} – ${clock(ts(x + this.#step), 0)}`, plural(all, 'line')];
    if (warn > error) parts.push(plural(warn - error, 'warning'));
    if (error) parts.push(plural(error, 'error'));
    box.textContent = parts.join(' · ');
  }
}

// A label so near to an end would be cut off or stand on the other axis.
function edge(u, t) {
  const x = u.valToPos(t, 'x');
  return x < 24 || x > u.bbox.width / devicePixelRatio - 30;
}

function short(n) {
  if (n >= 1e6) return `${n / 1e6}M`;
  return n >= 1e4 ? `${n / 1e3}k` : String(n);
}
