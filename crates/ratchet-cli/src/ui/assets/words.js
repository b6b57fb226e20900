// Quantities as people read them: the same words as at the terminal.

/** A time that passed, in milliseconds: `850ms`, `12.3s`, `4m05s`, `2h10m`. */
export function elapsed(ms) {
  if (typeof ms !== "number" || !Number.isFinite(ms)) return "";
  const seconds = Math.floor(ms / 1000);
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 1) return `${Math.max(0, Math.round(ms))}ms`;
  if (seconds < 60) return `${seconds}.${Math.floor((ms % 1000) / 100)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${two(Math.floor((seconds % 3600) / 60))}m`;
}

/** Milliseconds between two moments; until now where the second has not come. */
export function between(from, to) {
  return from ? Math.max(0, (to ? Date.parse(to) : Date.now()) - Date.parse(from)) : undefined;
}

/** How long ago: `now`, `5m ago`, `3h ago`, `12d ago`. */
export function ago(at) {
  const minutes = Math.floor(between(at) / 60000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes}m ago`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)}h ago`;
  return `${Math.floor(minutes / 1440)}d ago`;
}

/** A moment on the clock of whoever reads. */
export function moment(at) {
  if (!at) return "";
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** US dollars: `$0.42`, and small amounts exactly enough. */
export function dollars(amount) {
  if (typeof amount !== "number") return "";
  return amount > 0 && amount < 0.01 ? `$${amount.toFixed(4)}` : `$${amount.toFixed(2)}`;
}

/** Bytes: `312 B`, `4.2 KB`. */
export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit + 1 < units.length) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`;
}

/** A count with its noun, and with the noun of many where an `s` does not make it. */
export function counted(count, noun, many = `${noun}s`) {
  return `${count} ${count === 1 ? noun : many}`;
}

/** What went wrong, and what to do. */
export function reason({ message, hint }, between = ": ") {
  return [message, hint].filter(Boolean).join(between);
}

/** Text without what moves a terminal's cursor. */
export function plain(text) {
  return String(text)
    .replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "")
    .replace(/\u001b\][^\u0007\u001b]*(\u0007|\u001b\\)/g, "")
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "");
}

/** A value as text: a text as it is, everything else as JSON. */
export function valued(value) {
  return typeof value === "string" ? plain(value) : JSON.stringify(value, null, 2);
}
