#!/usr/bin/python3
"""Writes the test vectors beside it, from docs/protocol.md alone: it shares no code with the C
program, so that an error must be made twice to pass. Needs python3-cryptography, python3-msgpack.

  make.py           writes the *.json files (those with public vectors, noise.json and the three of
                    HCTR2, are only checked)
  make.py --check   writes them to a temporary folder and compares; exit 1 on a difference
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import tempfile

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import (Ed25519PrivateKey,
                                                                  Ed25519PublicKey)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.dont_write_bytecode = True
import hctr2  # noqa: E402, beside this file

HERE = os.path.dirname(os.path.abspath(__file__))
RAW = (Encoding.Raw, PublicFormat.Raw)
MAJOR = 1


def secret(label):
    """A fixed 32-byte secret for each use."""
    return hashlib.sha256(b"cyx test vector: " + label.encode()).digest()


def u16(v):
    return struct.pack(">H", v)


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


# ---- section 1: primitives ---------------------------------------------------------------------


def h(label, *parts):
    raw = bytes([len(label)]) + label.encode() + b"".join(parts)
    return hashlib.blake2b(raw, digest_size=32).digest()


def mac16(key, data):
    return hashlib.blake2b(data, digest_size=16, key=key).digest()


def dh_pub(sec):
    return X25519PrivateKey.from_private_bytes(sec).public_key().public_bytes(*RAW)


def dh(sec, pub):
    return X25519PrivateKey.from_private_bytes(sec).exchange(X25519PublicKey.from_public_bytes(pub))


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def noise_hkdf(ck, ikm, n):
    temp, out, last = hmac256(ck, ikm), [], b""
    for i in range(n):
        last = hmac256(temp, last + bytes([i + 1]))
        out.append(last)
    return out


def hchacha20(key, nonce):
    def rotl(x, n):
        return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF

    s = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
             + struct.unpack("<4I", nonce))

    def quarter(a, b, c, d):
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[d] = rotl(s[d] ^ s[a], 16)
        s[c] = (s[c] + s[d]) & 0xFFFFFFFF
        s[b] = rotl(s[b] ^ s[c], 12)
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[d] = rotl(s[d] ^ s[a], 8)
        s[c] = (s[c] + s[d]) & 0xFFFFFFFF
        s[b] = rotl(s[b] ^ s[c], 7)

    for _ in range(10):
        for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(*q)
        for q in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(*q)
    return struct.pack("<8I", *(s[0:4] + s[12:16]))


def xchacha_seal(key, nonce, text, ad):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(b"\0" * 4 + nonce[16:], text, ad)


def network_id(name, effort, lab):
    return h("cyx network 1", msgpack.packb({1: name, 2: effort, 3: lab}))


# ---- Noise, revision 34 ------------------------------------------------------------------------


class Noise:
    """The symmetric state of 25519_ChaChaPoly_SHA256."""

    def __init__(self, name, prologue):
        raw = name.encode()
        self.h = raw.ljust(32, b"\0") if len(raw) <= 32 else hashlib.sha256(raw).digest()
        self.ck, self.k, self.n = self.h, None, 0
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, ikm):
        """Returns the HKDF's third output, which Noise itself doesn't use."""
        self.ck, self.k, third = noise_hkdf(self.ck, ikm, 3)
        self.n = 0
        return third

    def encrypt(self, text):
        out = text
        if self.k is not None:
            nonce = b"\0" * 4 + struct.pack("<Q", self.n)
            out = ChaCha20Poly1305(self.k).encrypt(nonce, text, self.h)
            self.n += 1
        self.mix_hash(out)
        return out

    def split(self):
        return noise_hkdf(self.ck, b"", 3)


def run_noise(pattern, prologue, si, ei, sr, er, payloads):
    """Both messages of IK or NK as their sender writes them, and the state after."""
    s = Noise("Noise_%s_25519_ChaChaPoly_SHA256" % pattern, prologue)
    pub_r, pub_ei, pub_er = dh_pub(sr), dh_pub(ei), dh_pub(er)
    s.mix_hash(pub_r)
    s.mix_hash(pub_ei)  # e
    s.mix_key(dh(ei, pub_r))  # es
    first = pub_ei
    if pattern == "IK":
        first += s.encrypt(dh_pub(si))  # s
        s.mix_key(dh(si, pub_r))  # ss
    first += s.encrypt(payloads[0])
    s.mix_hash(pub_er)  # e
    s.mix_key(dh(er, pub_ei))  # ee
    if pattern == "IK":
        s.mix_key(dh(er, dh_pub(si)))  # se
    return first, pub_er + s.encrypt(payloads[1]), s


def check_public_noise():
    with open(os.path.join(HERE, "noise.json")) as f:
        vectors = json.load(f)["vectors"]
    for v in vectors:
        get = lambda k: bytes.fromhex(v.get(k, ""))
        msgs = [(bytes.fromhex(a), bytes.fromhex(b)) for a, b in v["messages"]]
        m1, m2, s = run_noise(v["name"][6:8], get("prologue"), get("init_static"),
                              get("init_ephemeral"), get("resp_static"), get("resp_ephemeral"),
                              [m[0] for m in msgs[:2]])
        assert (m1, m2) == (msgs[0][1], msgs[1][1]), v["name"]
        assert s.h == get("handshake_hash"), v["name"]
        keys = s.split()
        for i, (text, sealed) in enumerate(msgs[2:]):
            nonce = b"\0" * 4 + struct.pack("<Q", i // 2)
            assert ChaCha20Poly1305(keys[i % 2]).encrypt(nonce, text, b"") == sealed, v["name"]


# ---- section 3: handshake ----------------------------------------------------------------------

NET = network_id("vectors", 1, True)
GCM, UNLISTED = 1, 2


def with_macs(body, to_pub, cookie):
    body += mac16(h("cyx mac1", to_pub), body)
    return body + (mac16(cookie, body) if cookie else b"\0" * 16)


def handshake_case(name, feat_i, feat_r, cookie_i=None, cookie_r=None, net_time=1700000004):
    si, ei = secret("initiator static"), secret("initiator ephemeral " + name)
    sr, er = secret("responder static"), secret("responder ephemeral " + name)
    id_r = h("cyx node", secret("some identity"), b"\x07" * 36)
    index_i, index_r, sequence = 0x01020304, 0xA1A2A3A4, 0x0000065538FFFFF7
    version_i, version_r = bytes([1, 1, 0, 3]), bytes([1, 2, 5, 9])
    holds = (feat_i & feat_r & ~UNLISTED) | (feat_r & UNLISTED)
    rounded = (net_time + 5) // 10 * 10
    prologue = b"cyx link 1" + NET + bytes([MAJOR]) + id_r
    m1, m2, s = run_noise("IK", prologue, si, ei, sr, er,
                          [u64(sequence) + version_i + u32(feat_i),
                           u64(rounded) + version_r + u32(holds)])
    init = with_macs(bytes([1, MAJOR, 0, 0]) + u32(index_i) + m1, dh_pub(sr), cookie_i)
    resp = with_macs(bytes([2, MAJOR, 0, 0]) + u32(index_r) + u32(index_i) + m2, dh_pub(si),
                     cookie_r)
    assert len(init) == 152 and len(resp) == 108
    k1, k2, k3 = s.split()
    return {
        "name": name, "net": NET, "responder_id": id_r,
        "initiator_secret": si, "initiator_ephemeral": ei,
        "responder_secret": sr, "responder_ephemeral": er,
        "initiator_index": index_i, "responder_index": index_r, "sequence": sequence,
        "initiator_version": version_i, "responder_version": version_r,
        "initiator_features": feat_i, "responder_features": feat_r, "features": holds,
        "net_time": net_time, "net_time_rounded": rounded,
        "cookie_initiator": cookie_i or b"", "cookie_responder": cookie_r or b"",
        "init": init, "resp": resp, "handshake_hash": s.h,
        "key_initiator_to_responder": k1, "key_responder_to_initiator": k2, "third": k3,
    }


def handshake():
    cookie = mac16(secret("cookie secret"), b"\0" * 10 + b"\xff\xff" + bytes([192, 0, 2, 7]) + u16(4100))
    cases = [
        handshake_case("both have GCM", GCM, GCM),
        handshake_case("responder lacks GCM", GCM, 0, net_time=1700000005),
        handshake_case("unlisted initiator", GCM | UNLISTED, GCM, net_time=1699999999),
        handshake_case("with cookies", 0, GCM, cookie, cookie, net_time=0),
    ]
    nonce = secret("cookie nonce")[:24]

    def cookie_packet(packet, mac1_at, sender):
        sealed = xchacha_seal(h("cyx cookie", sender), nonce, cookie, packet[mac1_at:mac1_at + 16])
        out = bytes([3, MAJOR, 0, 0]) + packet[4:8] + nonce + sealed
        assert len(out) == 64
        return out

    init, resp = cases[0]["init"], cases[0]["resp"]
    return {
        "handshakes": cases,
        "cookie": {
            "secret": secret("cookie secret"), "address": "192.0.2.7:4100", "cookie": cookie,
            "nonce": nonce,
            "for_init": cookie_packet(init, 120, dh_pub(secret("responder static"))),
            "for_resp": cookie_packet(resp, 76, dh_pub(secret("initiator static"))),
        },
        "version": {"receiver_index": 0xDEADBEEF, "lowest": 1, "highest": 1,
                    "packet": bytes([6, 1, 1, 0]) + u32(0xDEADBEEF)},
    }


# ---- section 4: packets and frames -------------------------------------------------------------


def packets():
    key, index = secret("packet key"), 0x0B0C0D0E
    text = bytes(i * 7 % 251 for i in range(1296))
    out = []
    for counter in (0, 1, 255, 2 ** 32 + 5, 2 ** 40 - 1):
        head = bytes([4, 0, 0, 0]) + u32(index) + u64(counter)
        chacha = ChaCha20Poly1305(key).encrypt(b"\0" * 4 + struct.pack("<Q", counter), text, head)
        gcm = AESGCM(key).encrypt(b"\0" * 4 + struct.pack(">Q", counter), text, head)
        assert len(head + gcm) == 1328
        out.append({"counter": counter, "chacha": head + chacha, "gcm": head + gcm})
    return {"key": key, "receiver_index": index, "text": text, "packets": out}


def frames():
    cell = bytes(i * 11 % 253 for i in range(1280))
    data = b"a fragment's data"
    missing = bytes([0x80, 0x01] + [0] * 13 + [0x01])
    good = [
        {"type": "CELL", "path": 0x01020304, "cell": cell,
         "hex": bytes([1]) + u32(0x01020304) + cell},
        {"type": "DESTROY", "path": 0xFFFFFFFF, "hex": bytes([3]) + u32(0xFFFFFFFF)},
        {"type": "MSG", "kind": 1, "id": 7, "index": 2, "count": 3, "data": data,
         "hex": bytes([4, 1]) + u32(7) + bytes([2, 3]) + u16(len(data)) + data},
        {"type": "RESEND", "kind": 4, "id": 0x01000000, "missing": missing,
         "hex": bytes([5, 4]) + u32(0x01000000) + missing},
        {"type": "PING", "opaque": b"12345678", "hex": bytes([6]) + b"12345678"},
        {"type": "PONG", "opaque": b"87654321", "hex": bytes([7]) + b"87654321"},
        {"type": "OBSERVED", "address": "[2001:db8::5]:4100",
         "hex": bytes([8]) + bytes.fromhex("20010db8000000000000000000000005") + u16(4100)},
        {"type": "OBSERVED", "address": "192.0.2.9:65535",
         "hex": bytes([8]) + b"\0" * 10 + b"\xff\xff" + bytes([192, 0, 2, 9]) + u16(65535)},
        {"type": "GOODBYE", "reason": 4, "hex": bytes([9, 4])},
        {"type": "PADDING", "hex": bytes(20)},
    ]
    full = b"\x55" * 1286

    def msg(kind, index, count, body, length=None):
        return bytes([4, kind]) + u32(9) + bytes([index, count]) + u16(
            len(body) if length is None else length) + body

    bad = [
        ["path id 0 in CELL", bytes([1]) + u32(0) + cell],
        ["path id 0 in DESTROY", bytes([3]) + u32(0)],
        ["index equal to count", msg(1, 1, 1, b"x")],
        ["count 0", msg(1, 0, 0, b"x")],
        ["count 52", msg(1, 51, 52, b"x")],
        ["short fragment before the last", msg(1, 0, 2, full[1:])],
        ["fragment longer than 1286", msg(1, 0, 1, full + b"x")],
        ["last fragment empty", msg(1, 1, 2, b"")],
        ["message longer than 65536", msg(1, 50, 51, full[:1237])],
        ["kind 0", msg(0, 0, 1, b"x")],
        ["kind 5", msg(5, 0, 1, b"x")],
        ["kind 0 in RESEND", bytes([5, 0]) + u32(1) + missing],
        ["kind 5 in RESEND", bytes([5, 5]) + u32(1) + missing],
        ["reason 0", bytes([9, 0])],
    ]
    return {"frames": good, "bad": [{"name": n, "hex": b} for n, b in bad],
            "unknown": [bytes([t]) + b"\x01\x02" for t in (2, 10, 0x80, 255)],
            "largest_last": msg(2, 50, 51, full[:1236])}


def fragments():
    out = []
    for size, kind in ((1, 1), (1286, 1), (1287, 2), (7684, 3), (6404, 4), (8208, 2), (65536, 1)):
        data = bytes((i * 31 + i // 256) % 256 for i in range(size))
        parts = [data[i:i + 1286] for i in range(0, size, 1286)]
        built = b"".join(bytes([4, kind]) + u32(77) + bytes([i, len(parts)]) + u16(len(p)) + p
                         for i, p in enumerate(parts))
        out.append({"size": size, "kind": kind, "id": 77, "count": len(parts),
                    "last": len(parts[-1]), "frames_sha256": hashlib.sha256(built).digest()})
    assert [o["count"] for o in out] == [1, 1, 2, 6, 5, 7, 51]
    return {"data": "byte i of a message is (31 i + i / 256) mod 256", "fragments": out}


# ---- section 13: proof of work -----------------------------------------------------------------


def pow_input(purpose, seed, x, y, nonce, effort):
    c = b"cyx-pow-1" + bytes([purpose]) + seed + x + y + nonce + u32(effort)
    assert len(c) == 110
    return c


def pow_hashes(c):
    out = []
    for j in range(8192):
        d = hashlib.blake2b(c + u16(j)).digest()
        out += [v >> 4 for v in struct.unpack(">8Q", d)]
    return out


def pow_join(items, bits):
    """Pairs of (value, indices) that agree in the lowest bits and share no index."""
    buckets, out, mask = {}, [], 2 ** bits - 1
    for value, idx in items:
        bucket = buckets.setdefault(value & mask, [])
        for value2, idx2 in bucket:
            if not any(i in idx2 for i in idx):
                joined = idx + idx2 if idx < idx2 else idx2 + idx
                out.append(((value ^ value2) >> bits, joined))
        bucket.append((value, idx))
    return out


def pow_enough(c, idx, effort):
    d = hashlib.blake2b(c + b"".join(map(u16, idx))).digest()
    return struct.unpack(">Q", d[:8])[0] <= (2 ** 64 - 1) // effort


def pow_solve(purpose, x, effort, seed=bytes(16), y=bytes(32), want=pow_enough, start=1):
    """The first solution in canonical order for which want(C, indices, effort) holds, and the
    lists of pairs and fours of its nonce."""
    while True:
        nonce = start.to_bytes(16, "big")
        c = pow_input(purpose, seed, x, y, nonce, effort)
        pairs = pow_join([(g, (i,)) for i, g in enumerate(pow_hashes(c))], 15)
        fours = pow_join(pairs, 15)
        for value, idx in sorted(pow_join(fours, 15), key=lambda e: e[1]):
            if value == 0 and want(c, idx, effort):
                return nonce, idx, pairs, fours
        start += 1


def proof(nonce, effort, idx):
    return nonce + u32(effort) + b"".join(map(u16, idx))


def pows():
    x, y, seed = secret("pow subject"), secret("pow pivot"), secret("pow seed")[:16]
    nonce, idx, pairs, fours = pow_solve(2, x, 1)
    good = [{"name": "id, effort 1", "purpose": 2, "seed": bytes(16), "x": x, "y": bytes(32),
             "least": 1, "proof": proof(nonce, 1, idx)}]
    n2, i2, _, _ = pow_solve(1, x, 5, seed, y)
    good.append({"name": "splice, effort 5", "purpose": 1, "seed": seed, "x": x, "y": y,
                 "least": 4, "proof": proof(n2, 5, i2)})
    n3, i3, _, _ = pow_solve(3, x, 2)
    good.append({"name": "descriptor, effort 2", "purpose": 3, "seed": bytes(16), "x": x,
                 "y": bytes(32), "least": 2, "proof": proof(n3, 2, i3)})
    i = list(idx)
    swapped = {
        "i0 > i1": [1, 0, 2, 3, 4, 5, 6, 7], "i2 > i3": [0, 1, 3, 2, 4, 5, 6, 7],
        "i4 > i5": [0, 1, 2, 3, 5, 4, 6, 7], "i6 > i7": [0, 1, 2, 3, 4, 5, 7, 6],
        "i0 > i2": [2, 3, 0, 1, 4, 5, 6, 7], "i4 > i6": [0, 1, 2, 3, 6, 7, 4, 5],
        "i0 > i4": [4, 5, 6, 7, 0, 1, 2, 3],
    }
    bad = [{"name": k, "drop": "field", "proof": proof(nonce, 1, [i[j] for j in order])}
           for k, order in swapped.items()]

    def add(name, drop, p, **over):
        bad.append(dict({"name": name, "drop": drop, "proof": p}, **over))

    pair_sets = [p[1] for p in pairs]
    four_sets = [f[1] for f in fours]

    def first_two(sets, rule):
        """Two disjoint sets in order whose join keeps every rule but the last."""
        for a in sets[:50]:
            for b in sets:
                if a < b and not set(a) & set(b) and rule(a, b):
                    return a + b
        raise AssertionError("no such sets")

    g = pow_hashes(pow_input(2, bytes(16), x, bytes(32), nonce, 1))

    def xor(ix):
        v = 0
        for k in ix:
            v ^= g[k]
        return v

    no_pairs = tuple(range(8))
    assert xor(no_pairs[:2]) % 2 ** 15 != 0
    add("pairs don't collide", "proof", proof(nonce, 1, no_pairs))
    four = first_two(pair_sets, lambda a, b: xor(a + b) % 2 ** 30 != 0)
    other = next(f for f in four_sets if f > four and not set(f) & set(four))
    add("a four doesn't collide", "proof", proof(nonce, 1, four + other))
    eight = first_two(four_sets, lambda a, b: xor(a + b) != 0)
    add("the eight don't collide", "proof", proof(nonce, 1, eight))
    near = next(ix for v, ix in pow_join(fours, 15) if v != 0)
    add("the eight collide in 45 bits only", "proof", proof(nonce, 1, near))
    twice = i[:]
    twice[1] = twice[5]
    add("an index twice", "field", proof(nonce, 1, sorted(twice)))
    add("an index twice, order kept", "field",
        proof(nonce, 1, [0, 9, 2, 9, 4, 9, 6, 9]))
    add("effort 0", "field", proof(nonce, 0, i))
    add("effort above 2^20", "field", proof(nonce, 2 ** 20 + 1, i))
    add("effort below what is asked", "proof", proof(nonce, 1, i), least=2)
    add("effort raised after solving", "proof", proof(nonce, 2, i))
    add("another nonce", "proof", proof(bytes([nonce[0] ^ 1]) + nonce[1:], 1, i))
    add("another subject", "proof", proof(nonce, 1, i), x=secret("another subject"))
    add("another purpose", "proof", proof(nonce, 1, i), purpose=3)
    add("another seed", "proof", proof(nonce, 1, i), seed=seed)
    add("another pivot", "proof", proof(nonce, 1, i), y=y)
    n4, i4, _, _ = pow_solve(2, x, 1000, want=lambda c, ix, e: not pow_enough(c, ix, e))
    add("solved, but its hash is too large for its effort", "proof", proof(n4, 1000, i4), least=1)
    base = {"purpose": 2, "seed": bytes(16), "x": x, "y": bytes(32), "least": 1}
    return {"good": good, "bad": [dict(base, **b) for b in bad]}


# ---- sections 2 and 6: records -----------------------------------------------------------------

NOW = 1700000000
HOUR = 3600


def envelope(key, type_, sequence, expiry, body, net=NET, version=1, n=None):
    pub = key.public_key().public_bytes(*RAW)
    head = bytes([version, type_]) + u16(len(body) if n is None else n) + u64(sequence) + \
        u64(expiry) + pub
    assert len(head) == 52
    return head + body + key.sign(b"cyx record 1" + net + head + body)


def records():
    key = Ed25519PrivateKey.from_private_bytes(secret("record identity"))
    pub = key.public_key().public_bytes(*RAW)
    nonce, idx, _, _ = pow_solve(2, pub, 1)
    puzzle = proof(nonce, 1, idx)
    v4 = [4, bytes([192, 0, 2, 1]) + u16(4100)]
    v6 = [6, bytes.fromhex("20010db8000000000000000000000001") + u16(4100)]
    lora = [7, bytes([1, 2, 3, 4])]
    body = {1: dh_pub(secret("link")), 2: dh_pub(secret("onion")), 3: [v4, v6], 4: 1,
            5: bytes([1, 1, 0, 0]), 7: puzzle, 8: 12500}
    cases = []

    def add(name, drop, data, **more):
        cases.append(dict({"name": name, "drop": drop, "hex": data}, **more))

    def node(b, sequence=9, expiry=NOW + 24 * HOUR, **kw):
        raw = b if isinstance(b, bytes) else msgpack.packb(b)
        return envelope(key, 1, sequence, expiry, raw, **kw)

    def but(changes, drop_keys=()):
        merged = {k: v for k, v in {**body, **changes}.items() if k not in drop_keys}
        return dict(sorted(merged.items()))

    plain = node(body)
    full = node(but({3: [v4, v6, lora, v4, v6, lora], 4: 2 ** 32 - 1, 5: bytes([1, 2, 3, 4]),
                     6: secret("family")[:16], 8: 2 ** 32 - 1}), sequence=2 ** 64 - 1)
    add("plain", "none", plain, built=True)
    add("full", "none", full, built=True, roles=2 ** 32 - 1, capacity=2 ** 32 - 1, n_addrs=6,
        sequence=2 ** 64 - 1, family=secret("family")[:16])
    add("no addresses", "none", node(but({3: []})), n_addrs=0)
    add("unknown keys", "none", node({**body, 9: b"newer", 300: [1, [2]], "name": "x"}))
    add("an address of unknown kind", "none", node(but({3: [[9, b"?"], v4]})), n_addrs=1)
    add("expiry in a second", "none", node(body, expiry=NOW + 1))
    add("expiry in 48 h", "none", node(body, expiry=NOW + 48 * HOUR))
    add("expiry now", "expired", node(body, expiry=NOW))
    add("expiry long ago", "expired", node(body, expiry=5))
    add("expiry in 48 h and a second", "expired", node(body, expiry=NOW + 48 * HOUR + 1))
    add("expiry at the end of time", "expired", node(body, expiry=2 ** 64 - 1))
    for k in (1, 2, 3, 4, 5, 7, 8):
        add("without key %d" % k, "field", node(but({}, [k])))
    for k in (1, 2, 5, 7):
        add("key %d too short" % k, "field", node(but({k: body[k][:-1]})))
        add("key %d too long" % k, "field", node(but({k: body[k] + b"\0"})))
        add("key %d an integer" % k, "field", node(but({k: 1})))
    add("key 3 no array", "field", node(but({3: 1})))
    for k in (4, 8):
        add("key %d above 32 bits" % k, "field", node(but({k: 2 ** 32})))
        add("key %d negative" % k, "field", node(but({k: -1})))
        add("key %d a binary" % k, "field", node(but({k: b"1"})))
    add("family too short", "field", node(but({6: bytes(15)})))
    add("family nil", "field", node(but({6: None})))
    add("major 0", "field", node(but({5: bytes([0, 1, 0, 0])})))
    add("lowest major above highest", "field", node(but({5: bytes([2, 1, 0, 0])})))
    add("seven addresses", "limit", node(but({3: [v4] * 7})))
    add("port 0 in IPv4", "field", node(but({3: [[4, bytes([192, 0, 2, 1, 0, 0])]]})))
    add("port 0 in IPv6", "field", node(but({3: [[6, v6[1][:16] + u16(0)]]})))
    add("IPv4 too short", "field", node(but({3: [[4, v4[1][:-1]]]})))
    add("IPv4 too long", "field", node(but({3: [[4, v4[1] + b"\0"]]})))
    add("IPv6 too short", "field", node(but({3: [[6, v6[1][:-1]]]})))
    add("IPv6 holds an IPv4 address", "field",
        node(but({3: [[6, b"\0" * 10 + b"\xff\xff" + v4[1]]]})))
    add("LoRa id too short", "field", node(but({3: [[7, b"123"]]})))
    add("address without bytes", "field", node(but({3: [[4]]})))
    add("address with a third item", "field", node(but({3: [v4 + [0]]})))
    add("address no array", "field", node(but({3: [4]})))
    add("body no map", "field", node(msgpack.packb([1, 2])))
    add("body empty", "short", node(b""))
    add("body cut", "short", node(msgpack.packb(body)[:-1]))
    add("byte behind the body's map", "field", node(msgpack.packb(body) + b"\xc0"))
    raw = msgpack.packb(body)
    assert raw[0] == 0x87 and raw[1] == 1
    add("key not in its shortest form", "field", node(raw[:1] + b"\xcc\x01" + raw[2:]))
    add("keys out of order", "field", node({**{2: body[2]}, **body}))
    twice = msgpack.packb(body[1])
    add("key twice", "field", node(b"\x88\x01" + twice + raw[1:]))
    add("a float", "field", node({**body, 9: 1.5}))
    add("seven levels", "limit", node({**body, 9: [[[[[[1]]]]]]}))
    add("six levels", "none", node({**body, 9: [[[[[1]]]]]}))
    wrong = bytes([puzzle[0] ^ 1]) + puzzle[1:]
    add("puzzle of another nonce", "proof", node(but({7: wrong})))
    add("puzzle not in order", "proof", node(but({7: puzzle[:20] + puzzle[22:24] + puzzle[20:22]
                                                  + puzzle[24:]})))
    stranger = Ed25519PrivateKey.from_private_bytes(secret("stranger"))
    add("puzzle of another identity", "proof",
        envelope(stranger, 1, 9, NOW + HOUR, msgpack.packb(body)))
    add("signature of another key", "signature",
        plain[:-64] + stranger.sign(b"cyx record 1" + NET + plain[:-64]))
    add("signed for another network", "signature", node(body, net=network_id("other", 1, True)))
    add("type 2", "type", envelope(key, 2, 9, NOW + HOUR, raw))
    add("envelope version 2", "version", node(body, version=2))
    add("length one too small", "field", node(body, n=len(raw) - 1))
    add("length one too great", "short", node(body, n=len(raw) + 1))
    big = 1024 - 52 - 64 - len(raw) - 1 - 3
    largest = node({**body, 9: bytes(big)})
    assert len(largest) == 1024
    add("1024 bytes", "none", largest)
    add("1025 bytes", "long", node({**body, 9: bytes(big + 1)}))
    other = envelope(key, 4, 77, 12345, b"any body")
    return {
        "networks": [{"name": n, "effort": e, "lab": lab, "id": network_id(n, e, lab)}
                     for n, e, lab in (("vectors", 1, True), ("main", 4096, False),
                                       ("K\u00fcste", 65536, False), ("x" * 63, 127, True))],
        "net": {"name": "vectors", "effort": 1, "lab": True, "id": NET},
        "seed": secret("record identity"), "identity": pub, "puzzle": puzzle,
        "node_id": h("cyx node", pub, puzzle), "now": NOW,
        "link_key": body[1], "onion_key": body[2],
        "envelope": {"type": 4, "sequence": 77, "expiry": 12345, "body": b"any body",
                     "hex": other},
        "node_records": cases,
    }


# ---- sections 6, 7 and 12: records that the DHT stores -----------------------------------------

DAY = 86400


def srv(period, net=NET):
    return h("cyx srv 0", net, u64(period))


def descriptor_place(blinded, period, replica, net=NET):
    return h("cyx desc", blinded, u64(period), bytes([replica]), srv(period, net))


def delegation_text(period, serial, d, net=NET):
    text = b"cyx delegate 1" + net + u64(period) + u32(serial) + d
    assert len(text) == 90
    return text


def key_of(label):
    key = Ed25519PrivateKey.from_private_bytes(secret(label))
    return key, key.public_key().public_bytes(*RAW)


def plus_minus_one(point):
    """The point and (0, -1) added: (-x, -y)."""
    v = int.from_bytes(point, "little")
    sign, y = v >> 255, v % 2 ** 255
    return ((2 ** 255 - 19 - y) | ((sign ^ 1) << 255)).to_bytes(32, "little")


class DhtRecords:
    """Valid bodies, and the cases made of them."""

    def __init__(self):
        self.key, self.pub = key_of("pseudonym")
        self.blind, self.blinded = key_of("blinded key")
        self.d_key, self.d = key_of("delegated key")
        self.address = key_of("address key")[1]
        self.stranger, self.stranger_pub = key_of("stranger")
        self.main = network_id("vectors", 1, False)
        self.puzzle = self.solve(2, self.pub, 1)
        self.proof = self.solve(3, self.blinded, 1)
        self.proof256 = self.solve(3, self.blinded, 256, start=19)  # found from 1 on once
        self.content = secret("content")
        self.offer_map = msgpack.packb({1: self.address, 2: "any map of the host's"})
        self.period = (NOW - 43200) // DAY
        self.cases = []

    @staticmethod
    def solve(purpose, x, effort, start=1):
        nonce, idx, _, _ = pow_solve(purpose, x, effort, start=start)
        return proof(nonce, effort, idx)

    def add(self, name, drop, data, lab=True, **more):
        self.cases.append(dict({"name": name, "drop": drop, "lab": lab, "hex": data}, **more))

    def provider(self, expiry=NOW + 6 * HOUR, body=None, sequence=11, **kw):
        if body is None:
            body = self.content + u64(5 * 2 ** 30) + self.address + self.puzzle
        return envelope(self.key, 3, sequence, expiry, body, **kw)

    def offer(self, expiry=NOW + 2 * HOUR, raw=None, sequence=12, puzzle=None, **kw):
        body = (puzzle or self.puzzle) + (self.offer_map if raw is None else raw)
        return envelope(self.key, 4, sequence, expiry, body, **kw)

    def offer_place(self, puzzle):
        return h("cyx offer", h("cyx node", self.pub, puzzle)[:1])

    def sequence(self, period, minutes=0, count=0):
        start = (period - 1) * DAY + 43200
        return ((NOW - start) // 60 + minutes) * 256 + count

    def descriptor(self, size=2048, net=NET, **over):
        f = {"period": self.period, "serial": 3, "d": self.d, "proof": self.proof,
             "nonce": secret("descriptor nonce")[:24], "signer": self.d_key, "delegated": self.d,
             "delegated_serial": over.get("serial", 3), "delegator": self.blind,
             "publisher": self.blinded, "delegation_net": net, "envelope_net": net, **over}
        f.setdefault("delegated_period", f["period"])
        f.setdefault("expiry", (f["period"] + 1) * DAY + 43200 + 43200)
        f.setdefault("sequence", self.sequence(f["period"]))
        inner = bytes(i * 13 % 251 for i in range(size - 300 + 16))
        delegation = f["delegator"].sign(delegation_text(
            f["delegated_period"], f["delegated_serial"], f["delegated"], f["delegation_net"]))
        body = u64(f["period"]) + u32(f["serial"]) + f["d"] + delegation + f["proof"] + f["nonce"]
        assert len(body) == 168
        body += inner
        head = bytes([1, 2]) + u16(len(body)) + u64(f["sequence"]) + u64(f["expiry"]) + \
            f["publisher"]
        data = head + body + f["signer"].sign(b"cyx record 1" + f["envelope_net"] + head + body)
        assert len(data) == size
        return data

    def add_providers(self):
        place = [h("cyx prov", self.content)]
        add, make = self.add, self.provider
        add("provider", "none", make(), built=True, type=3, places=place)
        add("provider, expiry in a second", "none", make(NOW + 1))
        add("provider, expiry in 24 h", "none", make(NOW + 24 * HOUR))
        add("provider, greatest sequence", "none", make(sequence=2 ** 64 - 1), built=True)
        add("provider, main network", "none", make(net=self.main), lab=False, built=True)
        add("provider, expiry now", "expired", make(NOW))
        add("provider, expiry in 24 h and a second", "expired", make(NOW + 24 * HOUR + 1))
        add("provider, expiry at the end of time", "expired", make(2 ** 64 - 1))
        whole = make()[52:-64]
        add("provider, body one byte short", "short", make(body=whole[:-1]))
        add("provider, body one byte long", "field", make(body=whole + b"\0"))
        add("provider, body empty", "short", make(body=b""))
        add("provider, 257 bytes", "long", make(body=bytes(257 - 116)))
        other = bytes([self.puzzle[0] ^ 1]) + self.puzzle[1:]
        add("provider, puzzle of another nonce", "proof", make(body=whole[:72] + other))
        add("provider, puzzle of another key", "proof",
            envelope(self.stranger, 3, 1, NOW + HOUR, whole))
        add("provider, signature of another key", "signature",
            make()[:-64] + self.stranger.sign(b"cyx record 1" + NET + make()[:-64]))
        add("provider, signed for another network", "signature", make(net=self.main))
        add("provider, envelope version 2", "version", make(version=2))
        for name, point in (("outside the prime-order group", plus_minus_one(self.address)),
                            ("of small order", bytes(32)), ("not canonical", b"\xff" * 32)):
            add("provider, address key " + name, "key", make(body=whole[:40] + point + whole[72:]))

    def add_offers(self):
        add, make = self.add, self.offer
        add("offer", "none", make(), built=True, type=4, places=[self.offer_place(self.puzzle)])
        add("offer, empty map", "none", make(raw=b"\x80"), built=True)
        add("offer, expiry in 6 h", "none", make(NOW + 6 * HOUR))
        largest = {1: bytes(2048 - 116 - 36 - 5)}
        assert len(make(raw=msgpack.packb(largest))) == 2048
        add("offer, 2048 bytes", "none", make(raw=msgpack.packb(largest)), built=True)
        add("offer, 2049 bytes", "long", make(raw=msgpack.packb({1: largest[1] + b"x"})))
        add("offer, expiry now", "expired", make(NOW))
        add("offer, expiry in 6 h and a second", "expired", make(NOW + 6 * HOUR + 1))
        for name, drop, raw in (
                ("no map", "field", b"\x91\x01"), ("nil", "field", b"\xc0"),
                ("nothing behind the puzzle", "short", b""), ("map cut", "short", b"\x81\x01"),
                ("byte behind the map", "field", b"\x80\x80"),
                ("key not in its shortest form", "field", b"\x81\xcc\x01\x01"),
                ("keys out of order", "field", b"\x82\x02\x01\x01\x01"),
                ("key twice", "field", b"\x82\x01\x01\x01\x01"),
                ("a float", "field", msgpack.packb({1: 1.5})),
                ("text that is no UTF-8", "field", b"\x81\x01\xa1\xff"),
                ("seven levels", "limit", msgpack.packb({1: [[[[[[1]]]]]]}))):
            add("offer, " + name, drop, make(raw=raw))
        add("offer, puzzle cut", "short", envelope(self.key, 4, 1, NOW + HOUR, self.puzzle[:-1]))
        order = self.puzzle[:20] + self.puzzle[22:24] + self.puzzle[20:22] + self.puzzle[24:]
        add("offer, puzzle not in order", "proof", make(puzzle=order))
        add("offer, signature of another key", "signature",
            make()[:-64] + self.stranger.sign(b"cyx record 1" + NET + make()[:-64]))

    def places(self, period, net=NET):
        return [descriptor_place(self.blinded, period, r, net) for r in (0, 1)]

    def add_descriptors(self):
        add, make, p = self.add, self.descriptor, self.period
        for size in (2048, 4096, 8192):
            add("descriptor, %d bytes" % size, "none", make(size), built=True, type=2, serial=3,
                places=self.places(p))
        add("descriptor, period before", "none", make(period=p - 1), built=True, type=2, serial=3,
            places=self.places(p - 1))
        add("descriptor, period after", "none", make(period=p + 1), built=True, type=2, serial=3,
            places=self.places(p + 1))
        add("descriptor, greatest serial", "none", make(serial=2 ** 32 - 1), built=True)
        add("descriptor, sequence 0", "none", make(sequence=0), built=True)
        for q in (p - 1, p, p + 1):
            add("descriptor, sequence an hour ahead, period %+d" % (q - p), "none",
                make(period=q, sequence=self.sequence(q, 60, 255)), built=True)
            add("descriptor, sequence more than an hour ahead, period %+d" % (q - p), "field",
                make(period=q, sequence=self.sequence(q, 61)))
        add("descriptor, main network", "none", make(net=self.main, proof=self.proof256),
            lab=False, built=True, type=2, serial=3, places=self.places(p, self.main))
        add("descriptor, effort 1 in the main network", "proof", make(net=self.main), lab=False)
        add("descriptor, two periods before", "expired", make(period=p - 2))
        add("descriptor, two periods after", "expired", make(period=p + 2, sequence=0))
        add("descriptor, period 2^64 - 1", "expired",
            make(period=2 ** 64 - 1, sequence=0, expiry=NOW + DAY))
        end = (p + 1) * DAY + 43200 + 43200
        add("descriptor, expiry a second early", "field", make(expiry=end - 1))
        add("descriptor, expiry a second late", "field", make(expiry=end + 1))
        add("descriptor, expiry now", "expired", make(expiry=NOW))
        add("descriptor, 2047 bytes", "field", make(2047))
        add("descriptor, 2049 bytes", "field", make(2049))
        add("descriptor, 8191 bytes", "field", make(8191))
        add("descriptor, no ciphertext", "field", make(284))
        add("descriptor, proof of another nonce", "proof",
            make(proof=bytes([self.proof[0] ^ 1]) + self.proof[1:]))
        add("descriptor, proof of another blinded key", "proof",
            make(publisher=self.stranger_pub, delegator=self.stranger))
        add("descriptor, proof of an id's purpose", "proof",
            make(publisher=self.pub, delegator=self.key, proof=self.puzzle))
        add("descriptor, envelope signed by the blinded key", "signature", make(signer=self.blind))
        add("descriptor, envelope signed for another network", "signature",
            make(envelope_net=self.main))
        for name, over in (("another period", {"delegated_period": p + 1}),
                           ("another serial", {"delegated_serial": 2}),
                           ("another key", {"delegated": self.stranger_pub}),
                           ("another network", {"delegation_net": self.main})):
            add("descriptor, delegation of " + name, "signature", make(**over))
        add("descriptor, delegation by a stranger", "signature", make(delegator=self.stranger))
        add("descriptor, delegation by d itself", "signature", make(delegator=self.d_key))

    def add_others(self):
        for t in (0, 5, 6, 255):
            self.add("type %d" % t, "type", envelope(self.key, t, 1, NOW + HOUR, b"body"))


def dht_records():
    r = DhtRecords()
    r.add_providers()
    r.add_offers()
    r.add_descriptors()
    r.add_others()
    text = delegation_text(r.period, 3, r.d)
    return {
        "net": {"name": "vectors", "effort": 1, "lab": True, "id": NET},
        "main": {"name": "vectors", "effort": 1, "lab": False, "id": r.main},
        "now": NOW, "period": r.period,
        "pseudonym": {"seed": secret("pseudonym"), "key": r.pub, "puzzle": r.puzzle},
        "blinded": {"seed": secret("blinded key"), "key": r.blinded},
        "delegated": {"seed": secret("delegated key"), "key": r.d},
        "delegation": {"period": r.period, "serial": 3, "d": r.d, "text": text,
                       "signature": r.blind.sign(text)},
        "srv": [{"period": p, "srv": srv(p)} for p in (0, 1, r.period, 2 ** 64 - 1)],
        "descriptor_places": [
            {"blinded": r.blinded, "period": p, "replica": k, "place": descriptor_place(r.blinded, p, k)}
            for p in (0, r.period, 2 ** 64 - 1) for k in (0, 1)],
        "provider_places": [{"content": c, "place": h("cyx prov", c)}
                            for c in (bytes(32), r.content)],
        "offer_places": [{"byte": b, "place": h("cyx offer", bytes([b]))} for b in (0, 0xA5, 255)],
        "records": r.cases,
    }


# ---- section 8: path build ---------------------------------------------------------------------

RECORD, REPLY_RECORD, HOPS_MAX = 1536, 1280, 5
RELAY, END, REGISTER, SPLICE = 1, 2, 3, 4
MORE_WORK = 6


def stream(key, n):
    return Cipher(ChaCha20(key, bytes(16)), None).encryptor().update(bytes(n))


def xor(a, b):
    assert len(a) == len(b)
    return bytes(x ^ y for x, y in zip(a, b))


def sha256(data):
    return hashlib.sha256(data).digest()


def build_fields(command, stamp, target=bytes(32), rest=b"", kind=0, early_len=0):
    out = bytes([command, kind]) + u16(early_len) + u64(stamp) + target + rest.ljust(40, b"\0")
    assert len(out) == 84
    return out + bytes(200)


class BuildHop:
    """One hop: its keys, what it derives from a record, how it answers."""

    def __init__(self, i):
        self.id = h("cyx node", secret("hop identity %d" % i), b"\x07" * 36)
        self.secret = secret("hop onion key %d" % i)
        self.key = dh_pub(self.secret)
        self.hint = h("cyx hint", self.key)[:3]

    def begin(self, e, rest):
        head = bytes([1]) + self.hint
        prologue = b"cyx build 1" + NET + self.id + head + hashlib.blake2b(
            rest, digest_size=32).digest()
        s = Noise("Noise_NK_25519_ChaChaPoly_SHA256", prologue)
        s.mix_hash(self.key)
        s.mix_hash(e)
        return head, s

    def answer(self, h_after, ck_after, e, y_secret, fields):
        """The hop's reply record, and kf, kb, kr."""
        s = Noise("Noise_NK_25519_ChaChaPoly_SHA256", b"")
        s.h, s.ck = h_after, ck_after
        y = dh_pub(y_secret)
        s.mix_hash(y)
        s.mix_key(dh(y_secret, e))
        keys = s.split()
        record = y + s.encrypt(bytes(1104) + fields)
        assert len(record) == REPLY_RECORD
        return record, keys


