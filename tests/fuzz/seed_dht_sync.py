#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target dht_sync: short stories of a node that keeps a roster and
a peer that answers by a script of 64 words. Each event is a byte (bits 0 to 2: what) and what its
handler reads; see the target."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "dht_sync")

REQUEST, SCRIPT, RUN, LONG, HEARD, POWER, DIAL = 0, 2, 3, 4, 5, 6, 7
PERSON, PAIR, NUMBER, ID, BYTE, ZEROS, LIST, NIL = range(8)


def script(*words):
    return bytes([SCRIPT, *words]) + bytes(64 - len(words))


def run(ms):
    return bytes([RUN, ms - 1])


def wait(halves):
    return bytes([LONG, halves])


def request(method, *items):
    """method 0: DIGEST, 1: LIST, 2: RECORDS; items: pairs of what and how."""
    what = next(w for w in range(len(items) << 2, 256) if w % 3 == method and w >> 2 & 7 == len(items))
    return bytes([REQUEST | 20 << 3, what]) + b"".join(bytes(i) for i in items)


def heard(how):
    return bytes([HEARD, how])


UP = run(200)

STORIES = {
    "honest": UP + wait(60),
    "requests": UP + request(0) + request(1, (NUMBER, 7)) + request(2, (ID, 0), (ID, 5), (ID, 2)) + run(100),
    "bad-requests": UP + request(1) + request(1, (NIL, 0)) + request(2) + request(2, (ID, 8)) +
                    request(2, (BYTE, 0xC1)) + run(100),
    "told-then-asked": UP + b"".join(heard(8 | i) for i in range(4)) + request(0) +
                       request(2, (ID, 0), (ID, 1), (ID, 2), (ID, 3)) + run(100) + wait(10),
    "newer": UP + heard(0) + heard(4) + heard(0) + wait(4),
    "late-answers": script(130) + UP + bytes([DIAL]) + run(100) + wait(20) + bytes([DIAL]) + wait(20),
    "statuses": script(*range(144, 160)) + UP + wait(60),
    "forged": script(0, 0, 0, 161, PERSON, 8) + UP + wait(20),
    "unasked": script(0, 0, 0, 161, PERSON, 1) + UP + wait(20),
    "oversized": script(0, 0, 0, 161, PERSON, 48, PERSON, 16) + UP + wait(20),
    "many": script(0, 0, 0, 199, *([PERSON, 0] * 25)) + UP + wait(20),
    "endless-lists": script(0, *([161, LIST, 204] * 20)) + UP + wait(40),
    "long-list": script(0, 161, LIST, 206) + UP + wait(40),
    "bad-pairs": script(0, 161, PAIR, 0x80, 161, PAIR, 0x40, 162, PAIR, 1, PAIR, 1) + UP + wait(40),
    "short-digest": script(161, ZEROS, 9, 161, ZEROS, 1) + UP + wait(40),
    "crash-and-back": UP + heard(9) + bytes([POWER | 0xE0]) + run(20) + bytes([POWER | 0xE0]) + bytes([DIAL]) +
                      wait(10),
    "full-disk": UP + bytes([POWER | 0x80]) + heard(1) + heard(6) + wait(5) + bytes([POWER]) + wait(5) +
                 bytes([POWER | 0xE0]) + bytes([POWER | 0xE0]) + run(100),
    "a-day": UP + heard(8) + wait(255) + wait(255) + request(0) + wait(255),
    "junk": bytes(range(256)),
}

os.makedirs(FOLDER, exist_ok=True)
for name, data in STORIES.items():
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(data)
