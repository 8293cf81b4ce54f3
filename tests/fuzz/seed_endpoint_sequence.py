#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target endpoint_sequence: short stories of a user, a service, and
the pivots, relays and stores between them. Each event is a byte and what its handler reads; see the
target."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "endpoint_sequence")

(PATH_U, PATH_S, INJECT_U, INJECT_S, AGAIN_U, AGAIN_S, RESEAL, DIAL, GUEST, HOST, FLOW_U, FLOW_S, WHY, SERVICE,
 STOP_U, STOP_S, RUN, _, LONG, VERDICT, PIVOTS, RELAYS, STORES, OTHER) = range(24)
USER, AT_SERVICE = 1, 0
WRITE, WRITE_MUCH, END, RESET = 0xF8, 2, 3, 4  # a user's
ACCEPT, ANSWER, ANSWER_MUCH, H_END, H_RESET, REFUSE, CONSUME = 0, 0xF9, 2, 3, 4, 5, 6  # the owner's
LOSES, HOLDS, FULL, DEAF, NONE = 1, 2, 4, 8, 16  # of PIVOTS
TIMED_OUT, CLOSED, PROTO, REFUSED, SILENT = range(1, 6)  # of VERDICT
DESTROYED, OLD, STATS = 0, 0x80, 0x82  # of PATH
EVERYBODY, ALL_PORTS, CLIENTS, FOUR_HOPS, FIVE_HOPS = 0, 1, 2, 4, 0x80


def run(ms):
    return bytes([RUN, ms - 1])


def wait(halves):
    return bytes([LONG, halves - 1])


def dial(port=0, tag=0, mood=0x10):
    return bytes([DIAL, port | tag << 2, mood]) + run(60)


def guest(what, which=0):
    return bytes([GUEST, which, what])


def host(what, which=0):
    return bytes([HOST, which, what])


def path(what, which=0, side=PATH_U):
    return bytes([side, which, what])


def verdict(what, status=0, hop=0x80, effort=0, builds=1):
    return bytes([VERDICT, what, status, hop, effort, builds - 1])


def inject(side, command, payload=b"", which=0, kind=0, splice=0):
    return bytes([side, which, command, kind, splice]) + len(payload).to_bytes(2, "big") + payload


def again(side, which=0, past=0, splice=0xFF, mask=0, at=0):
    return bytes([side, which, past, splice, mask]) + at.to_bytes(2, "big")


def reseal(how, *more, period=0):
    tokens = bytes(range((how >> 1 & 7) + 1))
    return bytes([RESEAL, period, how]) + tokens + bytes([2, 0]) + bytes(more) + b"\0\0"


def mood(kind, *bits):
    return bytes([kind, *bits])


HALF_DAY = bytes([OTHER, 1])


def power(node):
    return bytes([OTHER, 0, node])


TALK = dial() + guest(WRITE) + run(60) + host(ANSWER) + run(60)
FEW = dial() + dial(mood=0x90) + dial(tag=1)

