#!/usr/bin/env python3
"""Publishes a TUF repository in DIR: tuf.py DIR TARGET=FILE … lists just these targets.

Written from the TUF specification, with openssl for the signatures, so that it may have targets of any name. One
key has all roles; it stays beside DIR, so that the first root metadata holds for all that is published later.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import time

directory = pathlib.Path(sys.argv[1])
targets = dict(argument.split("=", 1) for argument in sys.argv[2:])
key = directory.parent / "key.pem"
expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **more).stdout


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


directory.mkdir(parents=True, exist_ok=True)
if not key.exists():
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(key))
raw = openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER")[-32:].hex()
public = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": raw}}
keyid = sha256(canonical(public))


def publish(name, kind, **fields):
    """Writes signed metadata, newer than before, and tells what others say of it."""
    path = directory / name
    before = json.loads(path.read_text())["signed"]["version"] if path.exists() else 0
    signed = {"_type": kind, "spec_version": "1.0.31", "version": before + 1, "expires": expires, **fields}
    (directory / "signed").write_bytes(canonical(signed))
    signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(directory / "signed"))
    text = json.dumps({"signatures": [{"keyid": keyid, "sig": signature.hex()}], "signed": signed})
    path.write_text(text)
    return {"version": before + 1, "length": len(text), "hashes": {"sha256": sha256(text.encode())}}


if not (directory / "1.root.json").exists():
    roles = {role: {"keyids": [keyid], "threshold": 1} for role in ("root", "targets", "snapshot", "timestamp")}
    publish("1.root.json", "root", consistent_snapshot=False, keys={keyid: public}, roles=roles)
listed = {}
for name, file in targets.items():
    path = directory / "targets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, path)
    data = path.read_bytes()
    listed[name] = {"length": len(data), "hashes": {"sha256": sha256(data)}}
about = publish("targets.json", "targets", targets=listed)
about = publish("snapshot.json", "snapshot", meta={"targets.json": about})
publish("timestamp.json", "timestamp", meta={"snapshot.json": about})
