#!/usr/bin/python3
"""Writes the seed corpora of the fuzz targets train and replay_file: inputs as the first lines of
those two describe them, some that are right, some that are broken."""

import hashlib
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name.replace(" ", "-").replace(",", "")), "wb") as f:
        f.write(data)


def change(mode, which, at, data):
    return bytes([mode, which]) + struct.pack(">H", at) + data


def fields(command, kind=0, early_len=0, stamp=600, target=b"\x11" * 32, rest=b"\x22" * 40):
    return bytes([command, kind]) + struct.pack(">HQ", early_len, stamp) + target + rest + bytes(200)


def train():
    for hop in range(3):
        put("train", "hop %d untouched" % hop, change(0, hop, 0, b""))
        for name, at in (("type", 0), ("hint", 2), ("e", 35), ("slot", 36), ("fields", 1240),
                         ("tag", 1535), ("rest", 1536), ("end", 7679)):
            put("train", "hop %d %s" % (hop, name), change(0, hop, at, b"\x80"))
    for name, raw in (("relay", fields(1)), ("end", fields(2)), ("register", fields(3)),
                      ("splice", fields(4, 1, 16)), ("splice full", fields(4, 0, 1248)),
                      ("splice too long", fields(4, 0, 1249)), ("unknown", fields(77, 9, 65535))):
        put("train", "sealed " + name, bytes([1, 0]) + raw)
    put("train", "sealed, slot and rest", bytes([1, 130]) + fields(2) + b"\x5a" * 1300)
    for name, at in (("first", 0), ("second", 1280), ("third", 2600), ("noise", 5000)):
        put("train", "reply " + name, change(2, 0, at, b"\x01"))
    put("train", "reply untouched", change(2, 0, 0, b""))
    for status in (0, 1, 6, 8, 255):
        put("train", "verdict %d" % status, bytes([3, 0, status, 1, 2, 3]) + b"\x44" * 20)


def replay_file():
    def whole(data):
        label = b"cyx replay file"
        return data + hashlib.blake2b(bytes([len(label)]) + label + data, digest_size=32).digest()

    def head(saved, version=1):
        return b"cyx-rpl1" + bytes([version, saved]) + struct.pack(">QQ", 1000, 2000) + \
            struct.pack(">6Q", 1, 2, 3, 0, 0, 0)

    def generation(n, start=1):
        return struct.pack(">QQI", 900, 960, n) + b"".join(
            struct.pack(">Q", start + 2 ** 40 * i) for i in range(n))

    saved = head(1) + b"\x33" * 16 + generation(20) + generation(3)
    put("replay_file", "in use", b"\0" + whole(head(0)))
    put("replay_file", "saved", b"\0" + whole(saved))
    put("replay_file", "saved, empty", b"\0" + whole(head(1) + bytes(16) + 2 * generation(0)))
    put("replay_file", "checksum to be made", b"\1" + saved + bytes(32))
    put("replay_file", "cut", b"\1" + saved[:-5] + bytes(32))
    put("replay_file", "damaged", b"\0" + whole(saved)[:-1] + b"\0")
    put("replay_file", "version 2", b"\1" + head(0, 2) + bytes(32))
    put("replay_file", "neither", b"\1" + head(2) + bytes(32))
    put("replay_file", "hash of zero", b"\1" + head(1) + bytes(16) + generation(2, 0) +
        generation(0) + bytes(32))
    put("replay_file", "one twice", b"\1" + head(1) + bytes(16) + struct.pack(">QQI", 1, 2, 2) +
        2 * struct.pack(">Q", 5) + generation(0) + bytes(32))
    put("replay_file", "more than there are", b"\1" + head(1) + bytes(16) +
        struct.pack(">QQI", 1, 2, 2 ** 32 - 1) + generation(2) + bytes(32))


if __name__ == "__main__":
    train()
    replay_file()
