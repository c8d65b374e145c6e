"""Reads the signatures of a program for macOS as osfmk/kern/cs_blobs.h describes them, knowing nothing of
what wrote them. Prints what they say as JSON, one list entry for each processor, and puts beside the file what
is signed and the message about it: FILE.N.directory, FILE.N.message. Ends with an error if a digest is wrong."""

import hashlib
import json
import struct
import sys

path = sys.argv[1]
data = open(path, "rb").read()


def slices():
    magic, count = struct.unpack(">II", data[:8])
    if magic != 0xCAFEBABE:
        return [data]
    entries = [struct.unpack(">IIIII", data[8 + 20 * n : 28 + 20 * n]) for n in range(count)]
    for _, _, offset, size, align in entries:
        assert offset % (1 << align) == 0 and offset + size <= len(data)
    return [data[offset : offset + size] for _, _, offset, size, _ in entries]


def place(image):
    magic, cpu, _, _, count, size, _, _ = struct.unpack("<8I", image[:32])
    assert magic == 0xFEEDFACF
    at, found, linkedit = 32, None, None
    for _ in range(count):
        command, length = struct.unpack("<II", image[at : at + 8])
        if command == 0x1D:
            assert found is None
            found = struct.unpack("<II", image[at + 8 : at + 16])
        if command == 0x19 and image[at + 8 : at + 24].rstrip(b"\0") == b"__LINKEDIT":
            linkedit = struct.unpack("<4Q", image[at + 24 : at + 56])
        at += length
    assert at == 32 + size
    start, long = found
    _, memory, offset, filed = linkedit
    assert start % 16 == 0 and start + long == len(image) == offset + filed and memory >= filed
    return cpu, start, image[start:]


def blobs(signature):
    magic, length, count = struct.unpack(">III", signature[:12])
    assert magic == 0xFADE0CC0 and length <= len(signature) and not signature[length:].strip(b"\0")
    found = {}
    for n in range(count):
        slot, at = struct.unpack(">II", signature[12 + 8 * n : 20 + 8 * n])
        _, long = struct.unpack(">II", signature[at : at + 8])
        assert slot not in found and at + long <= length
        found[slot] = signature[at : at + long]
    return found


def text(blob, at):
    return blob[at : blob.index(b"\0", at)].decode()


def judged(number, image):
    cpu, start, signature = place(image)
    parts = blobs(signature)
    blob = parts[0]
    fields = struct.unpack(">9I4BIIIIQQQQII", blob[:96])
    magic, length, version, flags, hashes, name, special, pages, limit = fields[:9]
    size, kind, platform, power, spare, scatter, team, spare3, limit64 = fields[9:18]
    base, text_size, segment_flags, runtime, encrypted = fields[18:]
    assert magic == 0xFADE0C02 and length == len(blob) and (size, kind, platform) == (32, 2, 0)
    assert spare == scatter == spare3 == limit64 == encrypted == 0 and limit == start
    page = 1 << power
    code = image[:limit]
    for n in range(pages):
        digest = hashlib.sha256(code[n * page : (n + 1) * page]).digest()
        assert blob[hashes + 32 * n : hashes + 32 * (n + 1)] == digest, f"page {n}"
    assert pages == -(-limit // page) and hashes + 32 * pages == length
    slots = {}
    for slot in range(1, special + 1):
        digest = blob[hashes - 32 * slot : hashes - 32 * (slot - 1)]
        if slot in parts:
            assert hashlib.sha256(parts[slot]).digest() == digest, f"slot {slot}"
        if digest.strip(b"\0"):
            slots[slot] = digest.hex()
    short = hashlib.sha256(blob).digest()
    message = parts[0x10000][8:]
    assert short in message, "the message does not tell the directory's digest"
    open(f"{path}.{number}.directory", "wb").write(blob)
    open(f"{path}.{number}.message", "wb").write(message)
    return {
        "cpu": cpu,
        "version": version,
        "flags": flags,
        "page": page,
        "identifier": text(blob, name),
        "team": text(blob, team) if team else None,
        "segment": [base, text_size, segment_flags],
        "runtime": runtime,
        "slots": slots,
        "digest": short[:20].hex(),
        "requirements": parts[2].hex(),
        "entitlements": parts[5][8:].decode() if 5 in parts else None,
        "der": parts[7][8:].hex() if 7 in parts else None,
    }


print(json.dumps([judged(number, image) for number, image in enumerate(slices())]))
