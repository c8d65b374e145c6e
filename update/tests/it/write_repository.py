"""Makes a repository as python-tuf does: write_repository.py DIR NOW [rotate] [keys].

It has orbit/linux/stable/orbit in a delegated role, in a sub-directory, with consistent snapshots. With `rotate`, root
version 2 replaces the root and timestamp keys. With `keys`, the root's is RSA, and all are in `keys` beside DIR.
"""

import datetime
import pathlib
import shutil
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole, Delegations, Key, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
)

out, now, *flags = sys.argv[1:]
out = pathlib.Path(out)
expires = datetime.datetime.fromisoformat(now).replace(microsecond=0) + datetime.timedelta(days=7)
signers = {role: CryptoSigner.generate_ed25519() for role in ["root", "targets", "snapshot", "timestamp", "linux"]}
signers["snapshot"] = CryptoSigner.generate_ecdsa()
if "keys" in flags:
    private = rsa.generate_private_key(65537, 2048)
    signers["root"] = CryptoSigner(private)
    for role in ["targets", "snapshot", "timestamp"]:
        (out.parent / "keys" / f"{role}.pem").write_bytes(signers[role].private_bytes)
    old = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (out.parent / "keys/root.pem").write_bytes(private.private_bytes(*old))


def publish(name, metadata, *keys):
    metadata.signatures.clear()
    for key in keys:
        metadata.sign(key, append=True)
    metadata.to_file(str(out / name))


out.mkdir(parents=True)
root = Root(expires=expires, consistent_snapshot=True)
for role in ["root", "targets", "snapshot", "timestamp"]:
    root.add_key(signers[role].public_key, role)
publish("1.root.json", Metadata(root), signers["root"])

content = out / "content"
content.write_bytes(b"orbit by python")
target = TargetFile.from_file("orbit/linux/stable/orbit", str(content), ["sha256", "sha512"])
target.unrecognized_fields["custom"] = {"version": "3.2.1"}
target_dir = out / "targets/orbit/linux/stable"
target_dir.mkdir(parents=True)
shutil.move(content, target_dir / (target.hashes["sha256"] + ".orbit"))

linux = Targets(expires=expires, targets={target.path: target})
publish("1.linux.json", Metadata(linux), signers["linux"])
key = signers["linux"].public_key
role = DelegatedRole("linux", [key.keyid], 1, True, paths=["*/linux/*/*"])
targets = Targets(expires=expires, delegations=Delegations({key.keyid: key}, {"linux": role}))
publish("1.targets.json", Metadata(targets), signers["targets"])
snapshot = Snapshot(expires=expires, meta={"targets.json": MetaFile(1), "linux.json": MetaFile(1)})
publish("1.snapshot.json", Metadata(snapshot), signers["snapshot"])
timestamp = Timestamp(expires=expires, snapshot_meta=MetaFile(1))
publish("timestamp.json", Metadata(timestamp), signers["timestamp"])

if "rotate" in flags:
    shutil.copy(out / "timestamp.json", out / "old-timestamp.json")
    old_root = signers["root"]
    for role in ["root", "timestamp"]:
        root.revoke_key(signers[role].public_key.keyid, role)
        signers[role] = CryptoSigner.generate_ed25519()
        root.add_key(signers[role].public_key, role)
    root.version = 2
    publish("2.root.json", Metadata(root), old_root, signers["root"])
    timestamp.version = 2
    publish("timestamp.json", Metadata(timestamp), signers["timestamp"])
