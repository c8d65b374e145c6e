// The client of `cargo xtask bench identity`: `node client.mjs TASK SETTINGS`, where SETTINGS is JSON.
// Prints one line of JSON.
//
// setup     makes the owner of a fleet-server, people, their sessions and API keys, and devices: one that signs
//           nothing, and one for each algorithm that a device may sign with
// sessions  signs in again and again, and uses each session once
// load      sends requests: `total` of them one after the other on each of `workers` connections, or
//           `rate` a second for `seconds`; of each answer, the field `carries` takes the place of `$` in the next; with `signer` each is signed (RFC 9421)

import { createHash, createPrivateKey, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { Agent, request } from "node:http";

const password = "Copper walrus, 7 ledgers";
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

function send({ url, method = "GET", path, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const options = { method, agent, headers: { "x-fleetd-activity": "background", ...headers } };
    if (body !== undefined) {
      options.headers["content-type"] ??= "application/json";
      options.headers["content-length"] = Buffer.byteLength(body);
    }
    const call = request(new URL(path, url), options, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    call.on("error", reject);
    call.end(body);
  });
}

async function post(url, path, content, token) {
  const headers = { origin: url, ...(token && { authorization: `Bearer ${token}` }) };
  const { status, text } = await send({ url, method: "POST", path, headers, body: JSON.stringify(content) });
  if (status >= 300) throw new Error(`POST ${path}: ${status} ${text}`);
  return text ? JSON.parse(text) : {};
}

function makeSigner(algorithm) {
  const ed25519 = algorithm === "ed25519";
  const pair = ed25519 ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = pair.publicKey.export({ type: "spki", format: "der" });
  const id = spki.subarray(ed25519 ? -32 : -65).toString("hex");
  return { algorithm, id, pem: pair.privateKey.export({ type: "pkcs8", format: "pem" }) };
}

// The headers that sign a request as devices do.
function signed({ algorithm, id, pem }, method, path, body) {
  const digest = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
  const created = Math.floor(Date.now() / 1000);
  const input =
    `("@method" "@path" "content-digest");created=${created};nonce="${randomUUID()}";keyid="${id}"` +
    `;alg="${algorithm}";tag="fleetd-device"`;
  const base = `"@method": ${method}\n"@path": ${path}\n"content-digest": ${digest}\n"@signature-params": ${input}`;
  const key = { key: createPrivateKey(pem), dsaEncoding: "ieee-p1363" };
  const signature = sign(algorithm === "ed25519" ? null : "sha256", Buffer.from(base), key).toString("base64");
  return { "content-digest": digest, "signature-input": `device=${input}`, signature: `device=:${signature}:` };
}

async function enroll(url, secret, signer, uuid) {
  const path = "/api/fleet/orbit/enroll";
  const device = { hardware_uuid: uuid, hostname: uuid, platform: "debian" };
  const body = JSON.stringify({ enroll_secret: secret, device_key: signer?.id, ...device });
  const headers = signer ? signed(signer, "POST", path, body) : {};
  const { status, text } = await send({ url, method: "POST", path, headers, body });
  if (status !== 200) throw new Error(`POST ${path}: ${status} ${text}`);
  return { node_key: JSON.parse(text).orbit_node_key, signer };
}

async function setup({ url, code, people, keys }) {
  const owner = { email: "person0@example.com", name: "Person", password, client: "cli" };
  const tokens = await post(url, "/auth/register", { ...owner, setup_code: code, organization: "Bench" });
  const everybody = [owner.email];
  for (let number = 1; number < people; number += 1) {
    const email = `person${number}@example.com`;
    await post(url, "/users", { email, name: "Person", role: "admin", password }, tokens.access_token);
    everybody.push(email);
  }
  const sessions = [];
  for (const email of everybody) {
    const made = await post(url, "/auth/login", { email, password, client: "cli" });
    sessions.push({ email, token: made.access_token, refresh: made.refresh_token });
  }
  const made = [];
  for (let number = 0; number < keys; number += 1) {
    const key = { name: `key ${number}`, scopes: ["billing:read"] };
    made.push((await post(url, "/api-keys", key, tokens.access_token)).key);
  }
  const { secret } = await post(url, "/enroll-secrets", { name: "bench" }, tokens.access_token);
  const devices = [await enroll(url, secret, undefined, "unsigned")];
  for (const algorithm of ["ed25519", "ecdsa-p256-sha256"]) {
    devices.push(await enroll(url, secret, makeSigner(algorithm), algorithm));
  }
  return { people: sessions, keys: made, devices };
}

async function sessions({ url, count, people, login, use, token }) {
  const one = async (number) => {
    const email = `person${number % people}@example.com`;
    const made = await post(url, login, { email, password, client: "cli" });
    const used = await send({ url, path: use, headers: { authorization: `Bearer ${made[token]}` } });
    if (used.status !== 200) throw new Error(`GET ${use}: ${used.status} ${used.text}`);
  };
  let next = 0;
  const work = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: 4 }, work));
  return { count };
}

async function load({ url, total, workers = 1, rate, seconds, exchange, carried }) {
  const times = [];
  const failures = {};
  const fill = (text, value) => text?.replaceAll("$", value);
  const once = async (turn) => {
    const value = carried[turn % carried.length];
    const headers = Object.fromEntries(Object.entries(exchange.headers ?? {}).map(([name, text]) => [name, fill(text, value)]));
    const body = fill(exchange.body, value);
    if (exchange.signer) Object.assign(headers, signed(exchange.signer, exchange.method, exchange.path, body));
    const begin = performance.now();
    const { status, text } = await send({ url, ...exchange, headers, body });
    times.push(performance.now() - begin);
    if (status !== 200) failures[`${status} ${text.slice(0, 200)}`] = 1;
    else if (exchange.carries) carried[turn % carried.length] = JSON.parse(text)[exchange.carries];
  };
  const begin = performance.now();
  if (rate) {
    const open = [];
    for (let number = 0; number < rate * seconds; number += 1) {
      const wait = begin + (number * 1000) / rate - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      open.push(once(number));
    }
    await Promise.all(open);
  } else {
    let next = 0;
    const work = async (worker) => {
      while (total ? next < total : performance.now() - begin < seconds * 1000) {
        next += 1;
        // What is carried belongs to one worker; else all take turns.
        await once(exchange.carries ? worker : next);
      }
    };
    await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  }
  const elapsed = (performance.now() - begin) / 1000;
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  return { count: times.length, seconds: elapsed, p50_ms: at(0.5), p99_ms: at(0.99), failures: Object.keys(failures) };
}

const [task, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const report = JSON.stringify(await { setup, sessions, load }[task](settings));
// Only once all of it is in the pipe, which holds less than what is told of thousands of sessions.
process.stdout.write(`${report}\n`, () => process.exit(0));
