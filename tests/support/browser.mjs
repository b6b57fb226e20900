// Drives a browser over the pages of `ratchet ui` and `ratchet report`: `node browser.mjs SCENARIO`, with what it needs as JSON on standard input. It ends with 0 where all
// is as it must be, else with words on standard error. The test that starts it is tests/tests/it/command/browser.rs.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const given = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(`${given.tools}/node_modules/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 390, height: 844 };

const profile = mkdtempSync(join(tmpdir(), "ratchet-browser-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath: given.chromium, args: FLAGS, viewport: WIDE, headless: true, chromiumSandbox: false, timezoneId: "UTC", locale: "en-GB" });
const page = browser.pages()[0] ?? (await browser.newPage());

/** Whatever a page may not do: requests to elsewhere, errors, dialogs, code of a step's. */
const wrong = [];
let isReport = false;
browser.on("request", (request) => {
  const url = request.url();
  const isOwn = isReport ? url.startsWith("file:") || url.startsWith("data:") : url.startsWith(given.origin);
  if (!isOwn) wrong.push(`a request to ${url}`);
  if (isReport && request.resourceType() !== "document") wrong.push(`a request for ${url}`);
});
page.on("pageerror", (error) => wrong.push(`an error: ${error.stack}`));
page.on("dialog", (dialog) => (wrong.push(`a dialog: ${dialog.message()}`), dialog.dismiss()));
page.on("console", (message) => {
  // What the server refuses is told in the console by the browser itself.
  if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) wrong.push(`the console: ${message.text()}`);
});

async function enter() {
  await page.goto(given.address);
  await page.waitForURL(`${given.origin}/`);
}

const address = (hash) => `${given.origin}/${hash}`;
const execution = (id, step, tab) => address(`#/executions/${id}${step ? `/${encodeURIComponent(step)}` : ""}${tab ? `?tab=${tab}` : ""}`);
const seen = (text) => page.getByText(text, { exact: false }).first().waitFor();

async function shoot(name) {
  if (!given.pictures) return;
  mkdirSync(given.pictures, { recursive: true });
  await page.screenshot({ path: join(given.pictures, `${name}.png`) });
}

/** The rules of accessibility, in light and in dark, wide and narrow. */
async function accessible(name) {
  for (const [size, viewport] of [["wide", WIDE], ["narrow", NARROW]]) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
      const told = violations.map((rule) => `${rule.id}: ${rule.help}\n${rule.nodes.slice(0, 4).map((node) => `  ${node.html}\n  ${node.failureSummary}`).join("\n")}`);
      assert.equal(told.join("\n"), "", `${name}, ${size}, ${colorScheme}`);
      await shoot(`${name}-${size}-${colorScheme}`);
    }
  }
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
}

