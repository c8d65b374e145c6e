"""What is measured of python-tuf: the work of a publisher and of a reader, one piece a call.

python_tuf.py nothing | sign OUT FOLDER | add OUT FILE | timestamp OUT | hash FILE | refresh ROOT URL CACHE
"""

import datetime
import os
import pathlib
import shutil
import sys

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater

ROLES = ["root", "targets", "snapshot", "timestamp"]
EXPIRES = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=7)


def write(out, name, metadata, signer):
    metadata.sign(signer)
    metadata.to_file(str(out / name))


def lay_down(out, file, target):
    place = out / "targets/orbit/linux" / file.name / f"{target.hashes['sha256']}.orbit"
    place.parent.mkdir(parents=True, exist_ok=True)
    # As ours does, so that both do the same work: whoever writes to the file later changes no copy.
    os.replace(shutil.copyfile(file, place.with_suffix(".new")), place)


def listed(out, file):
    target = TargetFile.from_file(f"orbit/linux/{file.name}/orbit", str(file), ["sha256"])
    target.unrecognized_fields["custom"] = {"version": file.name}
    lay_down(out, file, target)
    return target


def sign(out, folder):
    signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
    out.mkdir(parents=True)
    for role, signer in signers.items():
        (out / f"{role}.pem").write_bytes(signer.private_bytes)
    root = Root(expires=EXPIRES, consistent_snapshot=True)
    for role, signer in signers.items():
        root.add_key(signer.public_key, role)
    write(out, "1.root.json", Metadata(root), signers["root"])
    files = [listed(out, file) for file in folder.iterdir()]
    targets = Targets(expires=EXPIRES, targets={target.path: target for target in files})
    write(out, "1.targets.json", Metadata(targets), signers["targets"])
    snapshot = Snapshot(expires=EXPIRES, meta={"targets.json": MetaFile(1)})
    write(out, "1.snapshot.json", Metadata(snapshot), signers["snapshot"])
    write(out, "timestamp.json", Metadata(Timestamp(expires=EXPIRES, snapshot_meta=MetaFile(1))), signers["timestamp"])


def signer(out, role):
    return CryptoSigner(load_pem_private_key((out / f"{role}.pem").read_bytes(), None))


def newest(out, role):
    version = max(int(path.name.split(".")[0]) for path in out.glob(f"*.{role}.json"))
    return Metadata.from_file(str(out / f"{version}.{role}.json"))


def renew(out, role, metadata):
    metadata.signed.version += 1
    metadata.signed.expires = EXPIRES
    name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
    write(out, name, metadata, signer(out, role))
    return metadata.signed.version


def timestamp(out, snapshot=None):
    metadata = Metadata.from_file(str(out / "timestamp.json"))
    metadata.signed.snapshot_meta.version = snapshot or metadata.signed.snapshot_meta.version
    renew(out, "timestamp", metadata)


def add(out, folder):
    targets, snapshot = newest(out, "targets"), newest(out, "snapshot")
    for file in folder.iterdir():
        target = listed(out, file)
        targets.signed.targets[target.path] = target
    snapshot.signed.meta["targets.json"].version = renew(out, "targets", targets)
    timestamp(out, renew(out, "snapshot", snapshot))


def refresh(root, url, cache):
    cache.mkdir(parents=True, exist_ok=True)
    Updater(str(cache), str(url), bootstrap=root.read_bytes()).refresh()


match sys.argv[1:]:
    case ["nothing"]:
        pass
    case ["hash", file]:
        TargetFile.from_file("orbit", file, ["sha256"])
    case ["refresh", root, url, cache]:
        refresh(pathlib.Path(root), url, pathlib.Path(cache))
    case [verb, *paths]:
        {"sign": sign, "add": add, "timestamp": timestamp}[verb](*map(pathlib.Path, paths))
