// Fetches targets as tuf-js does: read_repository.mjs ROOT URL OUT NOW NAME... prints `name sha256`.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [root, url, out, now, ...names] = process.argv.slice(2);

// The moment of the tests.
const Clock = Date;
globalThis.Date = class extends Clock {
  constructor(...args) {
    super(...(args.length ? args : [now]));
  }
};

const { Updater } = await import("tuf-js");
mkdirSync(join(out, "metadata"), { recursive: true });
copyFileSync(root, join(out, "metadata", "root.json"));
const updater = new Updater({
  metadataDir: join(out, "metadata"),
  metadataBaseUrl: url,
  targetDir: out,
  targetBaseUrl: `${url}/targets`,
});
await updater.refresh();
for (const name of names) {
  const target = await updater.getTargetInfo(name);
  if (!target) throw new Error(`no target ${name}`);
  const file = join(out, createHash("sha256").update(name).digest("hex"));
  const content = readFileSync(await updater.downloadTarget(target, file));
  console.log(name, createHash("sha256").update(content).digest("hex"));
}
