// Times as bars: every attempt, with its phases where they are known.
import { el, svg } from "./dom.js";
import { between, elapsed, moment } from "./words.js";

const WIDTH = 1000;

/** From when to when a timeline goes. */
export function scale(execution) {
  const begin = Date.parse(execution.created_at);
  const open = execution.status === "running" && !execution.left_behind;
  const end = execution.ended_at ? Date.parse(execution.ended_at) : open ? Date.now() : Date.parse(execution.updated_at);
  return { begin, length: Math.max(1, end - begin), end };
}

const place = (at, { begin, length }) => Math.min(WIDTH, Math.max(0, ((at - begin) / length) * WIDTH));

/** Some round times, for the head of a timeline. */
export function axis({ length }) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400].map((seconds) => seconds * 1000);
  const step = length < 2000 ? length / 4 : steps.find((step) => length / step <= 5) ?? length / 4;
  const ticks = [];
  for (let at = 0; at < length * 0.96; at += step) ticks.push(at);
  const tick = (at) => el("span", { class: "tick", "data-at": ((at / length) * 100).toFixed(2) }, elapsed(at));
  const axis = el("div", { class: "axis", "aria-hidden": "true" }, ticks.map(tick));
  // The policy of the page forbids styles in attributes, and allows them by script.
  for (const node of axis.children) node.style.insetInlineStart = `${node.getAttribute("data-at")}%`;
  return axis;
}

/** In words what a bar shows. */
export function spanWords(span) {
  const what = { attempt: `attempt ${span.attempt}`, children: "children", cached: "kept result", wait: "waited", inline: "done at once" }[span.kind];
  const phases = [["start", span.start_ms], ["process", span.process_ms], ["capture", span.capture_ms]];
  const told = phases.filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${elapsed(ms)}`);
  const time = span.kind === "cached" || span.kind === "inline" ? "" : elapsed(between(span.from, span.to));
  return [what, span.outcome ?? "goes on", time, ...told].filter(Boolean).join(", ");
}

/** The bars of one step. */
export function bars(spans, frame) {
  const drawn = spans.map((span) => {
    const from = place(Date.parse(span.from), frame);
    const to = place(span.to ? Date.parse(span.to) : frame.end, frame);
    const state = span.outcome ?? (span.kind === "wait" ? "waiting" : "running");
    const width = Math.max(3, to - from);
    const left = Math.min(from, WIDTH - width);
    const start = Math.min(width, ((span.start_ms ?? 0) / frame.length) * WIDTH);
    return svg(
      "g",
      { class: `span is-${state} kind-${span.kind}` },
      svg("title", {}, `${spanWords(span)} (${moment(span.from)})`),
      svg("rect", { class: "whole", x: left.toFixed(1), y: 3, width: width.toFixed(1), height: 10 }),
      start > 1 ? svg("rect", { class: "phase", x: left.toFixed(1), y: 3, width: start.toFixed(1), height: 10 }) : null,
    );
  });
  return svg("svg", { class: "bars", viewBox: `0 0 ${WIDTH} 16`, preserveAspectRatio: "none", "aria-hidden": "true" }, drawn);
}
