import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";

import { hostAndPort, isLoopback, isSecure, type Settings, tlsName } from "./channel.js";
import type { TlsFiles } from "./files.js";

/** How long each step may take. */
const PATIENCE_MS = 2_000;
const HTTP_REQUEST = "GET / HTTP/1.0\r\n\r\n";

type Address = { host: string; port: number; autoSelectFamily: boolean };
type Failure = Error & { code?: string };

export function couldNotConnect(target: string, afterMs: number, why: string): string {
  return `could not connect to ${target} in ${Number((afterMs / 1000).toPrecision(3))} s${why ? `: ${why}` : ""}`;
}

/** Half a sentence about why no call gets through; empty if nothing is wrong that can be seen from here. Connects once more; takes seconds at most. */
export async function whyUnreachable(target: string, settings: Settings, files: TlsFiles): Promise<string> {
  const found = hostAndPort(target);
  if (!found) return "";
  // A host may have several addresses.
  const address = { ...found, autoSelectFamily: true };
  const proxy = isLoopback(target) ? undefined : proxyFor(address);
  if (proxy) return `the way there is the proxy of ${proxy}; is it the proxy's to connect there? If not, name the host in no_proxy`;
  const failure = await hear(connectTcp({ ...address }), "connect").then(() => undefined, (error: Failure) => error);
  if (!failure) return isSecure(settings) ? whyNoTls(address, target, settings, files) : whyNotPlain(address);
  if (failure.code === "ENOTFOUND" || failure.code === "EAI_AGAIN") return `there is no host ${address.host}`;
  if (failure.code === "ECONNREFUSED") return "connection refused; is the gateway running there?";
  return failure.code === "SILENT" ? "no answer" : failure.message;
}

/** The environment's variable that names the proxy, as grpc-js reads them. */
function proxyFor({ host }: Address): string | undefined {
  const names = (process.env["no_grpc_proxy"] ?? process.env["no_proxy"] ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  if (names.some((name) => host === name || host.endsWith(name))) return undefined;
  return ["grpc_proxy", "https_proxy", "http_proxy"].find((name) => process.env[name]);
}

/** What comes with the event. The socket is closed then; one that says nothing fails with the code SILENT. */
function hear<T = void>(socket: Socket, event: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    socket.setTimeout(PATIENCE_MS, () => reject(Object.assign(new Error("no answer"), { code: "SILENT" })));
    socket.on("error", reject);
    socket.on("close", () => reject(Object.assign(new Error("the connection was closed"), { code: "CLOSED" })));
    socket.on(event, resolve);
  }).finally(() => socket.destroy());
}

const isAlert = (error: Failure) => Boolean(error.code?.includes("ALERT"));

async function whyNoTls(address: Address, target: string, settings: Settings, files: TlsFiles): Promise<string> {
  const name = tlsName(target, settings);
  const options: ConnectionOptions = { ...address, ...files, ...name.options, ALPNProtocols: ["h2"] };
  const socket: TLSSocket = connectTls(options);
  let spokeTls = false;
  socket.on("secureConnect", () => (spokeTls = true));
  // An HTTP/2 server speaks first. A client's certificate that it does not like it refuses only after the handshake.
  const failure = await hear(socket, "data").then(() => undefined, (error: Failure) => error);
  if (!failure) return "";
  switch (failure.code) {
    case "CERT_HAS_EXPIRED":
      return "its certificate has expired";
    case "CERT_NOT_YET_VALID":
      return "its certificate is not valid yet; is this machine's clock right?";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `its certificate is not for ${name.expected}; call it by a name that the certificate has`;
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "CERT_SIGNATURE_FAILURE":
      return `its certificate is not signed by an authority ${settings.tlsCa ? `in ${settings.tlsCa}` : "that this system trusts; give its authority as tlsCa"}`;
  }
  if (spokeTls || isAlert(failure)) {
    if (settings.tlsCert) return `it does not accept the certificate ${settings.tlsCert}`;
    return "it asks for a client certificate; give yours as tlsCert and tlsKey";
  }
  if (failure.code === "SILENT") return "what is there does not answer; is it the right port?";
  return "what is there does not speak TLS; is it the right port, and is the gateway one with TLS?";
}

async function whyNotPlain(address: Address): Promise<string> {
  const encrypted = connectTls({ ...address, rejectUnauthorized: false });
  if (await hear(encrypted, "secureConnect").then(() => true, isAlert)) {
    return "it speaks TLS; give the authority of its certificate as tlsCa, or tls: true";
  }
  const plain = connectTcp({ ...address });
  plain.write(HTTP_REQUEST);
  const answer = await hear<Buffer>(plain, "data").catch(() => Buffer.alloc(0));
  return answer.toString("latin1").startsWith("HTTP/") ? "what is there speaks HTTP, not gRPC; is it the right port?" : "";
}