STORIES = {
    "talk": TALK + guest(END) + run(40) + host(H_END) + run(100),
    "much": dial() + guest(WRITE_MUCH) * 20 + host(ANSWER_MUCH) * 20 + wait(4) + guest(END) + host(H_END) + wait(2),
    "four-hops": bytes(TALK + guest(RESET)),
    "two-users": FEW + guest(WRITE, 1) + guest(END, 2) + run(100),
    "other-ports": dial(2) + dial(3) + dial(0, 4) + dial(0, 2) + wait(2),
    "refused": mood(SERVICE, 1, 1 | REFUSE << 2 | 8 << 2) + TALK,
    "reset-by-both": TALK + guest(RESET) + host(H_RESET) + run(100),
    "late-answer": mood(SERVICE, 1, 2) + dial(tag=2) + wait(2) + host(ACCEPT) + host(ANSWER) + wait(1),
    "slow-reader": mood(SERVICE, 1, 0x80) + dial() + guest(WRITE_MUCH) * 40 + wait(2) + host(CONSUME) + wait(2),
    "flows": bytes([FLOW_U, 0x08, 0]) + run(80) + bytes([FLOW_U, 1, 0]) + run(80) + bytes([FLOW_S, 1, 1]) + run(80),
    "flow-idle": bytes([FLOW_U, 0x08, 0]) + run(80) + bytes([FLOW_U, 1, 2]) + wait(130),
    "why": bytes([WHY, 0]) + wait(1) + bytes([WHY, 3]) + wait(1) + bytes([WHY, 0, WHY, 0]),
    "path-dies": TALK + path(DESTROYED) + run(100) + guest(WRITE) + wait(2),
    "all-paths-die": TALK + path(DESTROYED) * 3 + path(DESTROYED, side=PATH_S) * 3 + wait(4) + guest(WRITE) + wait(4),
    "path-silent": TALK + mood(PIVOTS, LOSES | DEAF) + guest(WRITE) + wait(6) + mood(PIVOTS, 0) + wait(20),
    "path-old": TALK + path(OLD) + run(100) + guest(WRITE) + wait(5),
    "held": TALK + mood(PIVOTS, HOLDS) + guest(WRITE) + host(ANSWER) + wait(3) + mood(PIVOTS, 0) + wait(1),
    "first-flight-lost": mood(PIVOTS, LOSES) + dial() + wait(4) + mood(PIVOTS, 0) + wait(4),
    "full": TALK + mood(PIVOTS, FULL) + guest(WRITE_MUCH) + wait(1) + mood(PIVOTS, 0) + path(0x81) + wait(1),
    "no-paths": mood(PIVOTS, NONE) + dial() + wait(4) + mood(PIVOTS, 0) + wait(20),
    "silent-pivots": verdict(SILENT, builds=3) + dial() + wait(30),
    "busy": verdict(REFUSED, 1, builds=32) + dial() + wait(4),
    "no-token": verdict(REFUSED, 5, builds=4) + dial() + wait(4),
    "more-work": verdict(REFUSED, 6, effort=1) + dial() + wait(1) + verdict(REFUSED, 6, effort=255, builds=9) +
                 dial(tag=1) + wait(4),
    "builds-fail": verdict(TIMED_OUT, builds=3) + dial() + verdict(CLOSED, builds=5) + wait(4) + verdict(PROTO) + wait(9),
    "five-hops": TALK,
    "closed-by-pivot": TALK + inject(INJECT_U, 2, b"\x03") + wait(1) + guest(WRITE) + wait(2),
    "service-told-closed": TALK + inject(INJECT_S, 2, b"\x01", splice=1) * 3 + wait(2),
    "junk-cells": TALK + inject(INJECT_U, 1, b"junk" * 20) + inject(INJECT_S, 1, b"j" * 1248, splice=200) +
                  inject(INJECT_S, 1, b"0123456789abcdef", kind=1, splice=9) + inject(INJECT_U, 7) + wait(3),
    "held-packets": inject(INJECT_S, 1, b"\x40" * 60, splice=3) * 10 + wait(3),
    "first-flight-again": TALK + b"".join(again(AGAIN_S, w, p, 77 + p) for w in range(3) for p in range(4)) + wait(2),
    "changed-cells": TALK + b"".join(again(AGAIN_S, 0, p, mask=1, at=30 * p) + again(AGAIN_U, 0, p, mask=128, at=9 * p)
                                     for p in range(8)) + wait(1),
    "other-pivots": TALK + reseal(0x05) + path(DESTROYED) + wait(5),
    "wrong-tokens": reseal(0x0E) + dial() + wait(20),
    "other-key": reseal(0x01) + dial() + wait(20),
    "other-key-later": TALK + reseal(0x01) + path(DESTROYED) * 2 + wait(10),
    "asks-ports": reseal(0x10) + dial(3) + dial() + wait(2),
    "asks-work": reseal(0x20, 0, 8) + dial() + wait(2) + reseal(0x20, 255, 255) + dial(tag=1) + wait(2),
    "not-found": mood(STORES, 1, 31) + dial() + wait(2),
    "lookup-late": mood(STORES, 2, 3) + dial() + wait(2) + mood(STORES, 3, 3) + dial(tag=1) + wait(2),
    "old-record": reseal(0x02) + mood(STORES, 8, 31) + TALK,
    "nobody-asks": mood(STORES, 16, 3) + dial() + wait(1) + mood(STORES, 0, 0) + wait(3),
    "stores-say-no": mood(STORES, 5, 31) + HALF_DAY + HALF_DAY + wait(20),
    "no-relays": mood(RELAYS, 1) + dial() + wait(2) + mood(RELAYS, 0) + wait(2),
    "few-pivots": mood(RELAYS, 2 | 1 << 3) + path(DESTROYED, side=PATH_S) * 3 + wait(20) + TALK,
    "unknown-pivots": mood(RELAYS, 4) + dial() + wait(5) + mood(RELAYS, 0) + wait(5),
    "restart": TALK + bytes([SERVICE, 0]) + run(100) + bytes([SERVICE, 0]) + run(200) + dial() + wait(20),
    "restart-at-once": TALK + bytes([SERVICE, 0, SERVICE, 0]) + run(200) + guest(WRITE) + wait(30) + TALK,
    "closed-inside": mood(SERVICE, 1, 1 | 0xF0 << 2 & 0xFF | 7 << 2) + TALK + wait(1),
    "service-stops": TALK + bytes([STOP_S, 0xFF]) + wait(2) + dial() + wait(4),
    "user-stops": TALK + bytes([STOP_U, 0xFF]) + wait(1) + dial() + wait(1),
    "service-crashes": TALK + power(AT_SERVICE) + wait(2) + power(AT_SERVICE) + wait(2) + guest(WRITE) + wait(30),
    "user-crashes": TALK + power(USER) + run(50) + power(USER) + TALK,
    "periods": TALK + HALF_DAY + wait(4) + TALK + HALF_DAY + wait(4) + dial(tag=1) + HALF_DAY * 2 + wait(4) + dial(),
    "stats": bytes([PATH_S, 0, STATS, 1, 1, 0, 0, 0, 9, PATH_S, 1, STATS, 1, 1, 0, 0, 0, 8]) + wait(2) + TALK,
    "ends-inside": dial(mood=0xC0 | END) + dial(mood=0x90 | 4 << 2) + dial(mood=4) + dial(mood=0x75) + wait(2),
    "dials-inside": dial(mood=0x36) + dial(mood=0xD8) + path(DESTROYED) * 4 + wait(4),
    "idle": TALK + guest(RESET) + wait(130) + dial() + wait(2),
    "clients": dial() + wait(2),
    "junk": bytes(range(256)),
}
HOW = {"four-hops": FOUR_HOPS, "five-hops": FIVE_HOPS, "clients": CLIENTS, "other-ports": ALL_PORTS, "few-pivots": 0x18}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, story in STORIES.items():
        with open(os.path.join(FOLDER, name), "wb") as f:
            f.write(bytes([HOW.get(name, EVERYBODY)]) + story)


if __name__ == "__main__":
    main()
