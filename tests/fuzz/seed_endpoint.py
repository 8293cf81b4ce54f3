#!/usr/bin/python3
"""Writes the seed corpora of the fuzz targets address, delegation, descriptor and guards from the
test vectors: some inputs that are right, some that are cut or changed. Run again after
tests/vectors/make.py. Needs nothing but Python."""

import hashlib
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
DAY = 86400


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    for c in ",:=()":
        name = name.replace(c, "")
    with open(os.path.join(folder, name.replace(" ", "-")), "wb") as f:
        f.write(data)


def h(label, raw):
    return hashlib.blake2b(bytes([len(label)]) + label.encode() + raw, digest_size=32).digest()


def flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]


def addresses(v):
    good = v["addresses"][0]
    text = good["text"].encode()
    put("address", "good", b"\0" + text)
    put("address", "upper case", b"\0" + text.upper() + b".")
    put("address", "with labels", b"\0www.a-b_c." + text)
    put("address", "mistyped", b"\0" + flipped(text, 20))
    put("address", "other", b"\0example.com")
    put("address", "empty label", b"\0." + text)
    put("address", "two dots", b"\0" + text + b"..")
    put("address", "key", b"\1" + bytes.fromhex(good["key"]))
    for r in v["refused"][3:20:4]:
        put("address", "refused " + r["name"], b"\0" + r["text"].encode())
        put("address", "key " + r["name"], b"\1" + bytes.fromhex(r["key"]))


def inner_map(v, name):
    raw = bytes.fromhex(next(d["inner"] for d in v["descriptors"] if d["name"] == name))
    return raw[4:4 + int.from_bytes(raw[2:4], "big")]


def descriptors(v):
    for d in v["descriptors"]:
        raw, inner = bytes.fromhex(d["hex"]), bytes.fromhex(d["inner"])
        put("descriptor", "record " + d["name"], b"\0" + raw)
        put("descriptor", "flipped record " + d["name"], b"\0" + flipped(raw, 900))
        put("descriptor", "plain " + d["name"], b"\1" + inner)
    put("descriptor", "plain of another format", b"\1\2" + inner[1:])
    for name in ("for all", "for all, ports not told"):
        raw = inner_map(v, name)
        for kind in (2, 3):
            put("descriptor", "map %d %s" % (kind, name), bytes([kind]) + raw)
            put("descriptor", "cut map %d %s" % (kind, name), bytes([kind]) + raw[:-1])
            put("descriptor", "changed map %d %s" % (kind, name),
                bytes([kind]) + flipped(raw, 40))
    put("descriptor", "map huge", b"\2\xdf\xff\xff\xff\xff")


def guards(v):
    net, now = bytes.fromhex(v["net"]["id"]), v["now"]

    def u64(x):
        return x.to_bytes(8, "big")

    def blob(n, m, since=now - DAY, life=90 * DAY, unlisted=0):
        raw = b"cyx-gd 1\1" + net + bytes([n, m])
        for i in range(n):
            raw += h("guard", bytes([i])) + u64(since) + u64(since + life) + u64(unlisted)
        for i in range(m):
            raw += h("second", bytes([i])) + u64(now + (i + 1) * DAY) + u64(unlisted)
        return raw + h("cyx guards file", raw)

    put("guards", "none", b"\0" + blob(0, 0))
    put("guards", "three and four", b"\0" + blob(3, 4))
    put("guards", "eight and four", b"\0" + blob(8, 4, unlisted=now - 5))
    put("guards", "of the future", b"\0" + blob(3, 4, since=now + 500 * DAY))
    put("guards", "late", b"\0" + blob(3, 4, since=2 ** 64 - 1 - 100 * DAY, unlisted=2 ** 64 - 1))
    put("guards", "kept too long", b"\0" + blob(3, 4, life=121 * DAY))
    put("guards", "nine", b"\0" + blob(9, 0))
    put("guards", "cut", b"\1" + blob(3, 4)[:-1])
    put("guards", "changed", b"\0" + flipped(blob(3, 4), 50))
    put("guards", "time near zero", b"\xc8" + blob(3, 4, unlisted=7))


def delegations(v):
    net, address = bytes.fromhex(v["net"]["id"]), bytes.fromhex(v["address"])
    entries = [v["period"].to_bytes(8, "big") + d["serial"].to_bytes(4, "big")
               + bytes.fromhex(d["d_seed"]) + bytes.fromhex(d["signature"])
               for d in v["delegations"]]

    def blob(list_):
        raw = b"cyx-dg 1\1" + address + net + len(list_).to_bytes(2, "big") + b"".join(list_)
        return raw + h("cyx delegation file", raw)

    put("delegation", "one", b"\0" + blob(entries[:1]))
    put("delegation", "another serial", b"\0" + blob(entries[1:]))
    put("delegation", "one period twice", b"\0" + blob(entries))
    put("delegation", "none", b"\0" + blob([]))
    put("delegation", "changed", b"\1" + flipped(blob(entries[:1]), 100))
    put("delegation", "cut", b"\1" + blob(entries[:1])[:-1])


def main():
    with open(os.path.join(HERE, "..", "vectors", "endpoint.json")) as f:
        v = json.load(f)
    addresses(v)
    descriptors(v)
    guards(v)
    delegations(v)


if __name__ == "__main__":
    main()
