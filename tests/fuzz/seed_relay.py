#!/usr/bin/python3
"""Writes the seed corpus of the fuzz target relay_sequence: short stories of a client, a relay and a
next hop. Each event is a byte and what its handler reads; see the target."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "relay_sequence")

RUN, LONG, NEXT, POWER, CLIENT = range(5)
BUILD, _, AGAIN, CELL, _, RAW, DESTROY, REPLY, REQUEST, SERVICE, CLOSE = range(11)
RELAY_TO, END, REGISTER, SPLICE, UNKNOWN = range(5)


def run(ms):
    return bytes([RUN | (ms - 1) << 3])


def wait(halves):
    return bytes([LONG | (halves - 1) << 3])


def client(what, *more, path=0):
    return bytes([CLIENT | 7 << 5, what | path << 4, *more])


def build(command, target=0, serial=1, hops=1, how=0, at=0, burst=0, most=0, effort=0, early=None, path=0):
    tail = [command, target, serial, burst, most, effort]
    if command == SPLICE:
        tail += early or [0, 0]
    return client(BUILD, how | hops - 1, at >> 8, at & 255, *tail, path=path) + run(20)


def cell(command, payload=b"", kind=0, n=0, path=0):
    return client(CELL, command, kind, len(payload), n, *payload, path=path)


def next_hop(what):
    return bytes([NEXT, what]) + run(20)


TO_NEXT = build(RELAY_TO, target=2)
SERVICE_UP = build(REGISTER, target=1)
SPLICED = SERVICE_UP + build(SPLICE, target=1, early=[100, 0], path=1)
AT_END = build(END)
POWER_NEXT = bytes([POWER | 31 << 3])
POWER_CLIENT = bytes([POWER | 30 << 3])

STORIES = {
    "to-the-next": TO_NEXT + next_hop(3) + cell(0) + next_hop(4) + client(DESTROY, 0),
    "two-hops": build(END, hops=2) + next_hop(3) + cell(0) + cell(1, b"x", n=3),
    "next-destroys": TO_NEXT + next_hop(8) + wait(2),
    "next-refuses": TO_NEXT + next_hop(1) + next_hop(3),
    "silence": TO_NEXT + wait(21) + next_hop(3),
    "next-off": POWER_NEXT + TO_NEXT + wait(17),
    "next-leaves": TO_NEXT + next_hop(3) + next_hop(0xF0) + TO_NEXT + wait(2),
    "refused": build(RELAY_TO, target=1) + build(RELAY_TO, target=3) + build(UNKNOWN),
    "changed": build(END, how=4, at=5000) + build(END, how=2, at=400) + build(END, how=8) +
               build(END, how=4, at=0) + build(END, how=4, at=2),
    "replayed": AT_END + client(AGAIN, 0) + run(20) + client(AGAIN, 1) + run(20),
    "strays": client(RAW, 0, 9) + client(REPLY) + client(DESTROY, 1) + run(20),
    "gone": AT_END + client(DESTROY, 0) + run(10) + client(RAW, 1, 1) + client(REPLY) +
            client(AGAIN, 1) + wait(32) + wait(32) + client(RAW, 1, 1),
    "unused": AT_END + SERVICE_UP + wait(32) + wait(32),
    "idle": AT_END + cell(0) + b"".join(wait(32) for _ in range(20)),
    "service": SPLICED + cell(1, b"hello", path=1) + client(SERVICE, 7, 0) + cell(4, bytes(31) + b"\x01") +
               client(SERVICE, 1, 1) + run(20),
    "client-closes": SPLICED + cell(2, b"\x01", path=1) + wait(22),
    "client-leaves": SPLICED + client(DESTROY, 2, path=1) + run(20) + client(SERVICE, 1, 0),
    "takeover": SPLICED + build(REGISTER, target=1, serial=2, path=2) + cell(1, b"again", path=1) +
                build(REGISTER, target=1, serial=1, path=3),
    "orphan": SPLICED + client(DESTROY, 2) + wait(20) + build(REGISTER, target=1, serial=9) +
              client(DESTROY, 2) + wait(32) + wait(32) + build(REGISTER, target=1, serial=9),
    "no-token": build(SPLICE, target=2),
    "work": build(REGISTER, target=1, effort=8) + build(SPLICE, target=1, path=1),
    "places": build(REGISTER, target=1, most=1) + build(SPLICE, target=1, path=1) +
              build(SPLICE, target=1, path=2) + build(SPLICE, target=1, path=3),
    "bucket": build(REGISTER, target=1, burst=1) + b"".join(build(SPLICE, target=1, path=i) for i in range(1, 6)),
    "terms": SERVICE_UP + cell(3, bytes(range(28))) + cell(3, b"short") + build(SPLICE, target=1, path=1),
    "flood": SPLICED + cell(1, b"x" * 200, n=63, path=1) * 4 + run(30),
    "gives-way": b"".join(build(END, path=i) + cell(0, path=i) for i in range(8)),
    "find": AT_END + client(REQUEST, 0x28, 0) + client(REQUEST, 0x08, 0) + client(REQUEST, 0xF8, 0) + wait(8),
    "find-then-leave": AT_END + client(REQUEST, 0x28, 0) + client(DESTROY, 2) + wait(8),
    "digest": AT_END + client(REQUEST, 1, 2, 0x91, 4) + client(REQUEST, 2, 3, 0x92, 5, 7) + run(30),
    "store": AT_END + client(REQUEST, 3, 6, 0x92, 3, 0xC4, 2, 1, 1) + run(30),
    "bad-request": AT_END + client(REQUEST, 0x41, 4, 1, 2, 3, 4) + client(REQUEST, 1, 1, 0xC1) + cell(5, b"x") +
                   cell(6, b"\x02" + bytes(20)) + cell(6, b"x"),
    "link-goes": SPLICED + TO_NEXT + client(CLOSE, 0) + wait(1) + client(BUILD) + run(30) + SERVICE_UP,
    "client-crashes": SPLICED + POWER_CLIENT + wait(32) + POWER_CLIENT + run(20) + client(BUILD) + run(30),
    "again-and-again": AT_END + client(AGAIN, 1) * 40 + run(30),
    "junk": bytes(range(256)),
}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, story in STORIES.items():
        with open(os.path.join(FOLDER, name), "wb") as f:
            f.write(story)


if __name__ == "__main__":
    main()
