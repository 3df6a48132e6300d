// Drives the TypeScript client: see ../README.md. The client is the built package in FINETUNE_TYPESCRIPT_CLIENT.
import { createInterface } from "node:readline";

const home = process.env.FINETUNE_TYPESCRIPT_CLIENT;
const { ClosedError, connect, GatewayError, stateName, WaitTimeoutError } = await import(`${home}/dist/index.js`);
const { FineTune, GatewayStatus } = await import(`${home}/dist/v1.js`);

let gateway;
const aborts = new Map();
const ended = new Map();

const say = (message) => process.stdout.write(JSON.stringify(message, (_, value) => (typeof value === "bigint" ? value.toString() : value)) + "\n");

function described(error) {
  if (error instanceof WaitTimeoutError) return { code: "WAIT_TIMEOUT", message: error.message };
  if (error instanceof ClosedError || error?.name === "AbortError") return { code: "CANCELLED", message: error.message };
  if (!(error instanceof GatewayError)) return { code: "LOCAL", message: String(error?.message ?? error) };
  return {
    code: error.codeName, reason: error.reason, message: error.message, request_id: error.requestId, violations: error.violations, quota: error.quota,
    retry_delay: error.retryDelayMs === undefined ? undefined : error.retryDelayMs / 1000,
  };
}

async function watch(command, signal) {
  const where = command.state ? (job) => stateName(job.state) === command.state : undefined;
  for await (const { kind, fineTune } of gateway.watch({ names: command.names, where, signal })) {
    const job = fineTune ? { name: fineTune.name, state: stateName(fineTune.state), revision: fineTune.revision } : {};
    say({ id: command.id, event: { kind, ...job } });
    if (command.slow_ms) await new Promise((done) => setTimeout(done, command.slow_ms));
  }
  return {};
}

async function execute(command, signal) {
  const bounds = { signal, timeoutMs: command.timeout === undefined ? undefined : command.timeout * 1000 };
  let progress = 0;
  const onProgress = () => progress++;
  switch (command.op) {
    case "connect":
      gateway?.close();
      gateway = connect(command.target, {
        tlsCa: command.tls_ca, tlsCert: command.tls_cert, tlsKey: command.tls_key, tlsServerName: command.tls_server_name, tokenFile: command.token_file,
        connectTimeoutMs: command.connect_timeout === undefined ? undefined : command.connect_timeout * 1000,
      });
      return {};
    case "close":
      gateway.close();
      return {};
    case "cancel":
      aborts.get(command.target).abort();
      await ended.get(command.target);
      return {};
    case "submit": {
      const made = await gateway.submit(FineTune.fromJSON(command.fine_tune), { ...bounds, requestId: command.request_id, validateOnly: command.validate_only });
      return { fine_tune: FineTune.toJSON(made.fineTune), request_id: made.requestId, unknown: made.unknown };
    }
    case "get":
      return { fine_tune: FineTune.toJSON(await gateway.get(command.name, bounds)) };
    case "list": {
      const names = [];
      for await (const job of gateway.list({ filter: command.filter, orderBy: command.order_by, pageSize: command.page_size })) names.push(job.name);
      return { names };
    }
    case "update":
      return {
        fine_tune: FineTune.toJSON(await gateway.update(command.name, {
          visibility: command.visibility, labels: command.labels, removeLabels: command.remove_labels, etag: command.etag,
        })),
      };
    case "status":
      return { status: GatewayStatus.toJSON(await gateway.status(bounds)) };
    case "wait":
      return { fine_tune: FineTune.toJSON(await gateway.wait(command.name, command.until, bounds)) };
    case "watch":
      return watch(command, signal);
    case "upload": {
      const made = await gateway.upload(command.path, { publicRead: command.public_read, fileName: command.file_name, onProgress, signal });
      return { data_source_uri: made.dataSourceUri, size_bytes: made.sizeBytes, sha256: Buffer.from(made.sha256).toString("hex"), progress };
    }
    case "upload_url": {
      const made = await gateway.uploadUrl(command.file_name, { publicRead: command.public_read });
      return { upload_uri: made.uploadUri, data_source_uri: made.dataSourceUri };
    }
    case "download": {
      const done = await gateway.download(command.name, command.path, { onProgress, signal });
      return { size_bytes: done.sizeBytes, sha256: done.sha256, resumed_bytes: done.resumedBytes, progress };
    }
    default:
      throw new Error(`there is no op ${command.op}`);
  }
}

const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  const command = JSON.parse(line);
  const abort = new AbortController();
  aborts.set(command.id, abort);
  ended.set(command.id, execute(command, abort.signal).then(
    (ok) => say({ id: command.id, ok }), (error) => say({ id: command.id, error: described(error) })));
});
input.on("close", () => process.exit(0));
