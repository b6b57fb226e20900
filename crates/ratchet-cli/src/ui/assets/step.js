// One step: what it says, how it stands, and everything that is kept of it.
import { act } from "./action.js";
import { differenceView } from "./difference.js";
import { el, named } from "./dom.js";
import { keyView } from "./key.js";
import { log } from "./log.js";
import { badge } from "./mark.js";
import { toExecution } from "./route.js";
import { path } from "./source.js";
import { bars, spanWords } from "./timeline.js";
import { transcript } from "./transcript.js";
import { between, counted, dollars, elapsed, moment, plain, reason, valued } from "./words.js";

const TABS = [["overview", "Overview"], ["log", "Log"], ["transcript", "Transcript"], ["key", "Cache"], ["diff", "Files"]];

/** The tabs that say something of a step. */
function tabs(told) {
  const type = told.view.type;
  const runs = ["shell", "exec", "claude_code"].includes(type);
  const wanted = { overview: true, log: runs, transcript: type === "claude_code", key: runs, diff: runs };
  return TABS.filter(([name]) => wanted[name]);
}

function fact(name, value) {
  return value === null || value === undefined || value === "" ? null : el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function facts(told) {
  const view = told.view;
  return el(
    "dl",
    { class: "facts" },
    fact("Type", view.type),
    fact("Took", view.started_at ? elapsed(between(view.started_at, view.completed_at)) : ""),
    fact("Process", view.process_ms ? elapsed(view.process_ms) : ""),
    fact("Attempts", view.attempts || ""),
    fact("Exit code", view.exit_code),
    fact("Cost", view.cost_usd ? dollars(view.cost_usd) : ""),
    fact("Tokens", view.tokens ? view.tokens.toLocaleString() : ""),
    fact("Turns", view.turns),
    fact("Saved", view.saved ? [elapsed(view.saved.process_ms), view.saved.cost_usd ? dollars(view.saved.cost_usd) : ""].filter(Boolean).join(", ") : ""),
    fact("Result of", view.saved ? el("a", { href: toExecution(view.saved.from) }, view.saved.from) : ""),
    fact("Is the run", view.execution ? el("a", { href: toExecution(view.execution) }, view.execution) : ""),
    fact("Waits for", view.reason && view.status === "waiting" ? `${view.reason}${view.due ? `, until ${moment(view.due)}` : ""}` : ""),
    fact("Because", view.reason && view.status === "skipped" ? view.reason : ""),
    fact("Needs", told.needs.length > 0 ? told.needs.map((need, position) => [position > 0 ? ", " : "", el("a", { href: toExecution(told.execution_id, need) }, need)]) : ""),
  );
}

function failed(error) {
  if (!error) return null;
  return el(
    "section",
    { class: "notice is-failed" },
    el("p", {}, error.code ? el("code", {}, error.code) : null, " ", plain(error.message)),
    error.detail ? el("pre", { class: "said", tabindex: "0", "aria-label": "Last output" }, plain(error.detail)) : null,
    error.hint ? el("p", { class: "soft" }, plain(error.hint)) : null,
  );
}

/** The question of a step, with the way to answer it where there is one. */
function question(source, execution, told, redraw) {
  const asks = told.view.question;
  if (!asks) return null;
  const root = execution.root;
  const nested = root === told.execution_id ? null : execution.way;
  const name = nested ? `${nested}.${told.step}` : told.step;
  const answer = (verb) => (event) => {
    event.preventDefault();
    const comment = event.currentTarget.closest("form").elements.comment.value;
    act(source, root, verb, { step: name, comment }, redraw);
  };
  const form = el(
    "form",
    { class: "answer", onsubmit: (event) => event.preventDefault() },
    el("label", { for: "comment" }, "Comment"),
    el("textarea", { id: "comment", name: "comment", rows: 2 }),
    el("div", { class: "tools" }, el("button", { type: "button", class: "primary", onclick: answer("approve") }, "Approve"), el("button", { type: "button", class: "danger", onclick: answer("reject") }, "Reject")),
  );
  return el(
    "section",
    { class: "notice is-waiting", "aria-label": "Question", "data-key": "question" },
    el("p", { class: "question" }, plain(asks.message)),
    asks.approvers.length > 0 ? el("p", { class: "soft" }, `It asks ${asks.approvers.join(", ")}.`) : null,
    source.isLive ? form : null,
  );
}

function outputs(values) {
  const names = Object.keys(values ?? {});
  if (names.length === 0) return null;
  return el("section", { "data-key": "outputs" }, el("h3", {}, "Outputs"), named(names.map((name) => [name, valued(values[name])])));
}

function says(told) {
  if (told.says.length === 0) return null;
  return el("section", { "data-key": "says" }, el("h3", {}, "Definition"), named(told.says.map(({ name, text }) => [name, text])));
}

function attempts(told, frame) {
  if (told.timeline.length === 0) return null;
  const row = (span) => el("li", {}, bars([span], frame), el("span", {}, spanWords(span)), span.failure ? el("span", { class: "soft" }, plain(span.failure.message)) : null);
  return el("section", { "data-key": "attempts" }, el("h3", {}, "Attempts"), el("ul", { class: "attempts" }, told.timeline.map(row)));
}

function children(told) {
  if (!told.children) return null;
  const count = told.view.children?.count ?? told.children.length;
  const child = (one) =>
    el("li", {}, el("a", { href: one.execution ? toExecution(one.execution) : toExecution(told.execution_id, one.step) }, one.step), badge(one.status), el("span", { class: "soft" }, one.cached ? "kept result" : elapsed(between(one.started_at, one.completed_at))));
  return el(
    "section",
    { "data-key": "children" },
    el("h3", {}, counted(count, "child", "children")),
    el("ul", { class: "children" }, told.children.map(child)),
    count > told.children.length ? el("p", { class: "soft" }, `The first ${told.children.length} that began are listed.`) : null,
  );
}

function artifacts(source, execution, told) {
  const made = execution.artifacts.filter((artifact) => artifact.step === told.step);
  if (made.length === 0) return null;
  return el("section", { "data-key": "artifacts" }, el("h3", {}, "Artifacts"), artifactList(source, execution, made));
}

/** Files that are kept as versioned artifacts. */
export function artifactList(source, execution, made) {
  const item = (artifact) => {
    const address = source.download(path(execution.execution_id, null, `artifacts/${encodeURIComponent(artifact.digest)}`));
    const name = `${artifact.name}${artifact.version ? `@${artifact.version}` : ""}`;
    return el("li", {}, address ? el("a", { href: address, download: true }, name) : name, " ", el("span", { class: "soft" }, `${artifact.path} · ${artifact.size.toLocaleString()} bytes`));
  };
  return el("ul", { class: "plain" }, made.map(item));
}

/** The pane of a step, which loads what is looked at and looks after itself until it is stopped. */
export function stepPane(source, id, step, redraw) {
  const pane = { id, step, told: null, error: null, parts: {}, loading: new Set(), written: null };
  let goesOn = true;

  /** Loads the step again, and what of it was looked at before. */
  pane.load = async () => {
    try {
      pane.told = await source.get(path(id, step));
      pane.error = null;
      goesOn = source.isLive && ["running", "waiting", "pending"].includes(pane.told.view.status);
    } catch (error) {
      pane.error = error;
    }
    const seen = Object.keys(pane.parts);
    await Promise.all(seen.map((name) => loadPart(name)));
    redraw();
  };

  const loadPart = async (name) => {
    try {
      pane.parts[name] = { answer: await source.get(path(id, step, name)) };
    } catch (error) {
      pane.parts[name] = { error };
    }
  };

  /** A part that is loaded when it is looked at first. */
  const part = (name, view) => {
    const known = pane.parts[name];
    if (!known) {
      if (!pane.loading.has(name)) {
        pane.loading.add(name);
        loadPart(name).then(redraw);
      }
      return el("p", { class: "soft" }, "Loading…");
    }
    if (known.error) return el("p", { class: "soft" }, reason(known.error));
    return view(known.answer);
  };

  const writing = (name, make) => {
    if (pane.written?.name !== name) {
      pane.written?.stop();
      pane.written = { name, ...make(source, id, step, null, () => goesOn) };
    }
    return pane.written.node;
  };

  const content = (tab, execution, frame) => {
    const told = pane.told;
    if (tab !== "log" && tab !== "transcript") {
      pane.written?.stop();
      pane.written = null;
    }
    if (tab === "log") return writing("log", log);
    if (tab === "transcript") return writing("transcript", transcript);
    if (tab === "key") return part("why", keyView);
    if (tab === "diff") return part("diff", differenceView);
    return el(
      "div",
      { class: "stack" },
      told.description ? el("p", {}, told.description) : null,
      question(source, execution, told, redraw),
      failed(told.view.error),
      told.view.warning ? el("p", { class: "notice is-waiting" }, plain(told.view.warning)) : null,
      facts(told),
      attempts(told, frame),
      children(told),
      outputs(told.view.outputs),
      artifacts(source, execution, told),
      says(told),
    );
  };

  const tools = (execution) => {
    const settled = ["completed", "failed", "cancelled", "skipped", "blocked"].includes(pane.told.view.status);
    const ended = ["completed", "failed", "cancelled", "paused"].includes(execution.status);
    const isOwn = execution.order.includes(step) && execution.root === id;
    if (!source.isLive || !settled || !ended || !isOwn) return null;
    const again = () => act(source, id, "resume", { from: [step] }, redraw);
    return el("div", { class: "tools" }, el("button", { type: "button", onclick: again }, "Resume from here"));
  };

  pane.view = (execution, wanted, frame) => {
    const told = pane.told;
    const close = el("a", { class: "button quiet", href: toExecution(id), "aria-label": "Close the step", "data-close": true }, "Close");
    const head = el("header", { class: "pane-head" }, el("div", {}, el("h2", { id: "step-title" }, step), told?.title ? el("p", { class: "soft" }, told.title) : null), close);
    if (pane.error) return [head, el("p", { class: "notice is-failed", role: "alert" }, pane.error.message)];
    if (!told) return [head, el("p", { class: "soft" }, "Loading…")];
    const all = tabs(told);
    const tab = all.some(([name]) => name === wanted) ? wanted : "overview";
    const link = ([name, words]) => el("a", { href: toExecution(id, step, name), "aria-current": name === tab ? "page" : null }, words);
    return [
      head,
      el("div", { class: "pane-state" }, badge(told.view.status), told.view.cached ? badge("cached", "kept result") : null, told.view.continued ? el("span", { class: "soft" }, "let pass") : null, tools(execution)),
      all.length > 1 ? el("nav", { class: "tabs", "aria-label": "Parts of the step" }, all.map(link)) : null,
      el("div", { class: "pane-body", "data-key": `body ${tab}` }, content(tab, execution, frame)),
    ];
  };
  pane.stop = () => pane.written?.stop();
  return pane;
}