def verdict(status, effort=0, seed=bytes(16)):
    return bytes([status, 0, 0, 0]) + u32(effort) + seed + bytes(104)


class BuildTrain:
    """A train as the client makes it, and as each hop turns it."""

    def __init__(self, hops, command, stamp, target, rest=b"", kind=0, early=b"", tag=""):
        n = len(hops)
        self.hops, self.n = hops, n
        self.e_secrets = [secret("ephemeral %s %d" % (tag, i)) for i in range(n)]
        self.fill_seed = secret("fill " + tag)
        self.e = [dh_pub(x) for x in self.e_secrets]
        self.es = [dh(x, hop.key) for x, hop in zip(self.e_secrets, hops)]
        ck0 = b"Noise_NK_25519_ChaChaPoly_SHA256"
        assert len(ck0) == 32
        self.ks = [noise_hkdf(ck0, es, 3)[2] for es in self.es]
        rounded = stamp // 60 * 60
        self.fields = [build_fields(RELAY, rounded, hop.id) for hop in hops[1:]]
        self.fields.append(build_fields(command, rounded, target, rest, kind, len(early)))
        self.states = [None] * n
        self.train = self.build(early)
        self.entries, self.exits = self.travel()

    def build(self, early):
        n = self.n
        fill = b""
        for i in range(n - 1):
            ks = stream(self.ks[i], HOPS_MAX * RECORD)
            fill = xor(fill + bytes(RECORD), ks[len(ks) - (i + 1) * RECORD:])
        room = (HOPS_MAX - n) * RECORD
        inside = early + stream(self.fill_seed, room)[len(early):]
        rest = xor(inside, stream(self.ks[n - 1], room)) + fill
        for i in reversed(range(n)):
            head, s = self.hops[i].begin(self.e[i], rest)
            assert s.mix_key(self.es[i]) == self.ks[i]
            record = head + self.e[i] + s.encrypt(bytes(1200) + self.fields[i])
            assert len(record) == RECORD and len(rest) == (HOPS_MAX - 1) * RECORD
            self.states[i] = (s.h, s.ck)
            whole = record + rest
            if i > 0:
                rest = xor(whole, stream(self.ks[i - 1], len(whole)))[:(HOPS_MAX - 1) * RECORD]
        return whole

    def travel(self):
        """What arrives at each hop and what it passes on, from the hop's side."""
        entries, exits, train = [], [], self.train
        for i, hop in enumerate(self.hops):
            entries.append(train)
            e, rest = train[4:36], train[RECORD:]
            assert train[:4] == bytes([1]) + hop.hint and e == self.e[i]
            _, s = hop.begin(e, rest)
            ks = s.mix_key(dh(hop.secret, e))
            text = ChaCha20Poly1305(s.k).decrypt(bytes(12), train[36:RECORD], s.h)
            assert text == bytes(1200) + self.fields[i]
            train = xor(rest + bytes(RECORD), stream(ks, HOPS_MAX * RECORD))
            exits.append(train)
        return entries, exits

    def replies(self, last, status, tag, effort=0, seed=bytes(16)):
        """What each hop from the first to `last` sends back when that one says `status`."""
        secrets = [secret("y %s %d" % (tag, i)) for i in range(last + 1)]
        noise = secret("reply noise " + tag)
        out, keys, reply = [None] * (last + 1), [None] * (last + 1), None
        for i in reversed(range(last + 1)):
            said = verdict(status, effort, seed) if i == last else verdict(0)
            record, keys[i] = self.hops[i].answer(*self.states[i], self.e[i], secrets[i], said)
            if i == last:
                reply = record + stream(noise, (HOPS_MAX - 1) * REPLY_RECORD)
            else:
                reply = record + xor(reply, stream(keys[i][2], len(reply)))[
                    :(HOPS_MAX - 1) * REPLY_RECORD]
            assert len(reply) == HOPS_MAX * REPLY_RECORD
            out[i] = reply
        return {"y_secrets": secrets, "noise_seed": noise, "keys": keys, "replies": out}


