// A peer of `fleet-server` for `cargo xtask bench identity`: `node peer.mjs NAME SETTINGS`, where SETTINGS
// is JSON. Prints `listening on URL` and one line `ready JSON` with what requests need.

import { createServer } from "node:http";

const [name, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const password = "Copper walrus, 7 ledgers";

function listen(handler) {
  return new Promise((resolve) => {
    const server = createServer(handler);
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

async function betterAuth() {
  const { betterAuth } = await import("better-auth");
  const { getMigrations } = await import("better-auth/db/migration");
  const { toNodeHandler } = await import("better-auth/node");
  const { bearer, jwt } = await import("better-auth/plugins");
  const { apiKey } = await import("@better-auth/api-key");
  const { default: pg } = await import("pg");
  const { default: bcrypt } = await import("bcrypt");
  let handle;
  const url = await listen((request, response) => handle(request, response));
  const options = {
    baseURL: url,
    secret: "a secret of the benchmark, long enough",
    database: new pg.Pool({ host: settings.socket, user: "postgres", database: settings.database }),
    emailAndPassword: {
      enabled: true,
      password: {
        hash: (password) => bcrypt.hash(password, settings.cost),
        verify: ({ password, hash }) => bcrypt.compare(password, hash),
      },
    },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { level: "error" },
    plugins: [bearer(), jwt(), apiKey({ rateLimit: { enabled: false } })],
  };
  const { runMigrations } = await getMigrations(options);
  await runMigrations();
  const auth = betterAuth(options);
  const routes = toNodeHandler(auth);
  handle = async (request, response) => {
    if (request.url !== "/verify-key") return routes(request, response);
    const { key } = await body(request);
    const { valid } = await auth.api.verifyApiKey({ body: { key } });
    response.writeHead(valid ? 200 : 401).end();
  };
  const people = [];
  for (let number = 0; number < settings.people; number += 1) {
    const email = `person${number}@example.com`;
    const { user, token } = await auth.api.signUpEmail({ body: { email, password, name: "Person" } });
    people.push({ email, token, id: user.id });
  }
  const keys = [];
  for (let number = 0; number < settings.keys; number += 1) {
    const { key } = await auth.api.createApiKey({ body: { name: "bench", userId: people[0].id } });
    keys.push(key);
  }
  return { url, ready: { people, keys } };
}

async function oidcProvider() {
  const { default: Provider } = await import("oidc-provider");
  let handle;
  const url = await listen((request, response) => handle(request, response));
  const client = {
    client_id: "bench",
    client_secret: "bench-secret-of-the-benchmark",
    redirect_uris: ["https://client.example.com/cb"],
    grant_types: ["authorization_code", "refresh_token", "client_credentials"],
  };
  const provider = new Provider(url, {
    clients: [client],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: { introspection: { enabled: true }, clientCredentials: { enabled: true } },
    rotateRefreshToken: true,
    ttl: { AccessToken: 900, Grant: 604800, RefreshToken: 604800 },
  });
  provider.on("server_error", (_, error) => console.error(error));
  handle = provider.callback();
  const registered = await provider.Client.find("bench");
  const [refresh, access] = [[], []];
  for (let number = 0; number < settings.sessions; number += 1) {
    const accountId = `person${number % settings.people}`;
    const grant = new provider.Grant({ clientId: "bench", accountId });
    grant.addOIDCScope("openid offline_access");
    const about = { client: registered, accountId, grantId: await grant.save(), scope: "openid offline_access", gty: "authorization_code" };
    refresh.push(await new provider.RefreshToken({ ...about, rotations: 0 }).save());
    access.push(await new provider.AccessToken(about).save());
  }
  return { url, ready: { refresh: refresh.slice(0, 64), access: access.slice(0, 64) } };
}

const { url, ready } = await { "better-auth": betterAuth, "oidc-provider": oidcProvider }[name]();
console.log(`listening on ${url}`);
console.log(`ready ${JSON.stringify(ready)}`);
