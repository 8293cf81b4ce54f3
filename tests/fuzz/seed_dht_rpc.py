#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target dht_rpc: short stories of a node with a DHT and two peers.
Each event is a byte (bits 0 to 2: what, the rest: whose and how long) and what its handler reads;
see the target."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "dht_rpc")
NODE, PROVIDER, OFFER, DESCRIPTOR = 0, 15, 25, 30  # first of each kind in the pool of 36
PLACE = 3  # places: three nodes, then the pool's


def turn(who, *more, pause=1):
    """An event inside a node's turn; op // 8 % 3 says whose."""
    top = next(t for t in range(pause * 8, pause * 8 + 8) if t % 3 == who)
    return bytes([top << 3 | 3, *more])


def run(ms):
    return bytes([max(0, min(31, ms // 4 - 1)) << 3])


def wait(quarters):
    return bytes([max(0, min(31, quarters - 1)) << 3 | 1])


def find(place, at=0, flags=0):
    return turn(0, at << 4, flags << 6 | place)


def cancel(at=0):
    return turn(0, at << 4 | 2, 0)


def put(record):
    return turn(0, 3, record)


def publish(record):
    return turn(0, 4, record)


def mood(what):
    return turn(0, 5, what)


STOP, GONE, MANY = turn(0, 6, 0), turn(0, 7, 0xC0), turn(0, 7, 0xBF)
FULL, ROOM = bytes([0x82]), bytes([0x02])
POWER = [bytes([t << 3 | 2]) for t in (30, 28, 29)]


def store(who, record, *more):
    return turn(who, 1, 1, record, *more)


def ask(who, place, kind=0, most=15):
    return turn(who, 1, most << 4 | kind << 1, place)


def items(*records):
    return bytes([len(records)]) + b"".join(bytes([7, r]) for r in records)


def reply(who, status, *records, n=0):
    return turn(who, 4 if n == 0 else 4 + 6 * 21, status, *items(*records))


def replies(status, *records):
    return b"".join(reply(who, status, *records) for who in (1, 2, 1, 2, 1, 2))


STORIES = {
    "quiet": run(100) + wait(31),
    "store-each-kind": b"".join(store(1 + r % 2, r) for r in (NODE, PROVIDER, OFFER, DESCRIPTOR)) + run(60) +
                       b"".join(ask(1, PLACE + r, k) for k, r in enumerate((NODE, DESCRIPTOR, PROVIDER, OFFER), 1)) +
                       run(60),
    "store-older-newer": b"".join(store(1, r) for r in (20, 15, 20, 33, 30, 33)) + run(60),
    "store-forged": store(1, 192 + 30, 1, 0) + store(2, 192 + 31, 0, 99) + run(60),
    "store-until-full": b"".join(store(1 + r % 2, r) for r in range(15, 36)) + run(120),
    "disk-full": FULL + store(1, 15) + store(2, 15) + run(60) + ROOM + store(1, 15) + run(60),
    "find-found": find(PLACE + 15) + run(40) + replies(0, 15, 16) + run(40) + wait(8),
    "find-stale-then-newer": find(PLACE + 15) + run(40) + reply(1, 0, 15) + reply(2, 0, 20) + run(40) +
                             replies(0) + wait(14) + find(PLACE + 15, 1, 2) + run(40) + replies(0, 15) + wait(14),
    "find-missing": find(PLACE + 30) + run(40) + replies(1) + wait(14),
    "find-nodes-of-nodes": find(PLACE + 2, 0, 3) + run(40) + replies(0, *range(0, 15)) + run(60) + wait(14),
    "find-silence": find(PLACE + 15) + find(PLACE + 25, 1) + wait(20) + replies(0, 15) + run(40),
    "find-junk": find(PLACE + 15) + run(40) + turn(1, 4, 0, 5, 0, 9, 1, 2, 15, 3, 7, 0xC5, 0, 9, 7, 33) + run(60),
    "cancel": find(PLACE + 15) + cancel() + find(PLACE + 15) + run(20) + cancel() + replies(0, 15) + run(40),
    "put": put(15) + run(40) + replies(0) + run(60) + replies(0) + run(60),
    "put-stale": put(15) + run(40) + replies(0) + run(60) + replies(2, 20) + replies(2, 15) + run(60),
    "put-refused": put(30) + run(40) + replies(0) + run(60) + replies(4) + replies(3) + run(60) + wait(16),
    "publish-and-restart": publish(15) + publish(20) + run(40) + replies(0) + run(60) + replies(0) + run(60) +
                           STOP + run(30) + STOP + wait(20) + replies(0) + wait(20),
    "publish-disk-full": FULL + publish(25) + run(40) + replies(0) + run(60) + replies(0) + wait(20),
    "stop-with-all": find(PLACE + 15) + put(30) + publish(25) + store(1, 15) + STOP + run(30) + STOP + run(60),
    "stop-in-callback": mood(1) + find(PLACE + 15) + run(40) + replies(0, 15) + wait(14) + STOP + run(60),
    "gone-in-callback": mood(2) + find(PLACE + 15) + find(PLACE + 16, 1) + run(40) + replies(0, 15) + wait(14) +
                        turn(0, 0, 0) + wait(8),
    "gone-in-put": mood(2) + put(15) + run(40) + replies(0) + run(60) + replies(0) + wait(20),
    "begin-in-callback": mood(3 + 16) + find(PLACE + 15) + wait(20) + mood(5) + find(PLACE + 15) + wait(20),
    "cancel-in-callback": find(PLACE + 15, 1) + mood(4 + 16) + find(PLACE + 16) + wait(20),
    "many": MANY + MANY + MANY + run(100) + replies(0, 15) + wait(31) + wait(31),
    "gone": find(PLACE + 15) + put(15) + GONE + run(60) + turn(0, 0, 0) + wait(8),
    "power": put(15) + publish(25) + store(1, 16) + POWER[0] + run(30) + POWER[0] + wait(20),
    "peer-dies": find(PLACE + 15) + POWER[1] + wait(20) + POWER[1] + wait(31) + wait(31),
    "flood": turn(1, 2 + 6 * 40, *([1, 15] * 31)) + turn(2, 2 + 6 * 40, *([0x5E, 5] * 31)) + run(120),
    "goodbye": find(PLACE + 15) + run(20) + turn(1, 3) + turn(2, 3) + wait(20),
    "junk": bytes(range(256)) * 2,
}

os.makedirs(FOLDER, exist_ok=True)
for name, data in STORIES.items():
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(data)