def train_case(name, hops, command, target, whole, **kw):
    stamp = 1700000039
    t = BuildTrain(hops, command, stamp, target, tag=name, **kw)
    back = t.replies(t.n - 1, 0, name)
    at_hops = []
    for i in range(t.n):
        kf, kb, kr = back["keys"][i]
        hop = {"e_secret": t.e_secrets[i], "es": t.es[i], "ks": t.ks[i], "h": t.states[i][0],
               "ck": t.states[i][1], "fields": t.fields[i][:84],
               "y_secret": back["y_secrets"][i], "kf": kf, "kb": kb, "kr": kr,
               "entry_sha256": sha256(t.entries[i]), "exit_sha256": sha256(t.exits[i]),
               "reply_sha256": sha256(back["replies"][i])}
        if whole:
            hop.update({"entry": t.entries[i], "exit": t.exits[i], "reply": back["replies"][i]})
        at_hops.append(hop)
    early = kw.get("early", b"")
    assert t.exits[-1][:len(early)] == early
    return {"name": name, "n": t.n, "command": command, "stamp": stamp, "target": target,
            "rest": kw.get("rest", b"").ljust(40, b"\0"), "early_kind": kw.get("kind", 0),
            "early": early, "fill_seed": t.fill_seed, "noise_seed": back["noise_seed"],
            "train": t.train, "hops": at_hops}


