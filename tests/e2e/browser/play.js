// node play.js FILE SCENARIO JSON    runs `export async function SCENARIO({ browser, given })` of FILE; JSON is what is given
// What a scenario returns is printed as JSON. Errors of the page itself, its policy's above all, fail every scenario.

import { Browser } from "./browser.js";

const [file, scenario, given] = process.argv.slice(2);
const scenarios = await import(`./${file}`);
const browser = new Browser();
await browser.start();
try {
  const result = await scenarios[scenario]({ browser, given: JSON.parse(given) });
  await browser.end();
  console.log(JSON.stringify(result ?? {}));
} catch (error) {
  console.error(error, browser.complaints.join("\n"));
  process.exit(1);
}
process.exit(0);
