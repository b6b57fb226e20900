// One execution: where it stands, who needs whom, when what happened, and a step of it beside that.
import { act, actionNotice } from "./action.js";
import { differenceView } from "./difference.js";
import { el, named } from "./dom.js";
import { graph } from "./graph.js";
import { badge, mark, standing } from "./mark.js";
import { toExecution, toList } from "./route.js";
import { path } from "./source.js";
import { artifactList, stepPane } from "./step.js";
import { axis, bars, scale } from "./timeline.js";
import { ago, between, counted, dollars, elapsed, moment, plain, reason, valued } from "./words.js";

/** While it goes on it is looked at this often even if nothing was committed: its process may have died. */
const LOOK = 5000;
/** What became of the files is known a moment after the end. */
const AFTER = 1500;

function figure(name, value, note) {
  return value ? el("div", { class: "figure" }, el("dt", {}, name), el("dd", {}, value), note ? el("dd", { class: "soft" }, note) : null) : null;
}

function figures(execution) {
  const saved = execution.saved;
  const steps = Object.values(execution.steps);
  const done = steps.filter((step) => ["completed", "skipped"].includes(step.status)).length;
  const budget = execution.budget?.limit?.max_cost_usd;
  return el(
    "dl",
    { class: "figures" },
    figure("Took", elapsed(between(execution.created_at, execution.ended_at ?? (execution.status === "running" ? null : execution.updated_at))), `began ${ago(execution.created_at)}`),
    figure("Steps", `${done} of ${steps.length}`, execution.failed_steps.length > 0 ? `${execution.failed_steps.length} failed` : "done or skipped"),
    figure("Agents", dollars(execution.cost_usd), [execution.tokens ? `${execution.tokens.toLocaleString()} tokens` : "no tokens", typeof budget === "number" ? `of ${dollars(budget)}` : ""].filter(Boolean).join(", ")),
    figure("Saved by kept results", saved.steps > 0 ? elapsed(saved.process_ms) : "nothing", saved.steps > 0 ? [counted(saved.steps, "step"), saved.cost_usd ? dollars(saved.cost_usd) : ""].filter(Boolean).join(", ") : ""),
    figure("Beside processes", elapsed(execution.overhead.engine_ms), "the engine, and waits"),
  );
}

function details(execution) {
  const row = (name, value) => (value ? el("div", {}, el("dt", {}, name), el("dd", {}, value)) : null);
  const files = { nothing: "none to apply", applied: `${counted(execution.application?.paths?.length ?? 0, "path")} applied`, not_applied: "not applied: the directory was changed meanwhile" };
  return el(
    "dl",
    { class: "facts" },
    row("Workflow", `${execution.workflow_name} ${execution.workflow_version}`),
    row("Began", moment(execution.created_at)),
    row("Ended", moment(execution.ended_at)),
    row("Directory", el("code", {}, execution.checkout?.url ?? execution.workspace)),
    row("Definition", el("code", {}, execution.origin)),
    row("Changes", files[execution.application?.outcome]),
    row("Trace", execution.trace_id ? el("code", {}, execution.trace_id) : ""),
    row("Epoch", execution.epoch > 1 ? String(execution.epoch) : ""),
    row("A part of", execution.root !== execution.execution_id ? el("a", { href: toExecution(execution.root) }, execution.root) : ""),
  );
}

function values(title, all, key) {
  const names = Object.keys(all ?? {});
  if (names.length === 0) return null;
  return el("section", { class: "card", "data-key": key }, el("header", { class: "card-head" }, el("h2", {}, title)), named(names.map((name) => [name, valued(all[name])])));
}

/** Where a question is answered: it may be that of a step of a run that a step is. */
function asking(execution, name) {
  const nested = execution.nested.filter((nested) => name.startsWith(`${nested.path}.`)).pop();
  return nested ? toExecution(nested.execution_id, name.slice(nested.path.length + 1)) : toExecution(execution.execution_id, name);
}

