import { type ChannelOptions, ChannelCredentials, credentials } from "@grpc/grpc-js";
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";

import type { TlsFiles } from "./files.js";
import { VERSION } from "./version.js";

const SERVICE = "segmind.finetune.v1.FineTuneService";
const retry = (codes: string[]) => ({
  maxAttempts: 5, initialBackoff: "0.1s", maxBackoff: "5s", backoffMultiplier: 2, retryableStatusCodes: codes,
});

/** What the gateway recommends to all clients; a test compares them. */
export const SERVICE_CONFIG = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [{
    name: ["CreateFineTune", "GetFineTune", "ListFineTunes", "WaitFineTune", "CreateUploadUrl", "GetGatewayStatus"].map(
      (method) => ({ service: SERVICE, method })),
    waitForReady: true,
    retryPolicy: retry(["UNAVAILABLE", "CANCELLED"]),
  }, {
    name: [{ service: SERVICE, method: "UpdateFineTune" }],
    waitForReady: true,
    retryPolicy: retry(["CANCELLED"]),
  }],
  retryThrottling: { maxTokens: 1000, tokenRatio: 0.1 },
};

/** How a gateway is reached. Paths of PEM files and of a file with a bearer token; all are reread when they change. */
export interface Settings {
  /** TLS with the system's authorities. Implied by tlsCa and tlsCert. */
  tls?: boolean;
  /** The authorities to trust instead of the system's. */
  tlsCa?: string;
  /** The client's own certificate, and its key. */
  tlsCert?: string;
  tlsKey?: string;
  /** The name in the gateway's certificate, if it is not the one that is dialled. */
  tlsServerName?: string;
  /** Sent as `authorization: Bearer …`. */
  tokenFile?: string;
  /** Send the token without encryption beyond this machine, too. */
  allowInsecureToken?: boolean;
  /** After how many milliseconds a transfer or a wait gives up a gateway that cannot be reached (30,000). Other calls have their own timeoutMs. */
  connectTimeoutMs?: number;
  /** Added to the client's own. */
  channelOptions?: ChannelOptions;
}

export function isSecure(settings: Settings): boolean {
  return Boolean(settings.tls || settings.tlsCa || settings.tlsCert);
}

const SCHEME = /^(dns:(\/\/[^/]*\/)?|ipv4:|ipv6:|passthrough:\/\/\/)/;
const OTHER_KIND = /^((unix|unix-abstract|vsock):|(?!dns:|ipv[46]:|passthrough:)[a-z][a-z0-9+.-]*:\/\/)/;

/** Undefined for what has no such, as `unix:/path`. */
export function hostAndPort(target: string): { host: string; port: number } | undefined {
  const found = /^(\[[^\]]+\]|[^:/]+):(\d{1,5})$/.exec(target.replace(SCHEME, "").split(",")[0]!);
  const port = Number(found?.[2]);
  return found && port > 0 && port < 65536 ? { host: found[1]!.replace(/^\[|\]$/g, ""), port } : undefined;
}

/** Whether what is sent there stays on this machine. */
export function isLoopback(target: string): boolean {
  let host = target.replace(SCHEME, "");
  if (/^unix(-abstract)?:/.test(host)) return true;
  host = host.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return host === "localhost" || (isIP(host) === 4 && host.startsWith("127.")) || host === "::1";
}

export function checkSettings(target: string, settings: Settings): void {
  if (target === "") throw new TypeError("the gateway's address is empty");
  if (/^https?:\/\//i.test(target)) throw new TypeError("the gateway's address is HOST:PORT, without http:// or https://");
  if (!hostAndPort(target) && !OTHER_KIND.test(target)) throw new TypeError(`the gateway's address is HOST:PORT, and '${target}' has no port`);
  if (Boolean(settings.tlsCert) !== Boolean(settings.tlsKey)) throw new TypeError("a TLS certificate needs its key, and a key its certificate");
  if (settings.tokenFile && !isSecure(settings) && !settings.allowInsecureToken && !isLoopback(target)) {
    throw new TypeError(`the token would be sent to ${target} without encryption: use TLS`);
  }
}

/** TLS has no server name that is an address, and Node.js warns of one: a name stands in for it, and the certificate is compared with the address. */
const NAME_OF_AN_ADDRESS = "address.invalid";

/** What the gateway's certificate must have, and the options of node:tls for it. */
export function tlsName(target: string, settings: Settings) {
  const expected = settings.tlsServerName ?? hostAndPort(target)?.host ?? target;
  const address = isIP(expected) !== 0;
  const compare = (_: string, certificate: PeerCertificate) => checkServerIdentity(expected, certificate);
  return { expected, address, options: { servername: address ? NAME_OF_AN_ADDRESS : expected, checkServerIdentity: compare } };
}

export function channelCredentials(target: string, settings: Settings, files: TlsFiles): ChannelCredentials {
  if (!isSecure(settings)) return credentials.createInsecure();
  const { checkServerIdentity: compare } = tlsName(target, settings).options;
  return credentials.createSsl(files.ca ?? null, files.key ?? null, files.cert ?? null, { checkServerIdentity: compare });
}

export function channelOptions(target: string, settings: Settings): ChannelOptions {
  const name = tlsName(target, settings);
  return {
    "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
    "grpc.service_config_disable_resolution": 1,
    "grpc.primary_user_agent": `finetune-gateway-client-typescript/${VERSION}`,
    "grpc.max_receive_message_length": 64 << 20,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // A connection of its own for each client; a gateway that is back is found soon.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5_000,
    "grpc.dns_min_time_between_resolutions_ms": 1_000,
    "grpc.client_idle_timeout_ms": 1_800_000,
    ...(isLoopback(target) ? { "grpc.enable_http_proxy": 0 } : {}),
    ...(name.address || settings.tlsServerName ? { "grpc.ssl_target_name_override": name.options.servername } : {}),
    ...(settings.tlsServerName ? { "grpc.default_authority": settings.tlsServerName } : {}),
    ...settings.channelOptions,
  };
}
