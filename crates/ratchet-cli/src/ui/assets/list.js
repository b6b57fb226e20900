// The executions: newest first, found by words, by where they stand and by workflow.
import { el } from "./dom.js";
import { badge, standing } from "./mark.js";
import { toExecution, toList } from "./route.js";
import { ago, between, elapsed, moment, reason } from "./words.js";

const STATUSES = ["running", "paused", "failed", "completed", "cancelled"];
/** While somebody types, it is not asked for each letter. */
const PAUSE = 150;

function row(one) {
  const took = one.ended_at || one.status === "running" ? elapsed(between(one.created_at, one.ended_at)) : "";
  return el(
    "tr",
    { "data-key": one.execution_id },
    el("td", {}, badge(standing(one))),
    el("th", { scope: "row" }, el("a", { href: toExecution(one.execution_id), "data-row": true }, one.workflow_name), el("span", { class: "soft" }, one.workflow_version)),
    el("td", {}, el("code", {}, one.execution_id)),
    el("td", { title: moment(one.created_at) }, ago(one.created_at)),
    el("td", { class: "number" }, took),
  );
}

/** The page of all executions. It tells `draw` whenever it has something new to show. */
export function listPage(source, draw) {
  const page = { answer: null, error: null };
  let query = {};
  let asked = 0;
  let timer = null;

  const load = async () => {
    asked += 1;
    const number = asked;
    try {
      const answer = await source.get("executions", query);
      if (number !== asked) return;
      Object.assign(page, { answer, error: null });
    } catch (error) {
      if (number !== asked) return;
      page.error = error;
    }
    draw();
  };

  const stop = source.watch(null, (change) => (change.list || !page.answer) && load(), (isHeard) => draw(isHeard));

  page.show = (wanted) => {
    query = wanted;
    load();
  };

  const filters = () => {
    const to = (change) => toList({ ...query, after: "", ...change });
    const typed = (event) => {
      const text = event.currentTarget.value;
      clearTimeout(timer);
      // What is typed becomes the address, without a step back for each letter.
      timer = setTimeout(() => location.replace(to({ text })), PAUSE);
    };
    const chosen = (event) => (location.hash = to({ workflow: event.currentTarget.value }));
    const counts = page.answer?.by_status ?? {};
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const chip = (status, words, count) =>
      el("a", { class: "chip", href: to({ status }), "aria-current": (query.status ?? "") === status ? "true" : null }, words, el("span", { class: "count" }, ` ${count.toLocaleString()}`));
    const workflows = Object.keys(page.answer?.by_workflow ?? {}).sort();
    return el(
      "search",
      { class: "filters", "data-key": "filters" },
      el("div", { class: "fields" }, el("label", { class: "hidden", for: "text" }, "Search by name"), el("input", { id: "text", type: "search", placeholder: "Search by name", autocomplete: "off", spellcheck: "false", value: query.text, oninput: typed }), el("label", { class: "hidden", for: "workflow" }, "Workflow"), el("select", { id: "workflow", onchange: chosen }, el("option", { value: "" }, "All workflows"), workflows.map((name) => el("option", { value: name, selected: query.workflow === name }, name)))),
      el("nav", { class: "chips", "aria-label": "Status" }, chip("", "all", all), STATUSES.map((status) => chip(status, status, counts[status] ?? 0))),
    );
  };

  const table = () => {
    const executions = page.answer.executions;
    if (executions.length === 0) {
      const isFiltered = query.text || query.status || query.workflow;
      return el("p", { class: "empty" }, isFiltered ? "No execution is like that." : ["Nothing has run yet. ", el("code", {}, "ratchet run FILE"), " begins the first execution, and it shows up here."]);
    }
    const head = (words, attributes) => el("th", { scope: "col", ...attributes }, words);
    const last = executions[executions.length - 1].execution_id;
    return [
      el("div", { class: "wide-room card", "data-key": "table" }, el("table", { class: "executions" }, el("caption", { class: "hidden" }, "Executions, newest first"), el("thead", {}, el("tr", {}, head("Status"), head("Workflow"), head("Execution"), head("Began"), head("Took", { class: "number" }))), el("tbody", {}, executions.map(row)))),
      el("nav", { class: "tools pages", "aria-label": "Pages" }, query.after ? el("a", { class: "button", href: toList({ ...query, after: "" }) }, "Newest") : null, page.answer.more ? el("a", { class: "button", href: toList({ ...query, after: last }) }, "Older") : null),
    ];
  };

  page.title = () => "Executions";
  page.said = () => "";
  page.view = () => [
    el("header", { class: "page-head", "data-key": "head" }, el("h1", {}, "Executions")),
    filters(),
    page.error ? el("p", { class: "notice is-failed", role: "alert" }, reason(page.error)) : null,
    page.answer ? table() : page.error ? null : el("p", { class: "soft" }, "Loading…"),
  ];
  page.stop = () => {
    clearTimeout(timer);
    stop();
  };
  return page;
}
