// Elements from data. Text only ever becomes a text node, so nothing that a step wrote is read as markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onsubmit", "oninput", "onchange", "onkeydown"];

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/** An element of a page. */
export function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Texts with their names, as pairs. */
export function named(pairs) {
  return el("dl", { class: "values" }, pairs.map(([name, text]) => [el("dt", {}, name), el("dd", {}, el("pre", {}, text))]));
}

/** An element of a picture. */
export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

const key = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null);

/** Makes the children of a place like these, and keeps what is alike: the focus, what is scrolled, what is typed. */
export function morph(place, fresh) {
  const wanted = fresh.flat(Infinity).filter((child) => child instanceof Node);
  const known = new Map();
  for (const child of place.childNodes) if (key(child) !== null) known.set(key(child), child);
  let at = place.firstChild;
  for (const child of wanted) {
    const name = key(child);
    const candidate = name === null ? at : known.get(name);
    if (candidate && candidate.nodeName === child.nodeName && key(candidate) === name) {
      if (candidate === at) at = at.nextSibling;
      else place.insertBefore(candidate, at);
      known.delete(name);
      alike(candidate, child);
    } else {
      place.insertBefore(child, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(old, fresh) {
  if (old === fresh) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // What a person folds and unfolds stays so. A style is set by script: the policy of the page forbids it as an attribute.
  const isKept = (name) => name === "style" || (name === "open" && old.nodeName === "DETAILS");
  for (const { name } of [...old.attributes]) if (!isKept(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (!isKept(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style.cssText !== fresh.style.cssText) old.style.cssText = fresh.style.cssText;
  for (const handler of HANDLERS) if (old[handler] !== fresh[handler]) old[handler] = fresh[handler];
  // What looks after its own content is left alone.
  if (!old.hasAttribute("data-own")) morph(old, [...fresh.childNodes]);
}
