// Where something stands: a mark of a shape of its own, and the word for it. Colour only repeats what both say.
import { el, svg } from "./dom.js";

const SHAPES = {
  completed: "M4.6 8.3 7 10.6 11.4 5.8",
  failed: "M5.5 5.5 10.5 10.5M10.5 5.5 5.5 10.5",
  running: "M8 3.2A4.8 4.8 0 0 1 12.8 8",
  waiting: "M8 4.8V8L10.4 9.5",
  paused: "M6.3 5.5V10.5M9.7 5.5V10.5",
  pending: "",
  skipped: "M4.8 8H11.2M8.8 5.6 11.2 8 8.8 10.4",
  blocked: "M4.8 8H11.2",
  cancelled: "M5 11 11 5",
  left_behind: "M8 4.5V8.8M8 11.1V11.3",
};

/** The mark alone, for where the word stands beside it. */
export function mark(status) {
  const known = status in SHAPES ? status : "pending";
  return svg(
    "svg",
    { class: `mark is-${known}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    svg("circle", { cx: 8, cy: 8, r: 7 }),
    svg("path", { d: SHAPES[known] || "M0 0" }),
  );
}

/** The word for where an execution stands. */
export function standing(execution) {
  return execution.left_behind && execution.status === "running" ? "left_behind" : execution.status;
}

/** The mark and the word. */
export function badge(status, words) {
  const word = words ?? String(status).replace("_", " ");
  return el("span", { class: `badge is-${status}` }, mark(status), el("span", {}, word));
}
