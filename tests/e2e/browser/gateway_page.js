// What a person sees of the gateway's page.

import assert from "node:assert/strict";
import fs from "node:fs";
import { call, otherSite, Relay } from "./browser.js";

const isLive = (page) => page.waitForSelector("#connection[data-state=live]");
const jobLink = (page, name) => page.locator("#rows a", { hasText: name }).first();

async function aJob(given, fields) {
  return call(`${given.emulator}/emulator/jobs`, { base_model: "FLUX", status: "QUEUED", ...fields });
}
const change = (given, id, fields) => call(`${given.emulator}/emulator/jobs/${id}`, fields);
// How long until the page shows it, once it was caused.
async function timed(cause, seen) {
  const began = performance.now();
  await Promise.all([cause(), seen]);
  return performance.now() - began;
}

export async function live({ browser, given }) {
  const page = await browser.open(given.admin);
  await isLive(page);
  const job = await aJob(given, { name: "cats" });
  await jobLink(page, "cats").waitFor();
  const times = [];
  for (const [status, word] of [["TRAINING", "Training"], ["DEPLOYING", "Deploying"], ["FAILED", "Failed"]]) {
    const seen = page.locator("#rows tr", { hasText: "cats" }).locator(".state", { hasText: word }).waitFor();
    times.push(await timed(() => change(given, job.id, { status, error_message: "CUDA out of memory" }), seen));
  }
  // Reads of Segmind are made every 200 ms here: the page's own share is what is left.
  assert.ok(Math.max(...times) < 1000, `${times}`);
  // The open job goes on as well.
  await jobLink(page, "cats").click();
  await page.locator(".failure", { hasText: "ran out of memory" }).waitFor();
  await page.locator(".failure", { hasText: "CUDA out of memory" }).waitFor();
  assert.equal(await page.locator(".history li strong").last().textContent(), "Failed");
  await page.locator(".snippet pre", { hasText: "finetune get" }).waitFor();
  await page.locator("#gateway dd", { hasText: "Healthy" }).waitFor();
  return { milliseconds: times.map(Math.round) };
}

// What Segmind's trouble looks like.
export async function trouble({ browser, given }) {
  const page = await browser.open(given.admin);
  await page.locator("#gateway dd", { hasText: "Healthy" }).waitFor();
  await call(`${given.emulator}/emulator/faults`, { kind: "key_revoked" });
  await page.locator("#gateway dd", { hasText: "Key refused: Segmind refuses the gateway's API key." }).waitFor();
  await page.waitForFunction(() => /^[2-9]s ago$/.test(document.querySelectorAll("#gateway dd")[1].textContent));
}

