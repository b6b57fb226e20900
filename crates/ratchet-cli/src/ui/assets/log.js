// What an attempt's process wrote, as it comes.
import { el } from "./dom.js";
import { follow } from "./follow.js";
import { path } from "./source.js";
import { bytes, elapsed } from "./words.js";

const LOOK = 400;
/** More lines than this are not kept in the page: the oldest go. */
const LINES_MAX = 10000;

function line({ at, stream, text }) {
  const isError = stream === "stderr";
  return el(
    "div",
    { class: isError ? "line is-stderr" : "line" },
    el("span", { class: "at" }, elapsed(at)),
    el("span", { class: "stream" }, isError ? "err" : ""),
    el("span", { class: "text" }, text),
  );
}

/** A log that looks after itself until it is stopped. `attempt` is `{ epoch, attempt }`, or null for the newest. `goesOn` says whether more may come. */
export function log(source, id, step, attempt, goesOn) {
  const lines = el("div", { class: "lines" });
  const note = el("p", { class: "soft" });
  const room = el("div", { class: "log-room", tabindex: "0", role: "log", "aria-live": "off", "aria-label": `Log of ${step}`, "data-own": true, "data-key": `log ${id} ${step} ${attempt?.epoch}.${attempt?.attempt}` }, note, lines);
  const state = { offset: undefined, attempts: [], dropped: 0, from: 0, shown: null };

  const take = (answer) => {
    const isNewer = state.shown && (answer.epoch !== state.shown.epoch || answer.attempt !== state.shown.attempt);
    state.shown = { epoch: answer.epoch, attempt: answer.attempt };
    state.attempts = answer.attempts;
    if (isNewer) {
      // The attempt that is followed ended, and another began: its log begins anew.
      lines.replaceChildren();
      Object.assign(state, { offset: undefined, dropped: 0 });
      return true;
    }
    if (state.offset === undefined) state.from = answer.from;
    const follows = room.scrollTop + room.clientHeight >= room.scrollHeight - 30;
    lines.append(...answer.entries.map(line));
    while (lines.childElementCount > LINES_MAX) {
      lines.firstElementChild.remove();
      state.dropped += 1;
    }
    state.offset = answer.offset;
    const left = [state.from > 0 ? `the first ${bytes(state.from)}` : "", state.dropped > 0 ? `${state.dropped} lines` : "", answer.cut ? "the end" : ""];
    const told = left.filter(Boolean).join(" and ");
    note.textContent = told ? `${told} left out: \`ratchet logs ${id} ${step}\` shows all` : lines.childElementCount === 0 ? (goesOn() ? "Nothing yet." : "Nothing was written.") : "";
    if (follows && goesOn()) room.scrollTop = room.scrollHeight;
    return answer.more;
  };

  const ask = async () => take(await source.get(path(id, step, "log"), { ...attempt, offset: state.offset }));
  return { node: room, stop: follow(source, LOOK, goesOn, ask, (error) => (note.textContent = error.message)) };
}
