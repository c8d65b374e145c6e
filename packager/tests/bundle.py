"""Holds the files of a bundle on disk against its CodeResources, as Apple's technical note TN2206 has it, and
prints how each is covered. What is not listed, listed and not there, or different ends it with an error.
Of a framework it takes the folder of a version, and where description and program are in that."""

import hashlib
import json
import os
import plistlib
import re
import sys

if len(sys.argv) > 2:
    contents, about, program = sys.argv[1:]
else:
    contents, about, program = sys.argv[1] + "/Contents", "Info.plist", None
info = plistlib.load(open(f"{contents}/{about}", "rb"))
listed = plistlib.load(open(contents + "/_CodeSignature/CodeResources", "rb"))
rules = [(re.compile(key), value) for key, value in listed["rules2"].items()]
program = program or "MacOS/" + info["CFBundleExecutable"]
assert program.endswith(info["CFBundleExecutable"])


def rule(path):
    found = [value for pattern, value in rules if pattern.match(path)]
    found = [value if isinstance(value, dict) else {} for value in found]
    return max(found, key=lambda value: value.get("weight", 1))


covered, nested = {}, []
for folder, folders, files in os.walk(contents):
    for name in sorted(folders + files):
        path = os.path.join(folder, name)
        inside = os.path.relpath(path, contents)
        below = any(inside.startswith(other + "/") for other in nested)
        if below or inside == program or inside.split("/")[0] == "_CodeSignature":
            continue
        how, entry = rule(inside), listed["files2"].get(inside)
        if os.path.islink(path):
            assert entry == {"symlink": os.readlink(path)}, path
            covered[inside] = "symlink"
        elif how.get("omit"):
            assert entry is None, path
        elif os.path.isdir(path):
            if entry:
                assert how["nested"] and len(entry["cdhash"]) == 20, path
                covered[inside] = entry["requirement"]
                nested.append(inside)
        elif how.get("nested"):
            assert len(entry["cdhash"]) == 20, path
            covered[inside] = entry["requirement"]
        else:
            digest = hashlib.sha256(open(path, "rb").read()).digest()
            assert entry["hash2"] == digest, path
            assert entry.get("optional", False) == how.get("optional", False), path
            covered[inside] = "file"
assert set(covered) == set(listed["files2"])
for inside, value in listed["files"].items():
    digest = value["hash"] if isinstance(value, dict) else value
    assert hashlib.sha1(open(f"{contents}/{inside}", "rb").read()).digest() == digest
print(json.dumps({"covered": covered, "old": sorted(listed["files"])}))
