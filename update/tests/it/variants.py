"""Makes one repository for each thing that repositories may do differently: variants.py DIR NOW.

Written from the specification, with no TUF library, canonical JSON excepted. Every repository has orbit/linux/stable/orbit. Prints the names.
"""

import datetime
import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.formats import encode_canonical as canonical

out, now = pathlib.Path(sys.argv[1]), datetime.datetime.fromisoformat(sys.argv[2])
TARGET = "orbit/linux/stable/orbit"
MANIFEST = "orbit/linux/stable/release.json"
CONTENT = b"orbit of a variant"
LATER = (now + datetime.timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
EARLIER = (now - datetime.timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
PEM = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Key:
    def __init__(self):
        self.private = ed25519.Ed25519PrivateKey.generate()
        public = self.private.public_key().public_bytes(*RAW).hex()
        self.public = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}
        self.id = key_id(self.public)

    def sign(self, signed):
        return {"keyid": self.id, "sig": self.private.sign(canonical(signed).encode()).hex()}


def key_id(public):
    return hashlib.sha256(canonical(public).encode()).hexdigest()


def spare(keytype, scheme, public):
    key = {"keytype": keytype, "scheme": scheme, "keyval": {"public": public}}
    return key_id(key), key


class Repository:
    """Its parts, to be changed before it is written."""

    def __init__(self):
        self.keys = {role: Key() for role in ["root", "targets", "snapshot", "timestamp"]}
        self.root = self.metadata("root", consistent_snapshot=True, keys={}, roles={})
        for role, key in self.keys.items():
            self.root["keys"][key.id] = key.public
            self.root["roles"][role] = {"keyids": [key.id], "threshold": 1}
        about = {"length": len(CONTENT), "hashes": {"sha256": hashlib.sha256(CONTENT).hexdigest()}}
        about["custom"] = {"version": "1.0.0"}
        self.targets = self.metadata("targets", targets={TARGET: about})
        self.about = about
        self.delegated = {}
        self.unlisted, self.absent, self.forged = set(), set(), set()
        self.snapshot_extra = {}
        self.files = {}

    @staticmethod
    def metadata(kind, **fields):
        return {"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": LATER, **fields}

    def delegate(self, name, targets, **role):
        key = Key()
        self.keys[name] = key
        delegations = self.targets.setdefault("delegations", {"keys": {}, "roles": []})
        delegations["keys"][key.id] = key.public
        role = {"name": name, "keyids": [key.id], "threshold": 1, "terminating": False, **role}
        delegations["roles"].append(role)
        self.delegated[name] = self.metadata("targets", targets=targets)
        return role

    def hand_over(self, name="orbit", **role):
        """The target is a delegated role's."""
        self.targets["targets"] = {}
        return self.delegate(name, {TARGET: self.about}, **role)

    def write(self, dir):
        consistent = self.root.get("consistent_snapshot", False)
        dir.mkdir(parents=True)
        targets = {**self.delegated, "targets": self.targets}
        meta = {f"{role}.json": {"version": 1} for role in targets if role not in self.unlisted}
        snapshot = self.metadata("snapshot", meta={**meta, **self.snapshot_extra})
        timestamp = self.metadata("timestamp", meta={"snapshot.json": {"version": 1}})
        for role, signed in {"root": self.root, "snapshot": snapshot, "timestamp": timestamp, **targets}.items():
            if role in self.absent:
                continue
            key = Key() if role in self.forged else self.keys[role]
            signature = {**key.sign(signed), "keyid": self.keys[role].id}
            prefix = "1." if role == "root" or (consistent and role != "timestamp") else ""
            text = json.dumps({"signed": signed, "signatures": [signature]}, indent=1)
            (dir / f"{prefix}{role}.json").write_text(text)
        for target, content in {TARGET: CONTENT, **self.files}.items():
            parent, name = target.rsplit("/", 1)
            folder = dir / "targets" / parent
            folder.mkdir(parents=True, exist_ok=True)
            about = self.about if target == TARGET else self.targets["targets"][target]
            prefix = next(iter(about["hashes"].values())) + "." if consistent else ""
            (folder / (prefix + name)).write_bytes(content)


def other_id(repository, role, id, public):
    """Lists a key under another id."""
    key = repository.keys[role]
    del repository.root["keys"][key.id]
    key.id = id
    repository.root["keys"][id] = public
    repository.root["roles"][role]["keyids"] = [id]


def spare_key(keytype, scheme, public):
    def change(repository):
        id, key = spare(keytype, scheme, public)
        repository.root["keys"][id] = key
        repository.root["roles"]["root"]["keyids"].append(id)

    return change


def unrelated(targets=None, paths=("other/*",), **about):
    def change(repository):
        repository.delegate("other", targets or {}, paths=list(paths), **about.get("role", {}))
        repository.delegated["other"].update(about.get("metadata", {}))
        for kind in ["unlisted", "absent", "forged"]:
            if about.get(kind):
                getattr(repository, kind).add("other")

    return change


def field(part, value):
    return lambda repository: part(repository).update(value)


def custom(value):
    other = {"length": 1, "hashes": {"sha256": "00" * 32}, "custom": value}
    return lambda it: it.targets["targets"].update(another=other)


def bins(repository, bits=8, **about):
    """The target is in one of many bins (TAP 15); nobody needs the others."""
    number = int.from_bytes(hashlib.sha256(TARGET.encode()).digest()[:4], "big") >> (32 - bits)
    name = f"bin-{number:0{len(f'{(1 << bits) - 1:x}')}x}"
    role = repository.hand_over(name=name)
    succinct = {"keyids": role["keyids"], "threshold": 1, "bit_length": bits, "name_prefix": "bin", **about}
    delegations = repository.targets["delegations"]
    del delegations["roles"]
    delegations["succinct_roles"] = succinct
    return name


def sha512_only(repository):
    digest = hashlib.sha512(b"another").hexdigest()
    repository.targets["targets"]["another"] = {"length": 7, "hashes": {"sha512": digest}}


def beyond(repository):
    """Lists a file outside of the repository, and a manifest that releases it."""
    file = {"length": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    release = {"version": "1.0.0", "files": [{"target": "../../x", **file}], "waves": []}
    manifest = json.dumps(release).encode()
    about = {"length": len(manifest), "hashes": {"sha256": hashlib.sha256(manifest).hexdigest()}}
    repository.files = {MANIFEST: manifest, "../../x": CONTENT}
    listed = {"length": file["length"], "hashes": {"sha256": file["sha256"]}}
    repository.targets["targets"].update({MANIFEST: about, "../../x": listed})


def old_style_key(repository):
    key = repository.keys["targets"]
    public = {**key.public, "keyid_hash_algorithms": ["sha256", "sha512"]}
    other_id(repository, "targets", key_id(public), public)


RSA = rsa.generate_private_key(65537, 2048).public_key().public_bytes(*PEM).decode()
P384 = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*PEM).decode()
ANOTHER = {"other/x": {"length": 1, "hashes": {"sha256": "00" * 32}}}
ROGUE = {"orbit/rogue": {"length": 1, "hashes": {"sha256": "00" * 32}}}
SHA512 = {"sha512": hashlib.sha512(CONTENT).hexdigest()}

VARIANTS = {
    "base": lambda it: None,
    "no consistent snapshots": field(lambda it: it.root, {"consistent_snapshot": False}),
    "consistent snapshots not told": lambda it: it.root.pop("consistent_snapshot"),
    "target beyond the repository": beyond,
    "sha512 too": lambda it: it.about["hashes"].update(SHA512),
    "another target with sha512 only": sha512_only,
    "root in the snapshot": lambda it: it.snapshot_extra.update({"root.json": {"version": 1}}),
    "delegated": lambda it: it.hand_over(paths=["orbit/*/*/*"]),
    "delegated, terminating": lambda it: it.hand_over(paths=["orbit/*/*/*"], terminating=True),
    "delegated by hash": lambda it: it.hand_over(path_hash_prefixes=list("0123456789abcdef")),
    "in bins": bins,
    "in bins that are half a digit": lambda it: bins(it, bits=10),
    "in bins without consistent snapshots": lambda it: (
        bins(it), it.root.update(consistent_snapshot=False)),
    "empty custom": custom({}),
    "null custom": custom(None),
    "expiry with offset": field(lambda it: it.targets, {"expires": LATER[:-1] + "+00:00"}),
    "expiry with fraction": field(lambda it: it.targets, {"expires": LATER[:-1] + ".5Z"}),
    "expiry in nanoseconds": field(lambda it: it.targets, {"expires": LATER[:-1] + ".123456789Z"}),
    "spare P-384 key": spare_key("ecdsa", "ecdsa-sha2-nistp384", P384),
    "spare RSA key with sha512": spare_key("rsa", "rsassa-pss-sha512", RSA),
    "key with more fields": old_style_key,
    "key id that is no hash": lambda it: other_id(it, "targets", "ab" * 32, it.keys["targets"].public),
    "role of mirrors": lambda it: it.root["roles"].update(
        mirrors={"keyids": [it.keys["root"].id], "threshold": 1}),
    "more fields in delegations": lambda it: (
        it.hand_over(paths=["orbit/*/*/*"]), it.targets["delegations"].update(more="fields")),
    "more fields in a delegated role": lambda it: it.hand_over(paths=["orbit/*/*/*"], more="fields"),
    "more fields in the root": field(lambda it: it.root, {"x-more": {"fields": [1, None, True]}}),
    "unrelated role": unrelated(ANOTHER),
    "unrelated role that the snapshot does not list": unrelated(unlisted=True),
    "unrelated role with a target beyond its paths": unrelated(ROGUE),
    "unrelated role that expired": unrelated(metadata={"expires": EARLIER}),
    "unrelated role that is not there": unrelated(absent=True),
    "unrelated role with another's signature": unrelated(forged=True),
    "unrelated role without paths": unrelated(paths=()),
    "refused: expired targets": field(lambda it: it.targets, {"expires": EARLIER}),
    "refused: role with another's signature": lambda it: (
        it.hand_over(paths=["orbit/*/*/*"]), it.forged.add("orbit")),
    "refused: bin with another's signature": lambda it: it.forged.add(bins(it)),
    "refused: expired bin": lambda it: it.delegated[bins(it)].update(expires=EARLIER),
    "refused: bin that the snapshot does not list": lambda it: it.unlisted.add(bins(it)),
    "refused: more signatures than a bin has": lambda it: bins(it, threshold=2),
    "refused: expired role": lambda it: (
        it.hand_over(paths=["orbit/*/*/*"]), it.delegated["orbit"].update(expires=EARLIER)),
    "refused: one star for two levels": lambda it: it.hand_over(paths=["orbit/*/orbit"]),
    "refused: one star for all levels": lambda it: it.hand_over(paths=["*"]),
    "refused: fewer signatures than keys must sign": lambda it: (
        it.root["roles"]["targets"]["keyids"].append(it.keys["root"].id),
        it.root["roles"]["targets"].update(threshold=2)),
    "refused: one key under two ids": lambda it: (
        it.root["keys"].update({"cd" * 32: it.keys["targets"].public}),
        it.root["roles"]["targets"]["keyids"].append("cd" * 32),
        it.root["roles"]["targets"].update(threshold=2)),
    "refused: role called as a path out of the repository": lambda it: (
        it.root.update(consistent_snapshot=False),
        it.hand_over(name="../outside", paths=["orbit/*/*/*"])),
    "refused: role called as the timestamp": lambda it: it.hand_over(name="timestamp", paths=["orbit/*/*/*"]),
    "refused: snapshot for targets": field(lambda it: it.targets, {"_type": "snapshot"}),
}

for name, change in VARIANTS.items():
    repository = Repository()
    change(repository)
    repository.write(out / name)
    print(name)
