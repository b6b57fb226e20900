// The page as a whole: what is shown follows the address, and keys move in it.
import { el, morph } from "./dom.js";
import { executionPage } from "./execution.js";
import { listPage } from "./list.js";
import { route, toExecution } from "./route.js";
import { inlined, live } from "./source.js";

const data = document.getElementById("data");
const source = data ? inlined(JSON.parse(data.textContent)) : live();

const main = el("main", { id: "main", tabindex: "-1" });
const state = el("span", { class: "connection", role: "status" });
const said = el("p", { class: "hidden", "aria-live": "polite" });
const skip = el("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), main.focus()) }, "Skip to the content");
const brand = el(source.isLive ? "a" : "span", { class: "brand", href: source.isLive ? "#/" : null }, "Ratchet");
document.body.append(skip, el("header", { class: "bar" }, brand, state), main, said);

let page = null;
let shown = null;
let isQueued = false;

/** Shows what is known now. However often it is asked for, it is done once before the next picture. */
function draw(isHeard) {
  if (typeof isHeard === "boolean") {
    state.textContent = isHeard ? "Live" : "Not connected";
    state.className = isHeard ? "connection is-live" : "connection is-lost";
  }
  if (isQueued || !page) return;
  isQueued = true;
  queueMicrotask(() => {
    isQueued = false;
    if (!page) return;
    morph(main, page.view());
    document.title = `${page.title()} · Ratchet`;
    if (said.textContent !== page.said()) said.textContent = page.said();
    if (shown.focus && main.querySelector(shown.focus)) {
      main.querySelector(shown.focus).focus();
      shown.focus = null;
    }
  });
}

function go() {
  let wanted = route(location.hash);
  if (!source.isLive && wanted.page !== "execution") wanted = { page: "execution", id: source.execution, step: null, tab: "overview" };
  const name = wanted.page === "list" ? "list" : wanted.id;
  const before = shown;
  if (shown?.name !== name) {
    page?.stop();
    page = wanted.page === "list" ? listPage(source, draw) : executionPage(source, wanted.id, draw);
    shown = { name };
    main.scrollTo?.(0, 0);
  }
  shown.wanted = wanted;
  if (wanted.page === "list") {
    page.show(wanted.query);
    return;
  }
  page.show(wanted.step, wanted.tab);
  // Who opens a step reads it next, and who closes it is where they were.
  const left = before?.name === name ? before.wanted?.step : null;
  if (wanted.step && wanted.step !== shown.step) shown.focus = ".pane";
  if (!wanted.step && shown.step) shown.focus = `tr[data-key="${CSS.escape(shown.step)}"] [data-row]`;
  shown.step = wanted.step ?? null;
  if (left !== undefined) draw();
}

const MOVES = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

/** Moves along the rows of a list. */
function move(by) {
  const rows = [...main.querySelectorAll("[data-row]")];
  const selected = rows.indexOf(document.activeElement);
  const current = selected >= 0 ? selected : rows.findIndex((row) => row.getAttribute("aria-current") === "true");
  const next = rows[current < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, current + by))];
  next?.focus();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const at = document.activeElement;
  if (event.key === "Escape" && shown?.wanted.page === "execution" && shown.wanted.step) {
    location.hash = toExecution(shown.wanted.id);
    return;
  }
  if (at?.matches("input, select, textarea")) return;
  // What scrolls keeps its arrows.
  if (event.key.startsWith("Arrow") && at?.closest(".pane, .graph-room")) return;
  if (event.key in MOVES) {
    event.preventDefault();
    move(MOVES[event.key]);
  } else if (event.key === "/") {
    const search = document.getElementById("text");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});
addEventListener("hashchange", go);
go();