const scenarios = {
  /** Each view shows what it is for, by address and by keys, and keeps the rules of accessibility. */
  async views() {
    await enter();
    await page.locator("[data-row]").first().waitFor();
    assert.equal(await page.title(), "Executions · Ratchet");
    await accessible("list");

    await page.keyboard.press("/");
    await page.keyboard.type("no such");
    await seen("No execution is like that");
    await page.locator("#text").fill("");
    await page.locator("[data-row]").first().waitFor();
    await page.locator("#text").blur();
    const listed = await page.locator("[data-row]").count();
    await page.locator(".chip", { hasText: "failed" }).click();
    await page.waitForFunction((before) => document.querySelectorAll("[data-row]").length < before, listed);
    await page.locator(".chip", { hasText: "all" }).click();
    await page.waitForFunction((before) => document.querySelectorAll("[data-row]").length === before, listed);

    await page.goto(execution(given.failed));
    await page.locator(".graph a.box").first().waitFor();
    assert.equal(await page.locator("tbody tr").count(), given.steps.length);
    assert.equal(await page.locator(".graph a.box").count(), given.steps.length);
    await accessible("execution");

    // j and k move, Enter opens, Escape closes and comes back.
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await page.keyboard.press("j");
    const focused = await page.evaluate(() => document.activeElement.textContent);
    assert.equal(focused, given.steps[1]);
    await page.keyboard.press("Enter");
    await page.locator(".pane h2", { hasText: given.steps[1] }).waitFor();
    await page.waitForFunction(() => document.activeElement.matches(".pane"));
    await page.keyboard.press("Escape");
    await page.locator(".pane").waitFor({ state: "detached" });
    await page.waitForFunction((step) => document.activeElement.textContent === step, given.steps[1]);

    for (const [step, tab, words] of given.tabs) {
      await page.goto(execution(given.failed, step, tab));
      await page.locator(".pane-body", { hasText: words }).waitFor();
      await accessible(`step-${step.replace(/\W/g, "")}-${tab}`);
    }
    await page.goto(execution(given.failed));
    await page.locator("summary", { hasText: "Files changed" }).click();
    await page.locator(".change").first().waitFor();
    await page.goto(execution("none"));
    await seen("there is no execution none");
  },

  /** A run is followed as it goes on: nothing is loaded again by hand. */
  async live() {
    await enter();
    await seen("Nothing has run yet");
    writeFileSync(given.gates.begin, "go on\n");
    await page.locator("[data-row]").first().waitFor();
    await page.locator("[data-row]").first().click();
    const row = (step) => page.locator(`tr[data-key="${step}"]`);
    const box = (step) => page.locator(`.graph .box[data-key="${step}"]`);
    await row("first").locator(".word.is-running").waitFor();
    await row("first").locator("a").click();
    await page.locator(".tabs a", { hasText: "Log" }).click();
    await page.locator(".line", { hasText: "the first line" }).waitFor();
    assert.equal(await page.locator(".line", { hasText: "the last line" }).count(), 0);
    await shoot("live-log");
    writeFileSync(given.gates.end, "go on\n");
    await page.locator(".line", { hasText: "the last line" }).waitFor();
    await box("second").and(page.locator(".is-completed")).waitFor();
    await page.locator(".page-head .badge.is-completed").waitFor();
    await page.waitForFunction(() => document.querySelector('[aria-live="polite"]').textContent.includes("is completed"));
  },

  /** Each action does what it says, and what is refused is told. */
  async actions() {
    await enter();
    await page.goto(execution(given.asks, "accept"));
    await page.locator("textarea").fill("fine by me");
    await accessible("question");
    await page.getByRole("button", { name: "Approve" }).click();
    await page.locator(".notice[data-action='0']", { hasText: "ratchet approve" }).waitFor();
    await page.locator(".page-head .badge.is-completed").waitFor();
    await page.locator(".pane .values", { hasText: "fine by me" }).waitFor();
    await shoot("approved");

    await page.getByRole("button", { name: "Resume from here" }).click();
    await page.locator(".notice[data-action='3']", { hasText: "--from=accept" }).waitFor();
    await page.locator(".page-head .badge.is-paused").waitFor();
    await page.getByRole("button", { name: "Reject" }).click();
    await page.locator(".page-head .badge.is-failed").waitFor();
    await page.getByRole("button", { name: "Resume", exact: true }).click();
    await page.locator(".page-head .badge.is-paused").waitFor();
    await page.getByRole("button", { name: "Cancel…" }).click();
    await page.getByRole("button", { name: "Keep it" }).click();
    await page.getByRole("button", { name: "Cancel…" }).click();
    await page.getByRole("button", { name: "End it" }).click();
    await page.locator(".page-head .badge.is-cancelled").waitFor();

    // Somebody was faster: the command refuses, and the page shows its words.
    await page.goto(execution(given.other));
    await page.getByRole("button", { name: "Cancel…" }).click();
    await page.route("**/actions/cancel", async (route) => {
      await page.request.post(route.request().url(), { data: {}, headers: { origin: given.origin } });
      await route.continue();
    });
    await page.getByRole("button", { name: "End it" }).click();
    await page.locator(".notice.is-failed[role=alert]", { hasText: "RT-0407" }).waitFor();
    await shoot("refused");
  },

  /** What steps, files and agents wrote is shown as text, and does nothing. */
  async hostile() {
    if (given.report) {
      isReport = true;
      await page.goto(`file://${given.report}`);
    } else {
      await enter();
      await page.goto(execution(given.hostile));
    }
    const base = given.report ? `file://${given.report}` : `${given.origin}/`;
    await page.locator(".graph a.box").first().waitFor();
    await seen(given.markup);
    for (const [step, tab] of given.parts) {
      await page.goto(`${base}#/executions/${given.hostile}/${encodeURIComponent(step)}?tab=${tab}`);
      await page.locator(".pane-body", { hasText: given.markup }).first().waitFor();
      await page.evaluate(() => document.querySelectorAll(".pane-body details").forEach((fold) => (fold.open = true)));
    }
    if (!given.report) {
      await page.goto(address("#/"));
      await page.locator("[data-row]").first().waitFor();
    }
    const harm = await page.evaluate(() => ({ ran: window.hacked ?? null, images: document.querySelectorAll("img, iframe, object, embed").length, scripts: document.scripts.length }));
    assert.deepEqual(harm, { ran: null, images: 0, scripts: given.report ? 2 : 1 });
  },

  /** The file shows the same without a server, and asks for nothing. */
  async report() {
    isReport = true;
    await page.goto(`file://${given.report}`);
    await page.locator(".graph a.box").first().waitFor();
    await accessible("report");
    for (const [step, tab, words] of given.tabs) {
      await page.goto(`file://${given.report}#/executions/${given.failed}/${encodeURIComponent(step)}?tab=${tab}`);
      await page.locator(".pane-body", { hasText: words }).waitFor();
    }
    await accessible("report-step");
    assert.equal(await page.getByRole("button", { name: /Resume|Cancel|Approve/ }).count(), 0, "a file can do nothing");
  },
};

let code = 0;
try {
  page.setDefaultTimeout(20000);
  await scenarios[process.argv[2]]();
  assert.deepEqual(wrong, []);
} catch (error) {
  code = 1;
  await shoot(`wrong-${process.argv[2]}`).catch(() => {});
  const text = await page.locator("body").innerText().catch(() => "");
  process.stderr.write(`${error.stack}\n--- what the page did wrong\n${wrong.join("\n")}\n--- ${page.url()}\n${text.slice(0, 3000)}\n`);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(code);