// Several replicas, of which `leader` reads Segmind, and the page is one of the others'.
export async function fleet({ browser, given }) {
  const page = await browser.open(given.admin);
  await isLive(page);
  const cells = () => page.locator("#replicas tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
  await page.waitForFunction(() => document.querySelectorAll("#replicas tr").length === 3);
  for (const [name, reads, , started, upToDate] of await cells()) {
    const isThis = name.endsWith(" (this one)");
    assert.equal(isThis, name.startsWith(given.replica), name);
    assert.equal(reads, name === given.leader ? "yes" : "–", name);
    assert.match(started, /^\d.* ago$/, name);
    assert.match(upToDate, isThis ? /^\d+s ago$/ : /^–$/, name);
  }
  assert.ok(await page.locator("#unread").isHidden());
  await browser.isAccessible(page);
  await page.screenshot({ path: `${given.folder}/fleet.png` });
  await page.setViewportSize({ width: 420, height: 900 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it is wider than the screen");
  await page.screenshot({ path: `${given.folder}/fleet-narrow.png` });
  await page.setViewportSize({ width: 1280, height: 800 });
  // It is cut off from the others, and says what it no longer knows.
  fs.writeFileSync(`${given.folder}/cut`, "");
  await page.locator("#unread").waitFor();
  await page.locator("#gateway dd", { hasText: "Degraded" }).waitFor();
  assert.deepEqual((await cells()).map((row) => row[1]), ["–", "–", "–"]);
  await page.waitForFunction(() => [...document.querySelectorAll("#replicas td:last-child")].some((cell) => /^([5-9]|\d\d)s ago$/.test(cell.textContent)));
  await page.screenshot({ path: `${given.folder}/fleet-cut-off.png` });
}

export async function breakAndResume({ browser, given }) {
  const relay = await Relay.before(given.admin);
  const page = await browser.open(relay.url, { mayComplain: true });
  await isLive(page);
  const job = await aJob(given, { name: "before" });
  await jobLink(page, "before").waitFor();
  relay.breakOff();
  await page.waitForSelector("#connection[data-state=broken]");
  await change(given, job.id, { status: "TRAINING" });
  await page.locator("#gateway dd", { hasText: "Healthy (when last heard)" }).waitFor();
  await aJob(given, { name: "meanwhile" });
  relay.requests.length = 0;
  relay.mend();
  await jobLink(page, "meanwhile").waitFor();
  await page.locator("#rows tr", { hasText: "before" }).locator(".state", { hasText: "Training" }).waitFor();
  await isLive(page);
  assert.ok(relay.requests.some((line) => /^GET \/page\/events\?resume=\S+ /.test(line)), relay.requests.join());
  relay.end();
}

// A page that nobody looks at costs nothing.
export async function unseen({ browser, given }) {
  const relay = await Relay.before(given.admin);
  const page = await browser.open("about:blank");
  await page.clock.install();
  await page.goto(relay.url);
  await isLive(page);
  const turn = (to) =>
    page.evaluate((to) => {
      Object.defineProperty(document, "visibilityState", { value: to, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, to);
  const watchers = async () => /^finetune_gateway_watchers (\d+)/m.exec(await (await fetch(`${given.admin}/metrics`)).text())[1];
  assert.equal(await watchers(), "1");
  await turn("hidden");
  await page.clock.fastForward(61_000);
  while ((await watchers()) !== "0") await new Promise((after) => setTimeout(after, 50));
  await aJob(given, { name: "meanwhile" });
  relay.requests.length = 0;
  await turn("visible");
  await jobLink(page, "meanwhile").waitFor();
  assert.ok(relay.requests.some((line) => line.startsWith("GET /page/events?resume=")), relay.requests.join());
  await page.context().close();
  relay.end();
}

export async function manyJobs({ browser, given }) {
  const page = await browser.open("about:blank");
  const says = (text) => page.waitForFunction((text) => document.getElementById("count").textContent.endsWith(text), text);
  let loaded;
  const loading = await browser.longestTask(page, async () => {
    const began = performance.now();
    await page.goto(given.admin);
    await isLive(page);
    await says("10,000 jobs");
    loaded = performance.now() - began;
  });
  assert.ok((await page.locator("#rows tr").count()) < 60);
  const first = await page.locator("#rows a").first().textContent();
  const scrolling = await browser.longestTask(page, async () => {
    // To the end, and through the middle.
    for (const part of [1, 0.5, 0.25, 0]) {
      await page.evaluate((part) => (document.getElementById("scroll").scrollTop = part * document.getElementById("scroll").scrollHeight), part);
      await page.waitForFunction(() => document.querySelectorAll("#rows a").length > 10);
    }
    await page.waitForFunction((name) => document.querySelector("#rows a").textContent === name, first);
  });
  const searching = await browser.longestTask(page, async () => {
    await page.locator("#search").pressSequentially("flux 12", { delay: 5 });
    await says(" of 10,000 jobs");
    await page.locator("#search").fill("");
    await says("10,000 jobs");
  });
  const changing = await browser.longestTask(page, async () => {
    for (let i = 0; i < 30; i++) await aJob(given, { name: `late-${i}` });
    await says("10,030 jobs");
  });
  // What takes 100 ms, a person takes for at once.
  const longest = Object.entries({ loading, scrolling, searching, changing }).map(([name, ms]) => [name, Math.round(ms)]);
  for (const [name, ms] of longest) assert.ok(ms < 100, `${name}: ${ms} ms`);
  return { loaded: Math.round(loaded), ...Object.fromEntries(longest) };
}

export async function screens({ browser, given }) {
  const failed = await aJob(given, { name: "a-name-that-is-longer-than-any-screen-of-a-telephone-is-wide-and-goes-on", status: "FAILED", error_message: "Download failed" });
  for (let i = 0; i < 60; i++) await aJob(given, { name: `job ${i}`, status: ["TRAINING", "AVAILABLE", "CANCELLED", "QUEUED"][i % 4] });
  for (const viewport of [{ width: 1280, height: 800 }, { width: 320, height: 640 }, { width: 800, height: 600 }]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await browser.open(given.admin, { viewport, colorScheme, reducedMotion: "reduce" });
      const fits = async () => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${viewport.width} is too narrow`);
      await isLive(page);
      await page.waitForFunction(() => document.getElementById("count").textContent === "61 jobs");
      await fits();
      await browser.isAccessible(page);
      await page.locator("#search").fill("telephone");
      await jobLink(page, "telephone").click();
      await page.locator(".failure", { hasText: "could not fetch the dataset" }).waitFor();
      await fits();
      await browser.isAccessible(page);
      // Dark is dark.
      const [red] = (await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).match(/\d+/g);
      assert.equal(Number(red) < 128, colorScheme === "dark");
      await page.context().close();
    }
  }
  assert.ok(failed.id);
}

export async function keyboard({ browser, given }) {
  for (let i = 0; i < 50; i++) await aJob(given, { name: `job-${String(i).padStart(2, "0")}` });
  const page = await browser.open(given.admin);
  await isLive(page);
  await page.waitForFunction(() => document.getElementById("count").textContent === "50 jobs");
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.id);
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the jobs");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "search");
  await page.keyboard.type("job-");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), (await page.locator("#rows a").allTextContents())[0]);
  await page.keyboard.press("/");
  for (let i = 0; i < 3; i++) await page.keyboard.press("Tab"); // The states, the region, the jobs.
  const names = await page.locator("#rows a").allTextContents();
  assert.equal(await focused(), names[0]);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), names[2]);
  await page.keyboard.press("End");
  const last = await focused();
  assert.notEqual(last, names[2]);
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), last);
  // A job that comes takes the focus from nobody.
  await aJob(given, { name: "job-new" });
  await page.waitForFunction(() => document.getElementById("count").textContent === "51 jobs");
  assert.equal(await focused(), last);
  await page.keyboard.press("Enter");
  await page.waitForFunction((name) => document.activeElement.id === "job-title" && document.activeElement.textContent === name, last);
  assert.notEqual(new URL(page.url()).hash, "");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Close");
  await page.keyboard.press("Escape");
  await page.waitForFunction((name) => document.activeElement.textContent === name, last);
  assert.equal(new URL(page.url()).hash, "");
  // An address leads to its job.
  await page.goBack();
  await page.waitForFunction((name) => document.getElementById("job-title")?.textContent === name, last);
  await page.reload();
  await page.waitForFunction((name) => document.getElementById("job-title")?.textContent === name, last);
}

export async function copies({ browser, given }) {
  const job = await aJob(given, { name: "cats", status: "AVAILABLE" });
  const page = await browser.open(given.admin, { permissions: ["clipboard-read", "clipboard-write"] });
  await isLive(page);
  await jobLink(page, "cats").click();
  await page.getByRole("button", { name: "Copy the lines for finetune" }).click();
  await page.waitForFunction(() => document.getElementById("said").textContent === "Copied");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, new RegExp(`^finetune get ${job.id}\n`));
  return { copied };
}

// Another site, open in the same browser, gets nothing of it.
export async function otherSites({ browser, given }) {
  const site = await otherSite(`<!doctype html><title>x</title><iframe src="${given.admin}"></iframe>`);
  const page = await browser.open(site.url, { mayComplain: true });
  const got = await page.evaluate(async (admin) => {
    const tries = {};
    for (const path of ["/", "/page/events", "/page/jobs/x", "/page/main.js"]) {
      for (const mode of ["cors", "no-cors"]) {
        tries[`${mode} ${path}`] = await fetch(admin + path, { mode }).then((answer) => answer.text(), () => "");
      }
    }
    tries.events = await new Promise((done) => {
      const source = new EventSource(`${admin}/page/events`);
      source.onmessage = source.onopen = () => done("opened");
      source.onerror = () => done("");
    });
    tries.script = await new Promise((done) => {
      const script = document.createElement("script");
      script.onload = () => done("loaded");
      script.onerror = () => done("");
      script.src = `${admin}/page/jobs.js`;
      document.head.append(script);
    });
    return tries;
  }, given.admin);
  assert.deepEqual([...new Set(Object.values(got))], [""], JSON.stringify(got));
  const frame = page.frames().find((one) => one !== page.mainFrame());
  assert.equal(await frame.locator("#gateway").count(), 0);
  site.end();
}

// As the README shows it.
export async function pictures({ browser, given }) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.open(given.admin, { colorScheme, viewport: { width: 1100, height: 660 } });
    await isLive(page);
    if (colorScheme === "light") {
      await jobLink(page, given.job).click();
      await page.locator(".history li").first().waitFor();
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.mouse.move(0, 0);
    await page.locator("#rows a").first().waitFor();
    await page.screenshot({ path: `${given.folder}/page-${colorScheme}.png` });
    await page.context().close();
  }
  const narrow = await browser.open(given.admin, { viewport: { width: 340, height: 660 }, colorScheme: "dark" });
  await narrow.locator("#rows a").first().waitFor();
  await narrow.screenshot({ path: `${given.folder}/page-narrow.png` });
}
