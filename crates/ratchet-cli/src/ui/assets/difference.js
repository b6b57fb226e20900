// Files that changed, as a unified diff.
import { el } from "./dom.js";
import { counted } from "./words.js";

/** Larger diffs are shown folded. */
const OPEN_MAX = 200;

function lineClass(line) {
  if (line.startsWith("@@")) return "is-place";
  if (line.startsWith("+++") || line.startsWith("---")) return "is-name";
  if (line.startsWith("+")) return "is-added";
  return line.startsWith("-") ? "is-removed" : "";
}

function change(one) {
  const lines = (one.diff ?? "").split("\n").filter((line, position, all) => line !== "" || position + 1 < all.length);
  const counts = one.lines_added === null || one.lines_added === undefined ? "" : `+${one.lines_added} −${one.lines_removed}`;
  const head = el("summary", {}, el("code", {}, one.path), " ", el("span", { class: "soft" }, [one.change, counts, one.is_applied ? "" : "not applied"].filter(Boolean).join(" · ")));
  if (lines.length === 0) return el("li", { class: "change" }, el("p", { class: "summary" }, ...head.childNodes));
  const body = el("pre", { class: "diff", tabindex: "0", "aria-label": `Changes of ${one.path}` }, lines.map((line) => el("span", { class: lineClass(line) }, `${line}\n`)));
  return el("li", { class: "change" }, el("details", { open: lines.length <= OPEN_MAX }, head, body));
}

/** What a run or a step changed. */
export function differenceView(answer) {
  const changes = answer.changes;
  if (changes.length === 0) return el("p", { class: "soft" }, "No file changed.");
  const sum = (name) => changes.reduce((sum, one) => sum + (one[name] ?? 0), 0);
  return el(
    "div",
    { class: "stack" },
    el("p", { class: "soft" }, `${counted(changes.length, "path")}, ${counted(sum("lines_added"), "line")} added, ${sum("lines_removed")} removed`),
    el("ul", { class: "changes" }, changes.map(change)),
  );
}
