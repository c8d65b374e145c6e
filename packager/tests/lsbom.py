"""Lists a bill of materials as macOS' lsbom does: path, mode, owner/group, size, checksum, target.

By the structures that bomutils documents in bom.h, and nothing of ours.
"""

import struct
import sys

data = open(sys.argv[1], "rb").read()
magic, version, count, index_at, index_length, vars_at, vars_length = struct.unpack(">8s6I", data[:32])
assert magic == b"BOMStore" and version == 1
assert index_at + index_length == len(data)
blocks = struct.unpack_from(">I", data, index_at)[0]
assert count == blocks - 1


def block(number):
    assert number < blocks
    address, length = struct.unpack_from(">2I", data, index_at + 4 + 8 * number)
    return data[address : address + length]


names, at = {}, vars_at + 4
for _ in range(struct.unpack_from(">I", data, vars_at)[0]):
    number, length = struct.unpack_from(">IB", data, at)
    names[data[at + 5 : at + 5 + length].decode()] = number
    at += 5 + length
assert set(names) == {"BomInfo", "Paths", "HLIndex", "VIndex", "Size64"}

tree, version, child, block_size, total = struct.unpack_from(">4s4I", block(names["Paths"]))
assert tree == b"tree" and version == 1
node = block(child)
while struct.unpack_from(">H", node)[0] == 0:
    node = block(struct.unpack_from(">I", node, 12)[0])

paths, keys, listed = {0: None}, [], []
while True:
    _, pairs, forward, _ = struct.unpack_from(">2H2I", node)
    for index in range(pairs):
        numbered, name = struct.unpack_from(">2I", node, 12 + 8 * index)
        item, about = struct.unpack(">2I", block(numbered))
        (parent,) = struct.unpack_from(">I", block(name))
        text = block(name)[4:-1].decode()
        keys.append((parent, text))
        paths[item] = text if paths[parent] is None else f"{paths[parent]}/{text}"
        kind, _, _, mode, owner, group, _, size, _, checksum, target = struct.unpack_from(
            ">BBHH4IB2I", block(about)
        )
        assert {0o4: 2, 0o10: 1, 0o12: 3}[mode >> 12] == kind
        line = [paths[item], f"{mode:o}", f"{owner}/{group}"]
        if kind != 2:
            line += [str(size), str(checksum)]
        if kind == 3:
            line.append(block(about)[31 : 31 + target - 1].decode())
        listed.append("\t".join(line))
    if forward == 0:
        break
    node = block(forward)

assert keys == sorted(keys) and len(keys) == total
print("\n".join(sorted(listed)))