def train_errors(hops):
    """One train of three hops, and what the client gets when each hop in turn says each status."""
    t = BuildTrain(hops[:3], SPLICE, 1700000039, secret("token"), tag="errors")
    out = []
    for last in range(3):
        for status in range(1, 9):
            seed = secret("puzzle seed")[:16] if status == MORE_WORK else bytes(16)
            effort = 0xE0F1A2B3 if status == MORE_WORK else 0
            tag = "error %d %d" % (last, status)
            back = t.replies(last, status, tag, effort, seed)
            case = {"hop": last, "status": status, "effort": effort, "seed": seed,
                    "y_secrets": back["y_secrets"], "noise_seed": back["noise_seed"],
                    "keys": [k[:2] for k in back["keys"]],
                    "reply_sha256": [sha256(r) for r in back["replies"]]}
            if status in (MORE_WORK, 8):
                case["reply"] = back["replies"][0]
            out.append(case)
    return {"e_secrets": t.e_secrets, "fill_seed": t.fill_seed, "train_sha256": sha256(t.train),
            "target": secret("token"), "stamp": 1700000039, "cases": out}


def trains():
    hops = [BuildHop(i) for i in range(HOPS_MAX)]
    token, owner = secret("token"), secret("owner secret")
    proof_36 = bytes(range(36))
    splice = secret("puzzle seed")[:4] + proof_36
    terms = u16(50) + u16(200) + u16(4096) + u16(0) + u32(7) + secret("puzzle seed")[:16]
    register = terms + u64(0x0102030405060708)
    initial = bytes(i * 17 % 256 for i in range(1248))
    cases = []
    for n in range(1, HOPS_MAX + 1):
        cases.append(train_case("%d hops" % n, hops[:n], END if n % 2 else REGISTER,
                                bytes(32) if n % 2 else owner, False,
                                rest=b"" if n % 2 else register))
    for n in range(1, HOPS_MAX):
        cases.append(train_case("%d hops, early payload" % n, hops[:n], SPLICE, token, n == 3,
                                rest=splice, kind=0, early=initial))
    cases.append(train_case("2 hops, ATTACH", hops[:2], SPLICE, token, False, rest=splice, kind=1,
                            early=secret("locator")[:16]))
    cases.append(train_case("5 hops, SPLICE without early payload", hops, SPLICE, token, False,
                            rest=splice))
    return {
        "net": {"name": "vectors", "effort": 1, "lab": True, "id": NET},
        "hops": [{"id": x.id, "onion_secret": x.secret, "onion_key": x.key, "hint": x.hint}
                 for x in hops],
        "trains": cases, "errors": train_errors(hops),
    }


