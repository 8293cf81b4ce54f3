#!/usr/bin/python3
"""Writes the test vectors beside it, from docs/protocol.md alone: it shares no code with the C
program, so that an error must be made twice to pass. Needs python3-cryptography, python3-msgpack.

  make.py           writes the *.json files (noise.json holds public vectors: it is only checked)
  make.py --check   writes them to a temporary folder and compares; exit 1 on a difference
"""

import hashlib
import hmac
import json
import os
import struct
import sys
import tempfile

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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
        self.ck, self.k = noise_hkdf(self.ck, ikm, 2)
        self.n = 0

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
    made = {"handshake": handshake(), "packet": packets(), "frame": frames(),
            "fragment": fragments(), "pow": pows(), "record": records(),
            "dht_record": dht_records(), "stream": streams()}
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
