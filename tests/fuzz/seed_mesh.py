#!/usr/bin/python3
"""Writes the seed corpora of the fuzz targets handshake, frame, record and identity, from the test
vectors: some inputs that are right, some that are broken. Run again after tests/vectors/make.py."""

import hashlib
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def vectors(name):
    with open(os.path.join(HERE, "..", "vectors", name + ".json")) as f:
        return json.load(f)


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name.replace(" ", "-").replace("'", "")), "wb") as f:
        f.write(data)


def handshake():
    v = vectors("handshake")
    first = v["handshakes"][0]
    packets = (("init", 0, first["init"]), ("resp", 1, first["resp"]),
               ("cookie", 2, v["cookie"]["for_init"]), ("version", 3, v["version"]["packet"]))
    for name, who, text in packets:
        raw = bytes.fromhex(text)
        put("handshake", name, bytes([who]) + raw)
        put("handshake", name + " cut", bytes([who]) + raw[:-1])
        put("handshake", name + " flipped", bytes([who | 4]) + raw[:20] + bytes([raw[20] ^ 1]) + raw[21:]
            if len(raw) > 20 else bytes([who]) + raw[::-1])


def frame():
    v = vectors("frame")
    whole = b""
    for f in v["frames"]:
        raw = bytes.fromhex(f["hex"])
        put("frame", f["type"].lower() + " %d" % len(raw), raw)
        if f["type"] not in ("CELL", "PADDING"):
            whole += raw
    put("frame", "packet", (whole + bytes(1296))[:1296])
    for f in v["bad"]:
        put("frame", "bad " + f["name"], bytes.fromhex(f["hex"]))
    put("frame", "unknown", bytes.fromhex(v["unknown"][0]))


def record():
    for r in vectors("record")["node_records"]:
        raw = bytes.fromhex(r["hex"])
        if len(raw) > 600:
            continue
        if r["name"] in ("plain", "full", "envelope version 2", "length one too great"):
            put("record", "whole " + r["name"], b"\0" + raw)
        put("record", "body " + r["name"], b"\1" + raw[52:-64])


def identity():
    def slot(n):
        return bytes([n]) * 32 + struct.pack(">Q", 1700000000 + n) if n else bytes(40)

    head = b"cyx-id 1" + bytes([1, 0])
    payload = b"\x33" * 32 + bytes(37) + slot(1) + slot(0) + slot(2) + slot(3) + 4 * slot(0) + \
        struct.pack(">QQ", 5, 6)
    label = b"cyx identity file"

    def whole(data):
        return data + hashlib.blake2b(bytes([len(label)]) + label + data, digest_size=32).digest()

    good = whole(head + payload)
    put("identity", "plain", b"\0" + good)
    put("identity", "plain, checksum to be made", b"\1" + head + payload + bytes(32))
    put("identity", "cut", b"\0" + good[:-7])
    put("identity", "damaged", b"\0" + good[:50] + b"\xff" + good[51:])
    put("identity", "version 2", b"\1" + b"cyx-id 1" + bytes([2, 0]) + bytes(40))
    put("identity", "sealed", b"\1" + b"cyx-id 1" + bytes([1, 1]) + bytes(16)
        + struct.pack(">QQ", 1, 8192) + bytes(24) + bytes(405 + 16) + bytes(32))
    put("identity", "sealed without bounds", b"\1" + b"cyx-id 1" + bytes([1, 1]) + bytes(16)
        + struct.pack(">QQ", 2 ** 63, 2 ** 40) + bytes(24) + bytes(405 + 16) + bytes(32))


if __name__ == "__main__":
    handshake()
    frame()
    record()
    identity()
