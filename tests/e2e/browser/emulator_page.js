// What a person does on the emulator's page.

import assert from "node:assert/strict";
import { call } from "./browser.js";

const says = (page, text) => page.waitForFunction((text) => document.getElementById("said").textContent.includes(text), text);
const job = async (given) => (await call(`${given.emulator}/emulator/jobs`))[0];
const faults = (given) => call(`${given.emulator}/emulator/faults`);

export async function clicks({ browser, given }) {
  const page = await browser.open(given.emulator);
  await page.getByRole("button", { name: "Make a job" }).click();
  await says(page, "cats is made");
  assert.equal((await job(given)).status, "REQUESTED");
  await page.getByRole("button", { name: "Set cats to QUEUED" }).click();
  await says(page, "cats is QUEUED");
  assert.equal((await job(given)).status, "QUEUED");
  await page.getByRole("combobox", { name: "Set cats to" }).selectOption("FAILED");
  await says(page, "cats is FAILED");
  assert.deepEqual([(await job(given)).status, (await job(given)).error_message], ["FAILED", "Internal Server Error"]);

  await page.getByRole("button", { name: "Lose the next submit's answer" }).click();
  await page.getByRole("combobox", { name: "Kind" }).selectOption("status");
  await page.getByRole("combobox", { name: "Call" }).selectOption("list");
  await page.getByLabel("More, as JSON").fill('{"code":503}');
  await page.getByRole("button", { name: "Add" }).click();
  await says(page, "Added status");
  assert.deepEqual((await faults(given)).map(({ call, kind, code }) => [call, kind, code]), [["submit", "lost_answer", undefined], ["list", "status", 503]]);
  // A mistake is told.
  await page.getByLabel("More, as JSON").fill('{"colour":1}');
  await page.getByRole("button", { name: "Add" }).click();
  await says(page, "Not done: ");
  browser.complaints.length = 0; // The browser's own word for the 400.
  await page.getByRole("button", { name: "Remove fault 1" }).click();
  await says(page, "Removed");
  await page.getByRole("button", { name: "Clear all faults" }).click();
  await says(page, "All faults are cleared");
  assert.deepEqual(await faults(given), []);

  await page.getByLabel("Times as fast").fill("1000");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await says(page, "The time goes so fast now");
  assert.equal((await call(`${given.emulator}/emulator/settings`)).time_scale, 1000);
  // What happens without a click is seen as well.
  await page.getByLabel("goes on by itself").check();
  await page.getByRole("button", { name: "Make a job" }).click();
  await page.locator("#jobs td", { hasText: "AVAILABLE" }).first().waitFor();
  await page.getByRole("button", { name: "Drop cats" }).first().click();
  await says(page, "cats is gone");
}

export async function screens({ browser, given }) {
  for (const viewport of [{ width: 1280, height: 800 }, { width: 320, height: 640 }]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await browser.open(given.emulator, { viewport, colorScheme });
      await page.getByRole("button", { name: "Make a job" }).click();
      await page.getByRole("button", { name: "No credits" }).click();
      await page.locator("#faults li").first().waitFor();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${viewport.width} is too narrow`);
      await browser.isAccessible(page);
      await page.context().close();
    }
  }
}