function problem(execution) {
  const parts = [];
  if (execution.error) parts.push(el("p", {}, execution.error.code ? el("code", {}, execution.error.code) : null, " ", plain(execution.error.message)));
  if (execution.pause_reason && execution.asking.length === 0) parts.push(el("p", {}, "Paused: ", plain(execution.pause_reason)));
  if (execution.left_behind) parts.push(el("p", {}, "No process drives this execution any more. What was done is kept: resume goes on with it."));
  if (execution.waits_for) parts.push(el("p", {}, `Waits for its turn in the group ${execution.waits_for.group}, after ${counted(execution.waits_for.running.length + execution.waits_for.queued_before, "other")}.`));
  for (const name of execution.asking) parts.push(el("p", {}, el("a", { href: asking(execution, name) }, name), " waits for a person's word."));
  return parts.length === 0 ? null : el("section", { class: execution.error ? "notice is-failed" : "notice is-waiting", "data-key": "problem", "aria-label": "What stands in the way" }, parts);
}

function stepRow(execution, name, selected, frame) {
  const step = execution.steps[name];
  const spans = execution.timeline[name] ?? [];
  const note = [step.children ? counted(step.children.count, "child", "children") : "", step.attempts > 1 ? counted(step.attempts, "attempt") : "", step.continued ? "let pass" : ""].filter(Boolean).join(", ");
  return el(
    "tr",
    { "data-key": name, class: selected === name ? "is-selected" : "" },
    el("th", { scope: "row" }, mark(step.status), el("a", { href: toExecution(execution.execution_id, name), "data-row": true, "aria-current": selected === name ? "true" : null }, name), el("span", { class: "soft" }, step.type)),
    el("td", { class: `word is-${step.status}` }, step.status, note ? el("span", { class: "soft" }, ` ${note}`) : null),
    el("td", { class: "bar-cell" }, bars(spans, frame)),
    el("td", { class: "number" }, step.started_at ? elapsed(between(step.started_at, step.completed_at)) : ""),
    el("td", { class: "number" }, step.cost_usd ? dollars(step.cost_usd) : ""),
    el("td", {}, step.cached ? "hit" : step.cache_key ? "miss" : ""),
  );
}

function steps(execution, selected, frame) {
  const head = (words, attributes) => el("th", { scope: "col", ...attributes }, words);
  return el(
    "section",
    { class: "card", "aria-labelledby": "steps-title", "data-key": "steps" },
    el("header", { class: "card-head" }, el("h2", { id: "steps-title" }, "Steps"), el("p", { class: "soft keys" }, el("kbd", {}, "j"), " ", el("kbd", {}, "k"), " move, ", el("kbd", {}, "Enter"), " opens, ", el("kbd", {}, "Esc"), " closes")),
    el(
      "div",
      { class: "wide-room" },
      el(
        "table",
        { class: "steps" },
        el("thead", {}, el("tr", {}, head("Step"), head("Status"), el("th", { scope: "col", class: "bar-cell" }, el("span", { class: "hidden" }, "Timeline"), axis(frame)), head("Took", { class: "number" }), head("Cost", { class: "number" }), head("Cache"))),
        el("tbody", {}, execution.order.map((name) => stepRow(execution, name, selected, frame))),
      ),
    ),
  );
}

