// What a person does: the server runs the command for it, and the page shows the command and what came of it.
import { el } from "./dom.js";
import { path } from "./source.js";
import { plain, reason } from "./words.js";

const LOOK = 1000;
/** The newest action of each execution. */
const newest = new Map();

/** Starts a command about an execution, and follows it to its end. */
export async function act(source, id, verb, body, redraw) {
  const shown = { command: `ratchet ${verb} ${id}`, running: true, exit_code: null, said: "" };
  newest.set(id, shown);
  redraw();
  try {
    Object.assign(shown, await source.post(path(id, null, `actions/${verb}`), body));
    redraw();
    while (shown.running && newest.get(id) === shown) {
      await new Promise((done) => setTimeout(done, LOOK));
      Object.assign(shown, await source.get(`actions/${shown.action}`));
      redraw();
    }
  } catch (error) {
    Object.assign(shown, { running: false, exit_code: -1, said: reason(error, "\n") });
    redraw();
  }
}

function told(action) {
  if (action.running) return "is under way";
  // What the exit codes of the command say; `ratchet --help` lists them.
  const words = { 0: "is done", 1: "ended, and the execution failed", 2: "was refused", 3: "is done; the execution waits for a person", 4: "is done" };
  return words[action.exit_code] ?? `ended with exit code ${action.exit_code}`;
}

/** What came of the newest action. */
export function actionNotice(id, redraw) {
  const action = newest.get(id);
  if (!action) return null;
  const isRefused = action.exit_code === 2 || action.exit_code === -1;
  const close = () => {
    newest.delete(id);
    redraw();
  };
  return el(
    "section",
    { class: isRefused ? "notice is-failed" : "notice", role: isRefused ? "alert" : "status", "data-key": "action", "data-action": action.running ? "running" : String(action.exit_code) },
    el("p", {}, el("code", {}, action.command), " ", told(action)),
    !action.running && action.said ? el("pre", { class: "said", tabindex: "0", "aria-label": "What the command said" }, plain(action.said).trim()) : null,
    action.running ? null : el("button", { type: "button", class: "quiet", onclick: close }, "Close"),
  );
}
