// A real browser, and what the scenarios need of it.

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axeSource = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class Browser {
  complaints = [];

  async start() {
    this.browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  }

  // A page in a window of its own.
  async open(url, settings = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, ...settings });
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    page.on("console", (line) => line.type() === "error" && !settings.mayComplain && this.complaints.push(line.text()));
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    await page.goto(url);
    return page;
  }

  // The milliseconds of CPU of the longest task of a page's main thread while `act` runs: what a person would wait for. Not its
  // time, which is that of whatever else the machine does, too.
  async longestTask(page, act) {
    await this.browser.startTracing(page, { categories: ["toplevel"] });
    await act();
    const { traceEvents } = JSON.parse(await this.browser.stopTracing());
    const main = new Set(traceEvents.filter((event) => event.args?.name === "CrRendererMain").map((event) => event.tid));
    const tasks = traceEvents.filter((event) => event.name.endsWith("RunTask") && event.tdur && main.has(event.tid));
    assert.ok(tasks.length > 0, "no task was seen");
    return Math.max(...tasks.map((task) => task.tdur)) / 1000;
  }

  // No rule of axe is broken.
  async isAccessible(page) {
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => [node.html, node.failureSummary])]), []);
  }

  async end() {
    await this.browser.close();
    assert.deepEqual(this.complaints, []);
  }
}

// Between a browser and a server, and can be cut.
export class Relay {
  sockets = new Set();
  requests = [];
  cut = false;

  static async before(url) {
    const relay = new Relay();
    const { hostname, port } = new URL(url);
    relay.server = net.createServer((from) => {
      if (relay.cut) return from.destroy();
      const to = net.connect(Number(port), hostname);
      for (const socket of [from, to]) {
        relay.sockets.add(socket);
        socket.on("error", () => {}).on("close", () => (from.destroy(), to.destroy(), relay.sockets.delete(socket)));
      }
      from.on("data", (bytes) => relay.requests.push(String(bytes).split("\r\n")[0]));
      from.pipe(to);
      to.pipe(from);
    });
    await new Promise((listening) => relay.server.listen(0, "127.0.0.1", listening));
    relay.url = `http://127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  breakOff() {
    this.cut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.cut = false;
  }

  end() {
    this.breakOff();
    this.server.close();
  }
}

// Another site, with one page.
export async function otherSite(html) {
  const server = http.createServer((_, answer) => answer.writeHead(200, { "Content-Type": "text/html" }).end(html));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { url: `http://127.0.0.1:${server.address().port}`, end: () => (server.closeAllConnections(), server.close()) };
}

export async function call(url, body) {
  const answer = await fetch(url, { method: body === undefined ? "GET" : "POST", body: body === undefined ? undefined : JSON.stringify(body) });
  assert.ok(answer.ok, `${url}: ${answer.status}`);
  return answer.json();
}
