#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target layer from the test vectors: a key, a byte that says how
many cells (its value modulo 4, plus 1) begin how far into the memory (its quotient), and cells or
the beginning of one. Run again after tests/vectors/make.py."""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))


def put(name, data):
    folder = os.path.join(HERE, "corpus", "layer")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


if __name__ == "__main__":
    with open(os.path.join(HERE, "..", "vectors", "layer.json")) as f:
        v = json.load(f)
    for c in v["cells"]:
        key, text = bytes.fromhex(c["key"]), bytes.fromhex(c["plaintext"])
        put(c["name"], key + bytes([0]) + (text if any(text) else b""))
    hop = bytes.fromhex(v["three_layers"]["forward"][0])
    links = b"".join(bytes.fromhex(link) for link in v["three_layers"]["links_out"])
    put("four-cells-aligned", hop + bytes([3]) + links)
    put("three-cells-at-21", hop + bytes([4 * 21 + 2]) + links)
    put("two-cells-cut", hop + bytes([1]) + links[:1290])
    put("no-cell", hop + bytes([7]))
    put("no-key", hop[:-1])
