// The key that a step's result is kept under: what it is made of, and why it hit or missed.
import { el } from "./dom.js";
import { toExecution } from "./route.js";
import { dollars, elapsed } from "./words.js";

/** What `ratchet why` says. */
export function keyView(why) {
  const changed = new Set(why.changed ?? []);
  const parts = why.parts ?? [];
  const facts = [
    ["Key", why.cache_key ? el("code", {}, why.cache_key) : "none"],
    ["Before", why.previous ? [el("a", { href: toExecution(why.previous.execution_id) }, why.previous.execution_id), why.previous.cache_key === why.cache_key ? " had the same key" : " had another key"] : null],
    ["Saved", why.cached ? [elapsed(why.saved_ms), dollars(why.saved_usd)].filter(Boolean).join(", ") : null],
  ].filter(([, value]) => value);
  return el(
    "div",
    { class: "stack" },
    el("p", {}, why.reason),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    changed.size > 0 ? [el("h3", {}, "Changed since"), el("ul", { class: "plain" }, [...changed].map((name) => el("li", {}, el("code", {}, name))))] : null,
    parts.length > 0
      ? el(
          "table",
          { class: "rows" },
          el("caption", {}, "Parts of the key"),
          el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Part"), el("th", { scope: "col" }, "Digest"), el("th", { scope: "col" }, "Since before"))),
          el("tbody", {}, parts.map(({ name, digest }) => el("tr", {}, el("td", {}, name), el("td", {}, el("code", { title: digest }, String(digest).slice(0, 12))), el("td", {}, changed.has(name) ? "changed" : "")))),
        )
      : null,
  );
}
