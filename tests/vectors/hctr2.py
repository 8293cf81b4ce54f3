"""HCTR2 with AES-256 for make.py, written from the paper (Crowley, Huckleberry, Biggers, 2021) over
the AES block of python3-cryptography. Any tweak, any length from 16 bytes on."""

import json
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = os.path.dirname(os.path.abspath(__file__))
POLY = (1 << 128) | (1 << 127) | (1 << 126) | (1 << 121) | 1


def num(raw):
    return int.from_bytes(raw, "little")


def raw16(n):
    return n.to_bytes(16, "little")


def dot(a, b):
    """a b x^-128 in the field of POLYVAL."""
    product = 0
    for i in range(128):
        if b >> i & 1:
            product ^= a << i
    for i in range(128):
        if product >> i & 1:
            product ^= POLY << i
    return product >> 128


def polyval(h, message):
    acc = 0
    for i in range(0, len(message), 16):
        acc = dot(acc ^ num(message[i:i + 16]), num(h))
    return raw16(acc)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def pad(x):
    return x + bytes(-len(x) % 16)


class Aes:
    def __init__(self, key):
        cipher = Cipher(algorithms.AES(key), modes.ECB())
        self.encrypt = lambda block: cipher.encryptor().update(block)
        self.decrypt = lambda block: cipher.decryptor().update(block)


def xctr(aes, nonce, text):
    stream = b"".join(aes.encrypt(xor(nonce, raw16(i + 1))) for i in range((len(text) + 15) // 16))
    return xor(text, stream)


def hctr2(key, tweak, text, decrypt):
    aes = Aes(key)
    h, mask = aes.encrypt(raw16(0)), aes.encrypt(raw16(1))

    def hashed(rest):
        whole = len(rest) % 16 == 0
        head = raw16(2 * 8 * len(tweak) + (2 if whole else 3))
        return polyval(h, head + pad(tweak) + (rest if whole else pad(rest + b"\1")))

    first, rest = text[:16], text[16:]
    before = xor(first, hashed(rest))
    after = aes.decrypt(before) if decrypt else aes.encrypt(before)
    rest = xctr(aes, xor(xor(before, after), mask), rest)
    return xor(after, hashed(rest)) + rest


def encipher(key, cell):
    return hctr2(key, b"", cell, False)


def decipher(key, cell):
    return hctr2(key, b"", cell, True)


def check_public():
    """The vectors of the paper's authors hold for this code."""

    def vectors(name):
        with open(os.path.join(HERE, name + ".json")) as f:
            return json.load(f)["vectors"]

    for v in vectors("polyval"):
        key, message = (bytes.fromhex(v["input"][k]) for k in ("key_hex", "message_hex"))
        assert polyval(key, message).hex() == v["hash_hex"], v["description"]
    for v in vectors("xctr_aes256"):
        key, nonce = (bytes.fromhex(v["input"][k]) for k in ("key_hex", "nonce_hex"))
        text = bytes.fromhex(v["plaintext_hex"])
        assert xctr(Aes(key), nonce, text).hex() == v["ciphertext_hex"], v["description"]
    for v in vectors("hctr2_aes256"):
        key, tweak, text, sealed = (bytes.fromhex(v[k])
                                    for k in ("key", "tweak", "plaintext", "ciphertext"))
        assert hctr2(key, tweak, text, False) == sealed, v["description"]
        assert hctr2(key, tweak, sealed, True) == text, v["description"]


def layer(secret, stream):
    """layer.json: whole cells, and one through three layers both ways (protocol.md, section 9).
    secret(label) gives 32 fixed bytes, stream(label, n) any number."""
    cells = []
    for name, key, text in (
            ("zero", bytes(32), bytes(1280)),
            ("ones", b"\xff" * 32, b"\xff" * 1280),
            ("text", secret("layer key"), stream("layer text", 1280))):
        sealed = encipher(key, text)
        assert decipher(key, sealed) == text
        cells.append({"name": name, "key": key, "plaintext": text, "ciphertext": sealed})
    forward = [secret("kf of hop %d" % i) for i in (1, 2, 3)]
    backward = [secret("kb of hop %d" % i) for i in (1, 2, 3)]
    # A DATA cell with counter 7, splice 0 and 1000 bytes (section 10).
    plain = (bytes(16) + (7).to_bytes(8, "big") + bytes(4) + bytes([1, 0]) + (1000).to_bytes(2, "big")
             + stream("cell payload", 1000)).ljust(1280, b"\0")

    def on_links(keys):
        """What is on each link; the first is the client's own."""
        links = [plain]
        for key in reversed(keys):
            links.insert(0, encipher(key, links[0]))
        return links[:-1]

    return {"cells": cells,
            "three_layers": {"cell": plain, "forward": forward, "backward": backward,
                             "links_out": on_links(forward), "links_back": on_links(backward)}}
