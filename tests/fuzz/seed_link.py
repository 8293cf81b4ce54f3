#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target link_sequence: short stories of two nodes. Each event is
a byte (bit 0: whose, bits 1 to 3: what, the rest: how) and what its handler reads; see the target."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "link_sequence")

RAW, CHANGED, RUN, LONG, POWER, INSIDE = (n << 1 for n in range(6))
SEALED, MESSAGE, DIAL, CALL, CELLS, PATHS, END, REPLY = range(8)


def inside(what, *more, who=0):
    return bytes([INSIDE | who, what, *more])


def run(ms):
    return bytes([RUN, ms - 1])


def wait(halves):
    return bytes([LONG, halves])


def sealed(frames, who=0):
    frames = frames + bytes(-len(frames) % 5)
    return inside(SEALED, len(frames) // 5, *frames, who=who)


def raw(data, who=0):
    return bytes([RAW | who]) + len(data).to_bytes(2, "big") + data


UP = inside(DIAL) + run(100)
POWER_CUT = bytes([POWER | 0xE0])

STORIES = {
    "dial": UP,
    "both-dial": inside(DIAL) + inside(DIAL, who=1) + run(200),
    "calls": UP + inside(CALL, 8) + inside(CALL, 9) + inside(CALL, 0x89) + run(50) +
             inside(REPLY, who=1) + run(50),
    "cells-and-paths": UP + inside(CELLS, 3, 60) + inside(PATHS, 7) + run(60) + inside(CELLS, 1, 5),
    "cell-closes-link": UP + inside(CELLS, 2, 3) + run(60),
    "rekey": UP + wait(245) + inside(CELLS, 0, 9) + run(60),
    "silence": UP + bytes([POWER | 0x20]) + wait(170) + bytes([POWER]) + wait(60),
    "crash-and-back": UP + POWER_CUT + run(50) + POWER_CUT + run(200) + inside(DIAL) + run(200),
    "goodbye": UP + inside(END, 0) + run(50) + inside(DIAL) + run(200) + inside(END, 3, who=1),
    "all-frames": UP + sealed(bytes([6]) + b"pingping" + bytes([7]) + b"pongpong" +
                              bytes([3, 0, 0, 0, 5]) + bytes([8]) + bytes(16) + b"\x10\x04" +
                              bytes([5, 1, 0, 0, 0, 1]) + b"\xff" * 16 + bytes([9, 1])) + run(30),
    "broken-frame": UP + sealed(bytes([3, 0, 0, 0, 0])) + run(30),
    "half-a-message": UP + sealed(bytes([4, 1, 0, 0, 0, 9, 1, 2, 0, 3]) + b"abc") + wait(30),
    "messages": UP + b"".join(inside(MESSAGE, k, 7, 1, *b"\x92\x08\xc0" + bytes(5))
                              for k in range(4)) + run(50),
    "changed-init": inside(DIAL) + bytes([CHANGED, 0, 20, 1, 0]) + run(50),
    "replayed-packet": UP + inside(CELLS, 0, 1) + bytes([CHANGED, 0, 0, 0, 0]) + run(30) +
                       bytes([CHANGED, 0, 0, 0, 1]) + run(30),
    "short-packets": raw(b"") + raw(b"\x01") + raw(b"\x02" + bytes(107)) + raw(b"\x04" + bytes(1327)),
    "junk": bytes(range(256)),
}

os.makedirs(FOLDER, exist_ok=True)
for name, data in STORIES.items():
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(data)
