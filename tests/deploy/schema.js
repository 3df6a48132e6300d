// Checks Kubernetes objects (a JSON array on standard input) against the schemas of the Kubernetes API
// and of the Prometheus operator: values by the JSON schemas, and field names by the TypeScript types,
// because the schemas let an unknown field pass, and a misspelt security setting is an absent one.
//   node schema.js < objects.json
'use strict';

const fs = require('fs');
const path = require('path');
const ts = require('typescript');

const GROUPS = {
  'v1': 'kubernetes-models/v1',
  'apps/v1': 'kubernetes-models/apps/v1',
  'autoscaling/v2': 'kubernetes-models/autoscaling/v2',
  'networking.k8s.io/v1': 'kubernetes-models/networking.k8s.io/v1',
  'policy/v1': 'kubernetes-models/policy/v1',
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
};

function checkValues(objects) {
  const failures = [];
  for (const object of objects) {
    const what = `${object.kind} ${object.metadata && object.metadata.name}`;
    const group = GROUPS[object.apiVersion];
    const model = group && require(group)[object.kind];
    if (!model) {
      failures.push(`${what}: no schema for ${object.apiVersion}`);
      continue;
    }
    try {
      new model(object).validate();
    } catch (error) {
      failures.push(`${what}: ${error.message}`);
    }
  }
  return failures;
}

function checkFieldNames(objects) {
  const source = objects.map((object, i) =>
      `import {I${object.kind} as T${i}} from '${GROUPS[object.apiVersion]}';\n` +
      `export const o${i}: T${i} = ${JSON.stringify(object, null, 1)};\n`).join('');
  // In node_modules, so that the imports resolve and nothing is left in the tree.
  const file = path.join(__dirname, 'node_modules', `.objects-${process.pid}.ts`);
  fs.writeFileSync(file, source);
  try {
    const program = ts.createProgram([file], {
      noEmit: true, strict: true, skipLibCheck: true, types: [],
      target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS,
      moduleResolution: ts.ModuleResolutionKind.Node10,
    });
    return ts.getPreEmitDiagnostics(program).map(d => ts.flattenDiagnosticMessageText(d.messageText, '\n'));
  } finally {
    fs.unlinkSync(file);
  }
}

const objects = JSON.parse(fs.readFileSync(0, 'utf8'));
let failures = checkValues(objects);
if (!failures.length) failures = checkFieldNames(objects);
for (const failure of failures) console.error(failure);
process.exit(failures.length ? 1 : 0);
