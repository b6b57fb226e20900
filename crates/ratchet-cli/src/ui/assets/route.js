// What the page shows, as the part of its address after the #: so that it can be linked, and that going back works.

const FIELDS = ["text", "status", "workflow", "after"];

/** What an address asks for. */
export function route(hash) {
  const [path, words] = hash.replace(/^#\/?/, "").split("?");
  const query = new URLSearchParams(words ?? "");
  const [page, id, step] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  if (page === "executions" && id) return { page: "execution", id, step: step || null, tab: query.get("tab") ?? "overview" };
  return { page: "list", query: Object.fromEntries(FIELDS.map((field) => [field, query.get(field) ?? ""])) };
}

/** The address of the list. */
export function toList(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value);
  const words = new URLSearchParams(given).toString();
  return `#/${words ? `?${words}` : ""}`;
}

/** The address of an execution, of a step of it, and of a part of what is known of the step. */
export function toExecution(id, step, tab) {
  const words = tab && tab !== "overview" ? `?tab=${encodeURIComponent(tab)}` : "";
  return `#/executions/${encodeURIComponent(id)}${step ? `/${encodeURIComponent(step)}` : ""}${words}`;
}
