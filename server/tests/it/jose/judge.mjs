// Judges an access token of a running server with jose, and shows the server others that are made with it.
//
// judge.mjs check URL TOKEN ALG TYP ISSUER AUDIENCE   prints the claims
// judge.mjs forge URL TOKEN                           prints what became of tokens that others signed
// judge.mjs missay URL TOKEN SECRET                   the same of well signed ones with wrong claims

import { createServer } from "node:http";
import {
  SignJWT,
  UnsecuredJWT,
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  jwtVerify,
} from "jose";

const [task, url, token, ...more] = process.argv.slice(2);
const published = new URL("/.well-known/jwks.json", url);
const bytes = (text) => new TextEncoder().encode(text);

async function check(alg, typ, issuer, audience) {
  const keys = createRemoteJWKSet(published);
  const requiredClaims = ["exp", "iat", "nbf", "sub", "jti"];
  const expected = { algorithms: [alg], typ, issuer, audience, requiredClaims };
  const { payload } = await jwtVerify(token, keys, expected);
  const wrongs = [
    [token, { issuer: "https://evil.test" }, errors.JWTClaimValidationFailed],
    [token, { audience: "another-api" }, errors.JWTClaimValidationFailed],
    [token, { typ: "secevent+jwt" }, errors.JWTClaimValidationFailed],
    [token, { currentDate: new Date(payload.exp * 1000) }, errors.JWTExpired],
    [token, { algorithms: ["PS256"] }, errors.JOSEAlgNotAllowed],
    [changed(token), {}, errors.JWSSignatureVerificationFailed],
  ];
  for (const [shown, wrong, why] of wrongs) {
    const error = await jwtVerify(shown, keys, { ...expected, ...wrong }).catch((error) => error);
    if (!(error instanceof why)) throw new Error(`${JSON.stringify(wrong)}: ${error}`);
  }
  return payload;
}

// The token with one letter of its signature changed.
function changed(token) {
  const [header, claims, signature] = token.split(".");
  const letter = signature[9] === "A" ? "B" : "A";
  return [header, claims, signature.slice(0, 9) + letter + signature.slice(10)].join(".");
}

async function forge() {
  const { keys } = await (await fetch(published)).json();
  const header = decodeProtectedHeader(token);
  const claims = decodeJwt(token);
  const ours = keys.find((key) => key.kid === header.kid);
  const pem = await exportSPKI(await importJWK(ours, "RS256", { extractable: true }));
  const own = await generateKeyPair("RS256", { extractable: true });
  const curve = await generateKeyPair("ES256");
  const jwk = { ...(await exportJWK(own.publicKey)), alg: "RS256", use: "sig", kid: header.kid };
  const trap = await trapOf(jwk);
  const signed = (key, other) =>
    new SignJWT(claims).setProtectedHeader({ ...header, ...other }).sign(key);
  const hs256 = (secret, other) => signed(bytes(secret), { alg: "HS256", ...other });
  const outcomes = await shown({
    "as it was": token,
    "alg none": new UnsecuredJWT(claims).encode(),
    "HS256 with the public key as PEM": hs256(pem),
    "HS256 with the public key as PEM and a line end": hs256(`${pem.trim()}\n`),
    "HS256 with the public key as JWK": hs256(JSON.stringify(ours)),
    "HS256 under a kid that is SQL": hs256("key", { kid: "x' UNION SELECT 'key' --" }),
    "HS256 under a kid that is a path": hs256("\0", { kid: "../../../../dev/null" }),
    "another key": signed(own.privateKey),
    "another key under a kid that is a path": signed(own.privateKey, { kid: "/dev/stdin" }),
    "another key under a kid that is an address": signed(own.privateKey, { kid: trap.address }),
    "another key brought along as jwk": signed(own.privateKey, { jwk }),
    "another key behind jku": signed(own.privateKey, { jku: trap.address }),
    "another key behind jku under its own kid": signed(own.privateKey, { jku: trap.address, kid: "own" }),
    "another key behind x5u": signed(own.privateKey, { x5u: trap.address }),
    "a key of another kind": signed(curve.privateKey, { alg: "ES256" }),
  });
  return { outcomes, fetched: trap.close() };
}

async function missay(secret) {
  const header = decodeProtectedHeader(token);
  const claims = decodeJwt(token);
  const now = Math.floor(Date.now() / 1000);
  const saying = (claim, other) =>
    new SignJWT({ ...claims, ...claim }).setProtectedHeader({ ...header, ...other }).sign(bytes(secret));
  const outcomes = await shown({
    "as it was": saying({}),
    "run out": saying({ exp: now - 60 }),
    "begins later": saying({ nbf: now + 3600 }),
    "made later": saying({ iat: now + 3600 }),
    "of another issuer": saying({ iss: "https://evil.test" }),
    "for another audience": saying({ aud: "another-api" }),
    "for devices' audience": saying({ aud: "fleetd-device" }),
    "of another type": saying({}, { typ: "secevent+jwt" }),
    "of no type": saying({}, { typ: undefined }),
    "under an unknown kid": saying({}, { kid: "unknown" }),
  });
  return { outcomes, fetched: 0 };
}

// What the server answers to each token.
async function shown(tokens) {
  const outcomes = {};
  for (const [name, made] of Object.entries(tokens)) {
    const headers = { authorization: `Bearer ${await made}` };
    const reply = await fetch(new URL("/auth/user", url), { headers });
    const { type } = await reply.json();
    outcomes[name] = {
      status: reply.status,
      kind: reply.headers.get("content-type"),
      problem: type ?? null,
    };
  }
  return outcomes;
}

// A place that hands out a forger's key, and counts who asks.
async function trapOf(jwk) {
  let asked = 0;
  const server = createServer((_request, reply) => {
    asked += 1;
    reply.setHeader("content-type", "application/json").end(JSON.stringify({ keys: [jwk] }));
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const close = () => {
    server.close();
    return asked;
  };
  return { address: `http://127.0.0.1:${server.address().port}/jwks.json`, close };
}

const tasks = { check, forge, missay };
console.log(JSON.stringify(await tasks[task](...more)));
