#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target stream: short stories of a client and a service. The
first byte is the setting; then each event is the time that passes after it, what happens, and what
that reads; see the target."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "stream")

DELIVER, RAW, AGAIN, SEALED, STREAM, PATH, WHOLE, LOSE = range(8)
OPEN, WRITE, BULK, END, RESET, ECHO, CONSUME, SPECIAL = range(8)
CLIENT, SERVICE = 0, 1
INITIAL, EARLY, HANDSHAKE, APP = range(4)


def event(what, *args, ms=1):
    return bytes([ms, what, *args])


def deliver(n=15, ms=20):
    return event(DELIVER, n, ms=ms)


def stream(what, n=1, side=CLIENT, which=0):
    return event(STREAM, side | what << 1 | which << 4, n)


def up(splice, train=False):
    return event(PATH, splice | (0x10 if train else 0))


def sealed(level, frames, to_service=True, number=0, bits=0, splice=1):
    frames = frames + bytes(-len(frames) % 4)
    return event(SEALED, int(to_service) | level << 1 | splice << 3, number, bits, len(frames) // 4, *frames)


def frames(*parts):
    return b"".join(parts)


GO = stream(OPEN, 80) + stream(WRITE, 100) + up(1) + deliver() * 6
STREAM_0 = b"\x0a\x00\x04\x01\x00\x50\x65"  # stream 0, length 4: kind, port 80, a byte
STORIES = {
    "empty": b"\0",
    "request": b"\0" + GO + stream(END) + deliver() * 4,
    "slow": b"\2" + GO + stream(BULK, 250) * 3 + deliver() * 8 + stream(CONSUME, 200, SERVICE) + deliver() * 4,
    "little-memory": b"\1" + GO + stream(BULK, 250) * 4 + deliver() * 8,
    "early-waits": b"\4" + GO + deliver() * 4,
    "echo-and-reset": b"\0" + GO + stream(ECHO) + deliver() * 4 + stream(RESET, 9) + deliver() * 4,
    "service-resets": b"\0" + GO + stream(SPECIAL, 1) + deliver() * 4,
    "service-closes": b"\0" + GO + stream(SPECIAL, 0) + deliver() * 4,
    "refused": b"\0" + stream(OPEN, 0) + stream(WRITE, 9) + up(1) + deliver() * 6,
    "attach": b"\0" + GO + up(2) + stream(WRITE, 50) + deliver() * 6 + up(3) + stream(WRITE, 5) + deliver() * 4,
    "first-flight-twice": b"\0" + stream(OPEN, 80) + up(1) + deliver(1) + up(2) + deliver() * 6,
    "repeat": b"\0" + GO + event(AGAIN, 0, 8 | 3, 0, 0, 0) + event(AGAIN, 5, 8 | 2, 0, 0, 0) + deliver() * 3,
    "changed": b"\0" + GO + event(AGAIN, 4, 0, 1, 0, 9) + event(AGAIN, 6, 16, 0, 1, 9) + deliver() * 3,
    "path-lost": b"\0" + GO + event(PATH, 0x40 | 1) + event(PATH, 0x80 | 1) + bytes([0x80 | 10, LOSE, 1]),
    "idle": b"\0" + GO + bytes([0xff, LOSE, 0]) * 3,
    "keys": b"\0" + GO + event(WHOLE, 1 | 2 << 1) + stream(BULK, 100) + deliver() * 5 + event(WHOLE, 2 << 1) + deliver() * 4,
    "datagrams": b"\0" + event(WHOLE, 1 | 3 << 1 | 0x60) + GO + event(WHOLE, 3 << 1 | 0x60) + deliver() * 3,
    "close": b"\0" + GO + event(WHOLE, 1) + deliver() * 3,
    "drain": b"\0" + GO + event(WHOLE, 1 | 1 << 1) + stream(END) + deliver() * 5,
    "sealed-streams": b"\0" + GO + sealed(APP, frames(STREAM_0, b"\x0b\x04\x03\x01\x00\x07", b"\x04\x08\x05\x00",
                                                    b"\x05\x0c\x07")) + deliver() * 3,
    "sealed-limits": b"\0" + GO + sealed(APP, frames(b"\x10\x80\x10\x00\x00", b"\x11\x00\x80\x10\x00\x00",
                                                   b"\x12\x40\xff", b"\x14\x05", b"\x15\x00\x05", b"\x16\x05")) + deliver() * 3,
    "sealed-too-much": b"\0" + GO + sealed(APP, b"\x0e\x00\xc0\x00\x00\x00\xff\xff\xff\xff\x01a"),
    "sealed-beyond-streams": b"\0" + GO + sealed(APP, b"\x0a\x44\x00\x04\x01\x00\x50\x65"),
    "sealed-ids": b"\0" + GO + sealed(APP, frames(b"\x18\x01\x00\x08" + bytes(24), b"\x19\x00")),
    "sealed-challenge": b"\0" + GO + sealed(APP, b"\x1a" + b"12345678" + b"\x1b" + b"12345678") + deliver() * 3,
    "sealed-ack": b"\0" + GO + sealed(APP, b"\x02\x03\x00\x00\x01") + sealed(APP, b"\x02\x50\x00\x00\x00\x00", number=1) + deliver() * 3,
    "sealed-done-first": b"\0" + stream(OPEN, 80) + up(1) + sealed(APP, b"\x1e", False) + deliver() * 6,
    "sealed-service-done": b"\0" + GO + sealed(APP, b"\x1e", False, 1) + deliver() * 3,
    "sealed-service-stream": b"\0" + GO + sealed(APP, b"\x0a\x01\x04abcd", False, 1) + deliver() * 3,
    "sealed-crypto": b"\0" + GO + sealed(APP, b"\x06\x00\x04abcd", False) + sealed(HANDSHAKE, b"\x06\x00\x01\x01"),
    "sealed-message-3": b"\0" + stream(OPEN, 80) + up(1) + deliver(1) + sealed(HANDSHAKE, b"\x06\x00\x01\x01", bits=8) + deliver() * 3,
    "sealed-close": b"\0" + GO + sealed(APP, b"\x1d\x05\x00") + deliver() * 3,
    "sealed-initial-close": b"\0" + stream(OPEN, 80) + up(1) + sealed(INITIAL, b"\x1c\x02\x00\x00", False) + deliver() * 3,
    "sealed-message-1": b"\0" + sealed(INITIAL, b"\x06\x00\x58\x01\x00\x55" + bytes(85), bits=16 | 32) + deliver() * 3,
    "sealed-early": b"\0" + stream(OPEN, 80) + up(1) + deliver(1) + sealed(EARLY, STREAM_0, bits=32) + deliver() * 3,
    "sealed-datagram": b"\0" + GO + sealed(APP, b"\x31\x05\x00\x07\x00\x01x") + sealed(APP, b"\x31\x02\x00\x07", number=1) + deliver() * 3,
    "sealed-destroy": b"\0" + GO + sealed(APP, b"\x31\x05\x00\x08\x00\x01x" + STREAM_0) + deliver() * 3,
    "raw": b"\0" + event(RAW, 1 | 1 << 2, 0, 20, *bytes(20)) + event(RAW, 1 << 2, 0, 4, 0xF0, 0, 0, 1) +
           event(RAW, 1 | 2 | 3 << 2, 0, 16, *bytes(16)),
    "junk": bytes(range(256)),
}

os.makedirs(FOLDER, exist_ok=True)
for name, data in STORIES.items():
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(data)
