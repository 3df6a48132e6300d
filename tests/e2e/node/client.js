// A Node.js client made from the protos: creates, lists, watches and downloads. Prints one JSON object; exits 1 on any failure.
//   node client.js GATEWAY_ADDRESS PROTO_FOLDER DATASET_URL
'use strict';
const crypto = require('crypto');
const http = require('http');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, protos, dataset] = process.argv.slice(2);
const definition = loader.loadSync(path.join(protos, 'segmind/finetune/v1/fine_tune_service.proto'), {
  includeDirs: [protos], longs: String, enums: String, defaults: true, oneofs: true, keepCase: false,
});
const { FineTuneService } = grpc.loadPackageDefinition(definition).segmind.finetune.v1;
const client = new FineTuneService(address, grpc.credentials.createInsecure());
const deadline = (seconds) => ({ deadline: Date.now() + seconds * 1000 });
const call = (method, request, seconds = 30) => new Promise((resolve, reject) => {
  client[method](request, deadline(seconds), (error, answer) => (error ? reject(error) : resolve(answer)));
});

function watchUntilAvailable() {
  const states = [];
  let onSynced;
  const synced = new Promise((resolve) => { onSynced = resolve; });
  const available = new Promise((resolve, reject) => {
    // Not gRPC's deadline, whose timer keeps the process until then, also when the stream has ended.
    const stream = client.watchFineTunes({ delivery: 'EVERY' });
    setTimeout(() => reject(new Error('the job is not available after two minutes')), 120_000).unref();
    stream.on('data', (response) => {
      if (response.event === 'synced') onSynced();
      if (response.event !== 'change') return;
      states.push(response.change.fineTune.state);
      if (['AVAILABLE', 'FAILED'].includes(response.change.fineTune.state)) {
        resolve(states);
        stream.cancel();
      }
    });
    stream.on('error', (error) => { if (error.code !== grpc.status.CANCELLED) reject(error); });
  });
  return { synced, available };
}

function download(url) {
  return new Promise((resolve, reject) => {
    http.get(url, (response) => {
      if (response.statusCode >= 300 && response.statusCode < 400) {
        response.resume();  // Else its connection, and with it this process, stays until the server gives up.
        download(new URL(response.headers.location, url)).then(resolve, reject);
        return;
      }
      const digest = crypto.createHash('sha256');
      let size = 0;
      response.on('data', (chunk) => { digest.update(chunk); size += chunk.length; });
      response.on('end', () => resolve({ code: response.statusCode, size, sha256: digest.digest('hex') }));
    }).on('error', reject);
  });
}

async function main() {
  const watch = watchUntilAvailable();
  await watch.synced;
  const made = await call('createFineTune', {
    requestId: crypto.randomUUID(),
    fineTune: {
      displayName: 'node-cats', dataSourceUri: dataset, instancePrompt: 'a photo of TOK cat', triggerWord: 'TOK',
      baseModel: 'FAST_FLUX', theme: 'subject', labels: { client: 'node' },
    },
  });
  const states = await watch.available;
  const listed = await call('listFineTunes', { filter: 'labels.client = "node"' });
  const job = await call('getFineTune', { name: made.name });
  const weights = await download(job.weightsUri);
  console.log(JSON.stringify({ name: made.name, states, listed: listed.fineTunes.map((f) => f.name), weights }));
  client.close();
}

main().catch((error) => { console.error(error); process.exit(1); });
