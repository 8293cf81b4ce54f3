"""32 daemons with 20 ms between any two: records are found in time, and after kill -9 of 8 daemons

Each node has an address prefix of its own, and the network is no lab: what holds for the public one
holds here. Twenty nodes announce one content each, one more publishes a record as bytes; another
node then gets them all.

How long may a get take? A step asks a node and waits: D = 20 ms each way, so a request takes
R = 2 D = 40 ms, and 2 R where no link stands yet (the handshake takes R as well). A record that is
`hops` steps away takes hops * (R + H) in theory, with H = R while the asker lacks links and H = 0
once it has one to everybody. A lookup goes on after the first record until the four nearest nodes of
each of its paths have answered, which no theory of hops covers: two more round trips are allowed.

    time <= hops * (R + H) + 2 R

The median of all gets must keep it; single ones share two cores with 31 other daemons. Daemons with
sanitizers are too slow for a bound: there the figures are only shown.

Then 8 daemons (never the asker) are killed at once, and every record must still be found. Started
again, they must hold at least the records that they held."""
import os
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import lab

NODES = 32
RECORDS = 20
KILLED = 8
ASKER = 1  # by index: no publisher, never killed
DELAY_MS = 20
AT_ONCE = 4  # commands at a time: they share the daemons' cores
WAITING = 10  # ... when they wait for the dead most of the time


def make_nodes(net):
    nodes = []
    for i in range(1, NODES + 1):
        net.address(i, net.v4(i, i), 16)
        listen = f"{net.v4(i, i)}:4100"
        nodes.append(lab.Node(net, f"n{i}", i, listen, [nodes[0].contact()] if nodes else [], {
            "network": {"name": "lab-dht", "lab": False},
            "mesh": {"advertise": [listen]},
            "dht": {"store": "4MiB"},
            "log": {"level": "info"},
        }))
        if i == 1:
            nodes[0].start(30) # the others begin with it
    return nodes


def stats(node):
    return node.cyx("dht", "stats")


def is_ready(node):
    s = stats(node)
    return s["ready"] and s["contacts"] >= 16


def start(nodes, seconds):
    for node in nodes:
        node.spawn()
    for node in nodes:
        lab.wait_until(f"{node.name} answers", node.answers, seconds, 0.1)
    for node in nodes:
        lab.wait_until(f"{node.name} knows its neighbours", lambda node=node: is_ready(node), seconds, 0.2)


def each(work, items, at_once=AT_ONCE):
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(work, items))


def announce(publisher, content):
    # Any Ed25519 public key names a hidden endpoint well enough for a store.
    address = publisher.cyx("id")["identity"]
    return publisher.cyx("dht", "announce", content, "--size", "1000", "--address", address)


def get(asker, content):
    """The lookup's figures, None when nothing was found."""
    got = asker.cyx("dht", "get", "provider", "--content", content, "--fresh", check=False)
    return got if got and got["records"] else None


def put_bytes(report, net, publisher, asker, content):
    """A record of one node, taken as bytes by another that never had it, published once more there."""
    path = net.path("record")
    asker.cyx("dht", "get", "provider", "--content", content, "--raw", path)
    stored = publisher.cyx("dht", "put", path, "--once")
    report.check("put_stands", stored["stored"] >= 8, f"at {stored['stored']} of {stored['asked']} stores")


def check_times(report, asker, gets):
    # The handshake counts while the asker may have to dial.
    request = 2 * DELAY_MS / 1000
    handshake = 0 if len(asker.peers()) >= NODES - 1 else request
    over = [g["time"] - g["hops"] * (request + handshake) for g in gets]
    report.figure("hops_median", statistics.median(g["hops"] for g in gets))
    report.figure("get_median_s", statistics.median(g["time"] for g in gets), "s")
    report.figure("get_slowest_s", max(g["time"] for g in gets), "s")
    report.figure("over_theory_median_s", statistics.median(over), "s")
    if not lab.is_sanitized():
        report.check("get_in_time", statistics.median(over) <= 2 * request,
                     f"theory and {2 * request * 1000:.0f} ms")


def kill_and_find(report, nodes, asker, contents, rng):
    victims = rng.sample([n for n in nodes if n is not asker], KILLED)
    held = [stats(n)["stored"] for n in victims]
    for node in victims:
        node.kill()
    began = time.monotonic()
    found = each(lambda c: get(asker, c), contents, WAITING)
    report.figure("seconds_to_get_all_after_kill", time.monotonic() - began, "s")
    report.check("found_after_kill", all(found),
                 f"{sum(f is not None for f in found)} of {len(contents)} records, {KILLED} of {NODES} killed")
    for node in victims:
        node.spawn()
    for node in victims:
        lab.wait_until(f"{node.name} answers", node.answers, 60, 0.1)
        lab.wait_until(f"{node.name}'s DHT is up", lambda node=node: stats(node) is not None, 60, 0.1)
    now = [stats(n)["stored"] for n in victims]
    report.check("stores_survive_kill", all(a >= b for a, b in zip(now, held)), f"held {held}, then {now}")


def run(report):
    seed = int(os.environ.get("CYX_SEED", str(random.randrange(1 << 32))))
    rng = random.Random(seed)
    report.figure("seed", seed)
    began = time.monotonic()
    with lab.Net(NODES) as net:
        net.set("*", "*", delay=DELAY_MS)
        nodes = make_nodes(net)
        start(nodes[1:], 90)
        report.figure("all_ready_s", time.monotonic() - began, "s")
        asker = nodes[ASKER]
        publishers = rng.sample([n for n in nodes if n is not asker], RECORDS)
        contents = [rng.randbytes(32).hex() for _ in range(RECORDS)]
        stored = each(lambda pair: announce(*pair), zip(publishers, contents))
        report.check("announced", all(s["stored"] >= 8 for s in stored),
                     f"at {min(s['stored'] for s in stored)} stores or more")
        gets = [get(asker, c) for c in contents]
        report.check("found", all(gets), f"{sum(g is not None for g in gets)} of {RECORDS} records")
        check_times(report, asker, [g for g in gets if g])
        put_bytes(report, net, nodes[-1], asker, contents[0])
        kill_and_find(report, nodes, asker, contents, rng)
        report.figure("rss_kib_median", statistics.median(n.rss_kib() for n in nodes), "KiB")
    report.figure("seconds", time.monotonic() - began, "s")