# ---- sections 7 and 12: addresses, blinding, delegations, descriptors --------------------------

# Ed25519 in extended coordinates (x = X/Z, y = Y/Z, T = XY/Z), as RFC 8032 has it. Slow is fine.
P25519 = 2 ** 255 - 19
ORDER = 2 ** 252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, P25519) % P25519


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * CURVE_D, 2 * p[2] * q[2]
    e, f, g, i = b - a, d - c, d + c, b + a
    return tuple(v % P25519 for v in (e * f, g * i, f * g, e * i))


def point_mul(s, p):
    q = (0, 1, 1, 0)
    while s > 0:
        if s & 1:
            q = point_add(q, p)
        p, s = point_add(p, p), s >> 1
    return q


def point_bytes(p):
    z = pow(p[2], -1, P25519)
    x, y = p[0] * z % P25519, p[1] * z % P25519
    return (y | (x & 1) << 255).to_bytes(32, "little")


def point_of(raw):
    v = int.from_bytes(raw, "little")
    y, sign = v % 2 ** 255, v >> 255
    assert y < P25519
    x2 = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, P25519) % P25519
    x = pow(x2, (P25519 + 3) // 8, P25519)
    if (x * x - x2) % P25519:
        x = x * pow(2, (P25519 - 1) // 4, P25519) % P25519
    assert (x * x - x2) % P25519 == 0
    if x & 1 != sign:
        x = P25519 - x
    return x, y, 1, x * y % P25519


BASE = point_of((4 * pow(5, -1, P25519) % P25519).to_bytes(32, "little"))


def order8():
    """A point of order 8: what L leaves of some point, when that is so much."""
    y = 2
    while True:
        y += 1
        try:
            t = point_mul(ORDER, point_of(y.to_bytes(32, "little")))
        except AssertionError:
            continue
        if point_bytes(point_mul(4, t)) == (P25519 - 1).to_bytes(32, "little"):
            return t


def scalar(v):
    return (v % ORDER).to_bytes(32, "little")


def hkdf(salt, ikm, info, n):
    prk, out, last = hmac256(salt or bytes(32), ikm), b"", b""
    for i in range((n + 31) // 32):
        last = hmac256(prk, last + info + bytes([i + 1]))
        out += last
    return out[:n]


def address_raw(key, version=1, checksum_of=None):
    return key + h("cyx address", key, bytes([checksum_of or version]))[:2] + bytes([version])


def address_text(raw):
    return base64.b32encode(raw).decode().lower() + ".cyx"


class Stream:
    """Bytes in the order in which the C program draws them."""

    def __init__(self, label):
        self.label, self.n, self.used = label, 0, b""

    def draw(self, n):
        out = b""
        while len(out) < n:
            out += secret("%s, draw %d" % (self.label, self.n))
            self.n += 1
        self.used += out[:n]
        return out[:n]

    def below(self, bound):
        while True:
            v = int.from_bytes(self.draw(8), "little")
            if v >= (2 ** 64 - bound) % bound:
                return v % bound


class Blinded:
    """An address key blinded for a period."""

    def __init__(self, seed, period, net=NET):
        self.net, self.period = net, period
        digest = hashlib.sha512(seed).digest()
        clamped = bytes([digest[0] & 248]) + digest[1:31] + bytes([digest[31] & 127 | 64])
        a = int.from_bytes(clamped, "little") % ORDER
        self.address = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(*RAW)
        assert point_bytes(point_mul(a, BASE)) == self.address
        raw = hashlib.blake2b(b"cyx blind 1" + self.address + net + u64(period)).digest()
        self.b = int.from_bytes(raw, "little") % ORDER
        self.a_p = self.b * a % ORDER
        self.blinded = point_bytes(point_mul(self.b, point_of(self.address)))
        assert point_bytes(point_mul(self.a_p, BASE)) == self.blinded
        self.prefix = hkdf(b"", digest[32:], b"cyx blind nonce" + self.blinded, 32)

    def sign(self, message, random):
        r = int.from_bytes(hashlib.sha512(self.prefix + random + message).digest(), "little") % ORDER
        R = point_bytes(point_mul(r, BASE))
        k = int.from_bytes(hashlib.sha512(R + self.blinded + message).digest(), "little") % ORDER
        signature = R + scalar(r + k * self.a_p)
        Ed25519PublicKey.from_public_bytes(self.blinded).verify(signature, message)
        return signature

    def delegate(self, serial, d, random):
        return self.sign(delegation_text(self.period, serial, d, self.net), random)


def entries_for(c, clients, e_secret, k):
    e = dh_pub(e_secret)
    for client in clients:
        okm = hkdf(e, dh(e_secret, client), b"cyx desc client" + c.blinded + u64(c.period), 40)
        yield okm[:8] + ChaCha20Poly1305(okm[8:]).encrypt(bytes(12), k, b"")


def inner_for_clients(c, body, clients, stream):
    e_secret, k, nonce = stream.draw(32), stream.draw(32), stream.draw(24)
    entries = list(entries_for(c, clients, e_secret, k))
    while len(entries) == 0 or len(entries) % 16:
        entries.append(stream.draw(56))
    for i in range(len(entries) - 1, 0, -1):
        j = stream.below(i + 1)
        entries[i], entries[j] = entries[j], entries[i]
    return bytes([1, 1]) + u16(len(body)) + dh_pub(e_secret) + u16(len(entries)) + \
        b"".join(entries) + nonce + xchacha_seal(k, nonce, body, b"")


def endpoint_descriptor(name, c, body, proof_, sequence, d_seed, delegation, serial, clients=None):
    stream = Stream("descriptor " + name)
    d_key = Ed25519PrivateKey.from_private_bytes(d_seed)
    if clients is None:
        inner = bytes([1, 0]) + u16(len(body)) + body
    else:
        inner = inner_for_clients(c, body, clients, stream)
    size = next(s for s in ((2048, 4096, 8192) if clients is None else (4096, 8192))
                if len(inner) <= s - 300)
    nonce = stream.draw(24)
    fixed = u64(c.period) + u32(serial) + d_key.public_key().public_bytes(*RAW) + delegation + \
        proof_ + nonce
    head = bytes([1, 2]) + u16(size - 52 - 64) + u64(sequence) + u64((c.period + 2) * DAY) + c.blinded
    key = hkdf(nonce, c.address, b"cyx desc inner" + c.blinded + u64(c.period), 32)
    data = head + fixed + xchacha_seal(key, nonce, inner.ljust(size - 300, b"\0"), head + fixed)
    data += d_key.sign(b"cyx record 1" + c.net + data)
    assert len(data) == size
    return {"name": name, "for_clients": clients is not None, "clients": clients or [],
            "random": stream.used, "inner": inner, "hex": data}


def addresses():
    keys = [key_of("address %d" % i) for i in range(4)]
    good = [{"seed": secret("address %d" % i), "key": pub, "text": address_text(address_raw(pub))}
            for i, (_, pub) in enumerate(keys)]
    pub, t8, bad = keys[0][1], order8(), []

    def add(name, verdict, key, **kw):
        bad.append({"name": name, "verdict": verdict, "key": key,
                    "text": address_text(address_raw(key, **kw))})

    for i in range(1, 8):
        moved = point_bytes(point_add(point_of(pub), point_mul(i, t8)))
        assert i != 4 or moved == plus_minus_one(pub)
        add("plus a torsion point, %d eighths%s" % (i, " = (0, -1)" if i == 4 else ""), "key", moved)
    for i in range(8):
        add("of small order, %d eighths" % i, "key", point_bytes(point_mul(i, t8)))
    for name, v in (("y = p", P25519), ("y = p + 1", P25519 + 1), ("y = 2^255 - 1", 2 ** 255 - 1),
                    ("x = 0 with a sign", 1 | 1 << 255)):
        add("not canonical: " + name, "key", v.to_bytes(32, "little"))
    off = next(y for y in range(3, 99) if not on_curve(y))
    add("not on the curve", "key", off.to_bytes(32, "little"))
    add("version 0", "version", pub, version=0, checksum_of=1)
    add("version 2", "version", pub, version=2)
    add("checksum of another version", "checksum", pub, checksum_of=2)
    return good, bad


def on_curve(y):
    try:
        point_of(y.to_bytes(32, "little"))
    except AssertionError:
        return False
    return True


def endpoints():
    good, bad = addresses()
    period = (NOW - 43200) // DAY
    seed, main = secret("address 0"), network_id("vectors", 1, False)
    blindings = []
    for s, p, net in ((seed, period, NET), (seed, period + 1, NET), (seed, period, main),
                      (secret("address 1"), 0, NET), (secret("address 1"), 2 ** 40, NET)):
        c = Blinded(s, p, net)
        random, text = secret("signing randomness %d" % p), b"a text of any length"
        blindings.append({
            "seed": s, "net": net, "period": p, "address": c.address, "b": scalar(c.b),
            "blinded": c.blinded, "secret": scalar(c.a_p), "prefix": c.prefix, "random": random,
            "text": text, "signature": c.sign(text, random)})
    c = Blinded(seed, period)
    nonce, idx, _, _ = pow_solve(3, c.blinded, 1)
    delegations = []
    for serial in (1, 2):
        stream = Stream("delegation %d" % serial)
        d_seed = stream.draw(32)
        d = Ed25519PrivateKey.from_private_bytes(d_seed).public_key().public_bytes(*RAW)
        signature = c.delegate(serial, d, stream.draw(32))
        delegations.append({"serial": serial, "d_seed": d_seed, "d": d, "random": stream.used,
                            "text": delegation_text(period, serial, d), "signature": signature})
    pivots = [[secret("pivot id %d" % i), secret("pivot token %d" % i)] for i in range(3)]
    ports = [[22, 1], [80, 1], [443, 3], [65535, 2]]
    service = dh_pub(secret("service key"))
    body = msgpack.packb({1: service, 2: pivots, 3: ports, 4: [secret("seed")[:16], 96], 5: 1})
    plain = msgpack.packb({1: service, 2: pivots[:1], 3: None, 5: 1})
    clients = [dh_pub(secret("client %d" % i)) for i in range(16)]
    sequence = ((NOW - ((period - 1) * DAY + 43200)) // 60) * 256 + 3
    args = (proof(nonce, 1, idx), sequence, delegations[1]["d_seed"], delegations[1]["signature"], 2)
    return {
        "note": "random: the bytes that the program draws, in the order of onion/delegation.h and "
                "onion/descriptor.h; draws below a bound take 8 bytes each, little-endian",
        "net": {"name": "vectors", "effort": 1, "lab": True, "id": NET}, "now": NOW,
        "addresses": good, "refused": bad, "blindings": blindings,
        "period": period, "address": c.address, "blinded": c.blinded,
        "delegations": delegations,
        "places": [descriptor_place(c.blinded, period, r) for r in (0, 1)],
        "proof": args[0], "sequence": sequence,
        "inner": {"service_key": service, "pivots": [{"id": i, "token": t} for i, t in pivots],
                  "ports": ports, "seed": secret("seed")[:16], "effort": 96, "handshakes": 1,
                  "map": body, "map_ask_ports_no_proof": plain},
        "client_secrets": [secret("client %d" % i) for i in range(16)],
        "stranger_secret": secret("client 99"),
        "descriptors": [
            endpoint_descriptor("for all", c, body, *args),
            endpoint_descriptor("for all, ports not told", c, plain, *args),
            endpoint_descriptor("for 16 clients", c, body, *args, clients=clients),
            endpoint_descriptor("for 3 clients", c, body, *args, clients=clients[:3]),
            endpoint_descriptor("for nobody", c, body, *args, clients=[]),
        ],
    }


# ---- section 14: streams -------------------------------------------------------------------------


def hkdf(salt, ikm, info, n):
    prk, out, block, i = hmac256(salt or bytes(32), ikm), b"", b"", 0
    while len(out) < n:
        i += 1
        block = hmac256(prk, block + info + bytes([i]))
        out += block
    return out[:n]


def quic_label(key, label, n):
    """HKDF-Expand-Label of TLS 1.3, empty context, at most one block."""
    full = b"tls13 " + label
    return hmac256(key, u16(n) + bytes([len(full)]) + full + b"\0\x01")[:n]


def quic_keys(key):
    return {"secret": key, "key": quic_label(key, b"quic key", 32), "iv": quic_label(key, b"quic iv", 12),
            "hp": quic_label(key, b"quic hp", 32), "next": quic_label(key, b"quic ku", 32)}


def check_public_quic():
    """RFC 9001, appendix A.5: keys of 32 bytes from a secret."""
    k = quic_keys(bytes.fromhex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b"))
    assert k["key"].hex() == "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8"
    assert k["iv"].hex() == "e0459b3474bdd0e44a41c144"
    assert k["hp"].hex() == "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4"
    assert k["next"].hex() == "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9"
    return k


def short_packet(keys, number, text):
    """A 1-RTT packet with an empty connection id and a packet number of 2 bytes."""
    head = bytes([0x41]) + u16(number)
    nonce = bytes(a ^ b for a, b in zip(keys["iv"], number.to_bytes(12, "big")))
    sealed = AESGCM(keys["key"]).encrypt(nonce, text, head)
    aes = Cipher(algorithms.AES(keys["hp"]), modes.ECB()).encryptor()
    sample = (head + sealed)[1 + 4:][:16]  # 4 bytes behind where the packet number starts
    mask = aes.update(sample)
    masked = bytes([head[0] ^ (mask[0] & 0x1F), head[1] ^ mask[1], head[2] ^ mask[2]])
    return {"number": number, "text": text, "head": head, "nonce": nonce, "sample": sample, "mask": mask[:5],
            "packet": masked + sealed}


def stream_case(name, stamp, params_c, params_s):
    address, dcid = h("test address", name.encode()), secret(name + " dcid")[:8]
    service, e_c, e_s = secret(name + " service"), secret(name + " e client"), secret(name + " e service")
    pub = dh_pub(service)
    prologue = b"cyx stream 1" + NET + address + dcid + b"\x01"
    sealed_stamp = stamp - stamp % 60
    first, second, s = run_noise("NK", prologue, None, e_c, service, e_s,
                                 [u64(sealed_stamp) + params_c, params_s])
    # es, again, for its third output: run_noise keeps only the last state
    early = Noise("Noise_NK_25519_ChaChaPoly_SHA256", prologue)
    x = noise_hkdf(early.ck, dh(e_c, pub), 3)[2]
    initial = hkdf(dcid, pub, b"cyx quic initial", 64)
    s1, s2, s3 = s.split()
    made = {
        "name": name, "net": NET, "address": address, "dcid": dcid, "service_secret": service, "service_key": pub,
        "e_client": e_c, "e_service": e_s, "stamp": stamp, "sealed_stamp": sealed_stamp,
        "params_client": params_c, "params_service": params_s,
        "message1": b"\x01" + u16(len(first)) + first, "message2": b"\x01" + u16(len(second)) + second,
        "initial_client": quic_keys(initial[:32]), "initial_server": quic_keys(initial[32:]),
        "early": quic_keys(hkdf(b"", x, b"cyx quic early", 32)), "resume": s3,
        "locators": [{"j": j, "locator": hkdf(b"", s3, b"cyx attach" + u32(j), 16)}
                     for j in (0, 1, 15, 2 ** 32 - 1)],
    }
    for level in ("hs", "app"):
        for side, base in (("client", s1), ("server", s2)):
            made[level + "_" + side] = quic_keys(hkdf(b"", base, b"cyx quic " + level.encode(), 32))
    made["packets"] = [short_packet(made["app_client"], n, t)
                       for n, t in ((0, b"\x01" + bytes(20)), (513, bytes(range(200))))]
    return made


def streams():
    return {"rfc9001_a5": check_public_quic(),
            "cases": [stream_case("usual", 1700000059, bytes(range(53)), bytes(range(100, 153))),
                      stream_case("no parameters", 0, b"", b""),
                      stream_case("longest", 2 ** 40, bytes(256), b"\xff" * 256)]}


# ---- files -------------------------------------------------------------------------------------


def onion_cell(counter, splice, command, kind, payload):
    return (bytes(16) + u64(counter) + u32(splice) + bytes([command, kind]) + u16(len(payload)) +
            payload).ljust(1280, b"\0")


def cells():
    """cell.json: what is inside cells, and one on its way through a pivot (sections 10, 11)."""
    packet, locator = hashlib.shake_256(b"packet").digest(1248), secret("locator")[:16]
    terms = {"rate": 50, "burst": 200, "most_open": 170, "least_effort": 0x01020304, "seed": secret("terms seed")[:16]}
    terms["bytes"] = (u16(terms["rate"]) + u16(terms["burst"]) + u16(terms["most_open"]) + bytes(2) +
                      u32(terms["least_effort"]) + terms["seed"])
    stats = {"sent": 2**40 + 1, "recognised": 77, "unrecognised": 3, "effort": 64, "wants_answer": True}
    stats["bytes"] = (u64(stats["sent"]) + u64(stats["recognised"]) + u64(stats["unrecognised"]) +
                      u32(stats["effort"]) + u32(1))
    message = hashlib.shake_256(b"message").digest(1239 + 5)
    parts = [message[:1239], message[1239:]]
    msgs = [bytes([1]) + u32(9) + bytes([i, 2]) + u16(len(p)) + p for i, p in enumerate(parts)]
    resend = bytes([1]) + u32(9) + bytes([0x40]) + bytes(15)
    made = []
    for name, counter, splice, command, kind, payload in (
            ("padding", 0, 0, 0, 0, b""), ("data, full", 1, 0, 1, 0, packet),
            ("data to the service", 2**63, 0xfedcba98, 1, 0, packet[:1200]),
            ("attach", 2, 0, 1, 1, locator), ("close", 3, 7, 2, 0, b"\x03"),
            ("terms", 4, 0, 3, 0, terms["bytes"]), ("stats", 5, 0, 4, 0, stats["bytes"]),
            ("msg", 6, 0, 5, 0, msgs[0]), ("resend", 2**64 - 2, 0, 6, 0, resend)):
        made.append({"name": name, "counter": counter, "splice": splice, "command": command,
                     "kind": kind, "payload": payload, "cell": onion_cell(counter, splice, command, kind, payload)})
    kf, kb, owner = secret("client's kf at the pivot"), secret("service's kb at the pivot"), secret("owner")
    into = onion_cell(12, 0, 1, 1, locator)
    out = onion_cell(3, 0x01020304, 1, 1, locator)
    return {"cells": made, "terms": terms, "stats": stats,
            "message": {"id": 9, "data": message, "payloads": msgs, "second_missing": resend},
            "token": {"secret": owner, "token": h("cyx token", owner)},
            "through_pivot": {"kf": kf, "kb": kb, "splice": 0x01020304, "counter": 3,
                              "in": hctr2.encipher(kf, into), "out": hctr2.encipher(kb, out)}}


def to_json(v):
    if isinstance(v, bytes):
        return v.hex()
    if isinstance(v, dict):
        return {k: to_json(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [to_json(x) for x in v]
    # JSON readers keep 63 bits: larger integers go as text.
    return str(v) if isinstance(v, int) and not isinstance(v, bool) and v >= 2 ** 63 else v


def write_all(folder):
    check_public_noise()
    hctr2.check_public()
    made = {"handshake": handshake(),
            "packet": packets(),
            "frame": frames(),
            "fragment": fragments(),
            "pow": pows(),
            "record": records(),
            "dht_record": dht_records(),
            "train": trains(),
            "cell": cells(),
            "endpoint": endpoints(),
            "stream": streams(),
            "layer": hctr2.layer(secret, lambda label, n: hashlib.shake_256(secret(label)).digest(n))}
    for name, content in made.items():
        with open(os.path.join(folder, name + ".json"), "w") as f:
            json.dump(to_json(content), f, indent=1, ensure_ascii=True)
            f.write("\n")
    return [name + ".json" for name in made]


def check():
    with tempfile.TemporaryDirectory() as folder:
        differ = []
        for name in write_all(folder):
            with open(os.path.join(folder, name)) as a, open(os.path.join(HERE, name)) as b:
                if a.read() != b.read():
                    differ.append(name)
    for name in differ:
        print("tests/vectors/%s is not what make.py writes" % name, file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    if sys.argv[1:]:
        sys.exit(__doc__)
    write_all(HERE)
