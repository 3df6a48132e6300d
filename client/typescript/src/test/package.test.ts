// The package is what it should be.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { checkSettings, isLoopback, SERVICE_CONFIG } from "../channel.js";
import { stateOf, type StateLike } from "../jobs.js";

const home = new URL("../..", import.meta.url).pathname;
// The project's tree, when the package is built elsewhere.
const tree = process.env["FINETUNE_SOURCE"] ?? join(home, "../..");

test("the service config is the recommended one", () => {
  const source = readFileSync(join(tree, "client/cpp/channel.cc"), "utf8");
  const recommended = /kServiceConfig\[\] = R"\((.*?)\)";/s.exec(source)![1]!;
  assert.deepEqual(SERVICE_CONFIG, JSON.parse(recommended));
});

test("the generated code is current", (context) => {
  try {
    execFileSync("protoc", ["--version"]);
  } catch {
    return context.skip("needs protoc");
  }
  const fresh = mkdtempSync(join(tmpdir(), "generated-"));
  try {
    execFileSync(join(home, "generate.sh"), [fresh], { env: { ...process.env, FINETUNE_SOURCE: tree } });
    const files = readdirSync(fresh, { recursive: true }).map(String).filter((file) => file.endsWith(".ts"));
    assert.ok(files.length >= 6);
    for (const file of files) {
      const kept = join(home, "src/proto", file);
      assert.ok(existsSync(kept) && readFileSync(kept, "utf8") === readFileSync(join(fresh, file), "utf8"), `${file}: run client/typescript/generate.sh`);
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
});

test("every snippet of the README compiles", () => {
  const readme = readFileSync(join(home, "README.md"), "utf8");
  const example = ["snippets.ts", "first.ts"].map((file) => readFileSync(join(home, "src/test", file), "utf8")).join("");
  const squeeze = (text: string) => text.replace(/\s+/g, " ").trim();
  const snippets = [...readme.matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1]!);
  assert.ok(snippets.length > 4);
  for (const snippet of snippets) assert.ok(squeeze(example).includes(squeeze(snippet)), `not in src/test/snippets.ts or first.ts, which are compiled:\n${snippet}`);
});

test("loopback is known in all its spellings", () => {
  for (const target of ["127.0.0.1:1", "127.8.0.1:1", "localhost:1", "localhost", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///localhost:1", "unix:/x"]) {
    assert.ok(isLoopback(target), target);
  }
  for (const target of ["gateway:1", "10.0.0.1:1", "localhost.example:1", "dns:///gateway:1", "[2001:db8::1]:1"]) assert.ok(!isLoopback(target), target);
});

test("an address needs a port", () => {
  const good = ["127.0.0.1:1", "gateway:1", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///gateway:1", "dns://8.8.8.8/gateway:1", "unix:/x", "xds:///x"];
  for (const target of good) checkSettings(target, {});
  const bad = ["127.0.0.1", "gateway", "::1", "[::1]", "gateway:0", "gateway:70000", "dns:///gateway", "ipv4:127.0.0.1", ":50051"];
  for (const target of bad) assert.throws(() => checkSettings(target, {}), /HOST:PORT/, target);
});

test("a state that there is not is answered with those that there are", () => {
  assert.throws(() => stateOf("AVAILBLE" as StateLike), /no state 'AVAILBLE'; there are .*QUEUED, .*AVAILABLE/);
});
