#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target dht_record from the test vectors: some records that are
right, some that are cut or changed. Run again after tests/vectors/make.py."""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
WHOLE = ("provider", "offer", "descriptor, 2048 bytes", "descriptor, period after", "type 5",
         "descriptor, delegation of another serial", "provider, signed for another network")
BODY = ("provider", "provider, body one byte short", "provider, body one byte long",
        "provider, address key of small order", "provider, puzzle of another nonce", "offer",
        "offer, empty map", "offer, seven levels", "offer, keys out of order", "offer, puzzle cut",
        "descriptor, 2048 bytes", "descriptor, period before", "descriptor, 2047 bytes",
        "descriptor, no ciphertext", "descriptor, proof of another nonce")


def vectors(name):
    with open(os.path.join(HERE, "..", "vectors", name + ".json")) as f:
        return json.load(f)


def put(name, data):
    folder = os.path.join(HERE, "corpus", "dht_record")
    os.makedirs(folder, exist_ok=True)
    name = name.replace(",", "").replace(" ", "-").replace("'", "")
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]


def put_whole(name, raw):
    put("whole " + name, b"\0" + raw)
    put("cut " + name, b"\0" + raw[:-1])
    put("flipped head " + name, b"\0" + flipped(raw, 15))
    put("flipped body " + name, b"\0" + flipped(raw, len(raw) - 70))


def main():
    records = {r["name"]: bytes.fromhex(r["hex"]) for r in vectors("dht_record")["records"]}
    node = next(bytes.fromhex(r["hex"]) for r in vectors("record")["node_records"]
                if r["name"] == "plain")
    put_whole("node", node)
    put("body node", b"\1" + node[52:-64])
    for name in WHOLE:
        put_whole(name, records[name])
    for name in BODY:
        raw = records[name]
        put("body " + name, raw[1:2] + raw[52:-64])


if __name__ == "__main__":
    main()
