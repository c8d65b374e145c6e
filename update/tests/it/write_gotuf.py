"""Makes a repository as go-tuf 0.7 and Fleet's `fleetctl updates` do: write_gotuf.py DIR NOW PASSPHRASE [old] [plain] [zone].

Written from their formats, with no TUF library, canonical JSON excepted: no consistent snapshots, SHA-512 alone, keys with more fields than the
specification has, private keys sealed with NaCl's secretbox. With `old`, all of it
expired a year ago; with `plain`, keys are not sealed; with `zone`, expiry is in the zone of whoever signed.
"""

import base64
import datetime
import hashlib
import json
import os
import pathlib
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from nacl.secret import SecretBox
from securesystemslib.formats import encode_canonical as canonical

dir, now, passphrase, *flags = sys.argv[1:]
dir, zone = pathlib.Path(dir), datetime.timezone(datetime.timedelta(hours=2))
until = datetime.timedelta(days=-365 if "old" in flags else 365)
EXPIRES = (datetime.datetime.fromisoformat(now).astimezone(zone) + until).strftime("%Y-%m-%dT%H:%M:%S+02:00")
if "zone" not in flags:
    EXPIRES = (datetime.datetime.fromisoformat(now) + until).strftime("%Y-%m-%dT%H:%M:%SZ")


class Key:
    def __init__(self):
        self.private = ed25519.Ed25519PrivateKey.generate()
        raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.hex = self.private.public_key().public_bytes(*raw).hex()
        self.public = {
            "keytype": "ed25519", "scheme": "ed25519", "keyid_hash_algorithms": ["sha256", "sha512"],
            "keyval": {"public": self.hex},
        }
        self.id = hashlib.sha256(canonical(self.public).encode()).hexdigest()

    def persisted(self):
        seed = self.private.private_bytes_raw().hex()
        return {**self.public, "keyval": {"public": self.hex, "private": seed + self.hex}}


def seal(plain):
    salt, nonce = os.urandom(32), os.urandom(24)
    key = hashlib.scrypt(passphrase.encode(), salt=salt, n=32768, r=8, p=1, maxmem=1 << 27, dklen=32)
    text = lambda data: base64.b64encode(data).decode()
    return {
        "kdf": {"name": "scrypt", "params": {"N": 32768, "r": 8, "p": 1}, "salt": text(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": text(nonce)},
        "ciphertext": text(SecretBox(key).encrypt(plain, nonce).ciphertext),
    }


def publish(names, signed, *signers):
    sign = lambda key: {"keyid": key.id, "sig": key.private.sign(canonical(signed).encode()).hex()}
    text = json.dumps({"signed": signed, "signatures": [sign(key) for key in signers]}, indent="\t")
    for name in names:
        (dir / "repository" / name).write_text(text)
    return {"length": len(text), "hashes": {"sha512": hashlib.sha512(text.encode()).hexdigest()}, "version": signed["version"]}


def metadata(kind, version, **fields):
    return {"_type": kind, "spec_version": "1.0", "version": version, "expires": EXPIRES, **fields}


ROLES = ["root", "targets", "snapshot", "timestamp"]
keys = {role: Key() for role in ROLES}
(dir / "repository/targets").mkdir(parents=True)
(dir / "keys").mkdir()


def root(version, *signers):
    listed = {key.id: key.public for key in keys.values()}
    roles = {role: {"keyids": [keys[role].id], "threshold": 1} for role in ROLES}
    signed = metadata("root", version, consistent_snapshot=False, keys=listed, roles=roles)
    publish(["root.json", f"{version}.root.json"], signed, *signers)


root(1, keys["root"])
first, keys["root"] = keys["root"], Key()
root(2, first, keys["root"])
for role, key in keys.items():
    plain = [key.persisted()]
    data = plain if "plain" in flags else seal(json.dumps(plain).encode())
    (dir / "keys" / f"{role}.json").write_text(json.dumps({"encrypted": "plain" not in flags, "data": data}))

targets = {}
for name, content in {"orbit/linux/stable/orbit": b"orbit of old", "nudge/macos/stable/nudge.app.tar.gz": b"nudge"}.items():
    path = dir / "repository/targets" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    targets[name] = {"length": len(content), "hashes": {"sha512": hashlib.sha512(content).hexdigest()}}
targets["orbit/linux/stable/orbit"]["custom"] = {"version": "1.0.0"}
if "beyond" in flags:
    targets["../../x"] = targets["orbit/linux/stable/orbit"]
about = publish(["targets.json"], metadata("targets", 7, targets=targets), keys["targets"])
about = publish(["snapshot.json"], metadata("snapshot", 8, meta={"targets.json": about}), keys["snapshot"])
publish(["timestamp.json"], metadata("timestamp", 9, meta={"snapshot.json": about}), keys["timestamp"])
