// Small words for building elements. Text goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

// el('button', {class: 'quiet', onclick: f, 'aria-label': 'Close'}, 'text', child)
export function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? '' : value);
  }
  e.append(...children);
  return e;
}

export function show(e, visible) {
  e.hidden = !visible;
}

// Colours for the chart come from the style sheet, so that they follow the theme.
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
