// What an agent said and did.
import { el } from "./dom.js";
import { follow } from "./follow.js";
import { path } from "./source.js";
import { counted, dollars, elapsed, plain, valued } from "./words.js";

const LOOK = 1000;
/** Longer texts are shown folded. */
const SHORT = 600;
const SUBJECTS = ["file_path", "path", "pattern", "command", "description", "url"];

function text(words, label) {
  const shown = plain(words);
  if (shown.length <= SHORT) return el("pre", { class: "said" }, shown);
  return el("details", {}, el("summary", {}, label ?? `${counted(shown.split("\n").length, "line")}`), el("pre", { class: "said" }, shown));
}

function entry(kind, title, ...parts) {
  return el("li", { class: `entry kind-${kind}` }, el("p", { class: "entry-title" }, title), ...parts);
}

/** A tool's result is a text, or a list of parts. */
function resultText(content) {
  if (Array.isArray(content)) return content.map((part) => part?.text ?? `(${part?.type ?? "part"})`).join("\n");
  return content === undefined || content === null ? "" : valued(content);
}

function ofAssistant(part) {
  if (part.type === "text") return entry("words", "Agent", text(part.text ?? ""));
  if (part.type === "thinking") return entry("thinking", "Thinking", text(part.thinking ?? ""));
  if (part.type !== "tool_use") return null;
  const input = part.input ?? {};
  const subject = SUBJECTS.map((name) => input[name]).find((value) => typeof value === "string") ?? "";
  const title = [el("strong", {}, plain(part.name ?? "tool")), " ", el("code", {}, plain(subject).slice(0, 200))];
  return entry("tool", title, el("details", {}, el("summary", {}, "Input"), el("pre", { class: "said" }, valued(input))));
}

function ofUser(part) {
  if (part.type !== "tool_result") return null;
  const said = resultText(part.content);
  return part.is_error ? entry("error", "The tool failed", text(said)) : entry("result", "Result", text(said));
}

function ended(event) {
  const denials = Array.isArray(event.permission_denials) ? event.permission_denials : [];
  const figures = [
    event.subtype ?? "ended",
    typeof event.num_turns === "number" ? counted(event.num_turns, "turn") : "",
    dollars(event.total_cost_usd),
    elapsed(event.duration_ms),
  ];
  return [
    ...denials.map((denial) => entry("denied", [el("strong", {}, "Denied: "), plain(denial.tool_name ?? "a tool")], el("pre", { class: "said" }, valued(denial.tool_input ?? {})))),
    entry("end", ["Session ended: ", figures.filter(Boolean).join(", ")]),
  ];
}

/** What an event shows; most show nothing. */
function entries(event) {
  const parts = Array.isArray(event?.message?.content) ? event.message.content : [];
  if (event?.type === "assistant") return parts.map(ofAssistant);
  if (event?.type === "user") return parts.map(ofUser);
  if (event?.type === "result") return ended(event);
  if (event?.type === "system" && event.subtype === "init") return [entry("begin", ["Session began", event.model ? ` with ${plain(event.model)}` : ""])];
  return [];
}

/** A transcript that looks after itself until it is stopped. */
export function transcript(source, id, step, attempt, goesOn) {
  const list = el("ol", { class: "transcript" });
  const note = el("p", { class: "soft" });
  const room = el("div", { class: "transcript-room", "data-own": true, "data-key": `transcript ${id} ${step} ${attempt?.epoch}.${attempt?.attempt}` }, note, list);
  let offset;
  const ask = async () => {
    const answer = await source.get(path(id, step, "transcript"), { ...attempt, offset });
    list.append(...answer.entries.flatMap(entries).filter(Boolean));
    offset = answer.offset;
    note.textContent = answer.cut ? "The end is left out." : list.childElementCount === 0 ? "No agent has said anything." : "";
    return answer.more;
  };
  return { node: room, stop: follow(source, LOOK, goesOn, ask, (error) => (note.textContent = error.message)) };
}
