// The snippets of the README, so that they are compiled; a test compares them. Nothing here runs.
import { randomUUID } from "node:crypto";
import { connect, GatewayError, stateName } from "../index.js";

const gateway = connect("finetune-gateway:50051");
const fields = { displayName: "cats" };

export async function submitting() {
  const requestId = randomUUID(); // Kept before the call.
  const job = await gateway.submit(fields, { requestId });
  if (job.unknown) console.log("being found out:", job.name);
}

export async function watching() {
  for await (const event of gateway.watch({ where: (job) => job.labels["team"] === "search" })) {
    if (event.kind === "synced") console.log("live from here on");
    else console.log(event.kind, event.fineTune.displayName, stateName(event.fineTune.state));
  }
}

export async function listing() {
  for await (const job of gateway.list({ filter: 'state = AVAILABLE AND labels.team = "search"', orderBy: "display_name" })) {
    await gateway.update(job.name, { labels: { stage: "prod" }, removeLabels: ["draft"] });
  }
}

export async function failing() {
  try {
    await gateway.submit({ displayName: "cats" });
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    for (const { field, description } of error.violations) console.log(field, description);
    console.log(error.reason, error.retryDelayMs, error.requestId);
  }
}
