// Who needs whom, and where each step stands.
import { el, svg } from "./dom.js";
import { mark } from "./mark.js";
import { toExecution } from "./route.js";

/** How large a graph is drawn, of each execution that was looked at. */
const zooms = new Map();
const SMALLEST = 0.1;

/** Of every box its status, and the address that it leads to. A box of a step that is a run of its own stands for a step of that run. */
function known(execution) {
  const found = new Map();
  for (const name of execution.order) {
    found.set(name, { status: execution.steps[name].status, to: toExecution(execution.execution_id, name) });
  }
  for (const nested of execution.nested) {
    for (const [step, status] of Object.entries(nested.steps)) {
      found.set(`${nested.path}.${step}`, { status, to: toExecution(nested.execution_id, step) });
    }
  }
  return found;
}

function box(placed, graph, steps, selected) {
  const { status, to } = steps.get(placed.name) ?? { status: "pending", to: null };
  const { box_width: width, box_height: height } = graph;
  const symbol = mark(status);
  symbol.setAttribute("x", "12");
  symbol.setAttribute("y", String(height / 2 - 8));
  const note = placed.is_step ? `${placed.note} · ${status}` : placed.note;
  const parts = [
    svg("rect", { width, height, rx: 6 }),
    placed.is_step ? symbol : null,
    svg("text", { class: "name", x: 36, y: height / 2 - 3 }, placed.name),
    " ",
    svg("text", { class: "note", x: 36, y: height / 2 + 13 }, note),
  ];
  const common = { class: `box is-${status}${placed.is_step ? "" : " is-joint"}${selected === placed.name ? " is-selected" : ""}`, transform: `translate(${placed.x.toFixed(1)} ${placed.y.toFixed(1)})`, "data-key": placed.name };
  if (!to) return svg("g", common, parts);
  return svg("a", { ...common, href: to, "aria-current": selected === placed.name ? "true" : null }, parts);
}

/** The graph of an execution. */
export function graph(execution, selected, redraw) {
  const drawn = execution.graph;
  const room = document.querySelector(".graph-room")?.clientWidth ?? 900;
  const fit = Math.max(SMALLEST, Math.min(1, (room - 4) / drawn.width));
  const zoom = zooms.get(execution.execution_id) ?? Math.max(fit, 0.6);
  const set = (value) => {
    zooms.set(execution.execution_id, Math.min(2, Math.max(SMALLEST, value)));
    redraw();
  };
  const steps = known(execution);
  const picture = svg(
    "svg",
    { class: "graph", viewBox: `0 0 ${drawn.width} ${drawn.height}`, width: Math.round(drawn.width * zoom), height: Math.round(drawn.height * zoom), role: "group", "aria-label": "Steps and what they need" },
    // All of them in one: a graph may have forty times as many arrows as boxes.
    svg("g", { class: "arrows", "aria-hidden": "true" }, svg("path", { d: drawn.arrows.map(([, , d]) => d).join("") })),
    drawn.boxes.map((placed) => box(placed, drawn, steps, selected)),
  );
  const button = (label, words, onclick) => el("button", { type: "button", class: "quiet small", "aria-label": words, title: words, onclick }, label);
  return el(
    "section",
    { class: "card", "aria-labelledby": "graph-title", "data-key": "graph" },
    el(
      "header",
      { class: "card-head" },
      el("h2", { id: "graph-title" }, "Graph"),
      el("div", { class: "tools" }, button("−", "Smaller", () => set(zoom / 1.25)), button("Fit", "Fit the width", () => set(fit)), button("+", "Larger", () => set(zoom * 1.25))),
    ),
    el("div", { class: "graph-room", tabindex: "0", role: "region", "aria-label": "Graph, which scrolls" }, picture),
  );
}