/** The page of an execution. It tells `draw` whenever it has something new to show. */
export function executionPage(source, id, draw) {
  const page = { id, execution: null, error: null, pane: null, changes: null, asksEnd: false };
  let wanted = { step: null, tab: "overview" };
  let timer = null;
  let busy = false;
  let again = false;
  const redraw = () => draw();

  const load = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    do {
      again = false;
      try {
        page.execution = await source.get(path(id));
        page.error = null;
      } catch (error) {
        page.error = error;
      }
      await page.pane?.load();
      if (page.changes) await loadChanges();
      redraw();
    } while (again);
    busy = false;
    clearTimeout(timer);
    const execution = page.execution;
    if (!source.isLive || !execution) return;
    if (execution.status === "running") timer = setTimeout(load, LOOK);
    else if (execution.status === "completed" && !execution.application) timer = setTimeout(load, AFTER);
  };

  const loadChanges = async () => {
    try {
      page.changes = { answer: await source.get(path(id, null, "diff")) };
    } catch (error) {
      page.changes = { error };
    }
  };

  const stop = source.watch(id, (change) => change.shown && load(), (isHeard) => draw(isHeard));

  page.show = (step, tab) => {
    wanted = { step, tab };
    if (page.pane?.step !== step) {
      page.pane?.stop();
      page.pane = step ? stepPane(source, id, step, redraw) : null;
      page.pane?.load();
    }
    redraw();
  };

  const tools = (execution) => {
    if (!source.isLive || execution.root !== execution.execution_id) return null;
    const button = (words, kind, onclick) => el("button", { type: "button", class: kind, onclick }, words);
    const ask = (asks) => () => {
      page.asksEnd = asks;
      redraw();
    };
    const cancel = () => {
      page.asksEnd = false;
      act(source, id, "cancel", {}, redraw);
    };
    const mayEnd = ["running", "paused"].includes(execution.status);
    return el(
      "div",
      { class: "tools", "data-key": "tools" },
      execution.resumable ? button("Resume", execution.asking.length > 0 ? "" : "primary", () => act(source, id, "resume", {}, redraw)) : null,
      mayEnd && !page.asksEnd ? button("Cancel…", "", ask(true)) : null,
      mayEnd && page.asksEnd ? [el("span", {}, "End this execution?"), button("End it", "danger", cancel), button("Keep it", "", ask(false))] : null,
    );
  };

  const changes = () => {
    const open = (event) => {
      if (!event.currentTarget.parentElement.open && !page.changes) loadChanges().then(redraw);
    };
    const known = page.changes;
    const body = known?.answer ? differenceView(known.answer) : el("p", { class: "soft" }, known?.error ? reason(known.error) : "Loading…");
    return el("section", { class: "card", "data-key": "changes" }, el("details", {}, el("summary", { onclick: open }, el("h2", {}, "Files changed")), body));
  };

  page.title = () => (page.execution ? `${page.execution.workflow_name} ${standing(page.execution).replace("_", " ")} · ${id}` : id);
  page.said = () => (page.execution ? `${page.execution.workflow_name} is ${standing(page.execution).replace("_", " ")}` : "");

  page.view = () => {
    const execution = page.execution;
    if (!execution) {
      return [el("p", page.error ? { class: "notice is-failed", role: "alert" } : { class: "soft" }, page.error ? reason(page.error) : "Loading…")];
    }
    const frame = scale(execution);
    const back = source.isLive ? el("a", { class: "back", href: toList() }, "Executions") : el("span", { class: "back" }, `Report of ${moment(source.madeAt)}`);
    const main = el(
      "div",
      { class: "execution", "data-key": "execution" },
      back,
      el(
        "header",
        { class: "page-head", "data-key": "head" },
        el("div", {}, el("h1", {}, execution.workflow_name), el("p", { class: "soft" }, el("code", {}, execution.execution_id))),
        badge(standing(execution)),
        tools(execution),
      ),
      execution.description ? el("p", { class: "lead" }, execution.description) : null,
      actionNotice(execution.root, redraw),
      problem(execution),
      figures(execution),
      steps(execution, wanted.step, frame),
      graph(execution, wanted.step, redraw),
      values("Outputs", execution.outputs, "outputs"),
      values("Inputs", execution.inputs, "inputs"),
      execution.artifacts.length > 0 ? el("section", { class: "card", "data-key": "artifacts" }, el("header", { class: "card-head" }, el("h2", {}, "Artifacts")), artifactList(source, execution, execution.artifacts)) : null,
      changes(),
      el("section", { class: "card", "data-key": "details" }, el("header", { class: "card-head" }, el("h2", {}, "Details")), details(execution)),
    );
    const pane = page.pane ? el("aside", { class: "pane", "aria-labelledby": "step-title", "data-key": `pane ${page.pane.step}`, tabindex: "-1" }, page.pane.view(execution, wanted.tab, frame)) : null;
    return [el("div", { class: page.pane ? "with-pane" : "", "data-key": "page" }, main, pane)];
  };
  page.stop = () => {
    clearTimeout(timer);
    page.pane?.stop();
    stop();
  };
  load();
  return page;
}
