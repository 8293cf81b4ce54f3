"""40 ms delay, 2% loss, a 1420-byte path: links come up, roam and rekey, and lose no cell themselves

Node 2 sends numbered cells to node 1 over one link (the role "cells"). First without loss: through
rekeys and changes of address in both families not one may be missing. Then with loss: no more may
be missing than full-size packets that the forwarder says it dropped."""
import os

import lab

RATE = 400  # cells a second
REKEY_S = 3  # instead of 120, so that a short run has several


def settings(rekey):
    return {"": {"roles": ["cells"], "role_dir": os.path.join(lab.build_dir(), "roles")},
            "mesh": {"lab_rekey": rekey}}


def link_of(node):
    peers = node.peers()
    return peers[0] if len(peers) == 1 else None


def source_seen(receiver, address):
    link = link_of(receiver)
    return link is not None and address in link["address"]


def rekeyed(sender, more):
    """Waits for `more` rekeys from now on."""
    goal = link_of(sender)["rekeys"] + more
    lab.wait_until(f"{more} rekeys", lambda: (link_of(sender) or {"rekeys": 0})["rekeys"] >= goal,
                   30 + 1.5 * more * REKEY_S, 0.2)


def settle(net, sender, receiver, allowed):
    """Stops sending and waits until all that is under way has come: cells sent, cells missing."""
    sender.call("cells.send", rate=0)
    lab.wait_until("the sender's queue is empty",
                   lambda: sender.call("cells.stats")["queued"] == 0)

    def missing():
        return sender.call("cells.stats")["sent"] - receiver.call("cells.stats")["received"]

    net.drained()
    try:
        lab.wait_until("the last cells arrive", lambda: missing() <= allowed(), 5)
    except lab.Failed:
        pass # the check that follows says how many are missing
    return sender.call("cells.stats")["sent"], missing()


def roam(net, receiver, family):
    """Changes node 2's source address there and back; the receiver must follow."""
    address = net.v6 if family == 6 else net.v4
    for variant in (1, 0):
        net.source(2, address(2, variant))
        lab.wait_until(f"node 1 sees {address(2, variant)}",
                       lambda: source_seen(receiver, address(2, variant)), 10)


def one_family(report, family):
    with lab.Net(2) as net:
        net.set("*", "*", delay=40, loss=2, mtu=1420)
        net.address(2, net.v4(2, 1), 16)
        net.address(2, net.v6(2, 1), 32)
        at = f"[{net.v6(1)}]:4100" if family == 6 else f"{net.v4(1)}:4100"
        receiver = lab.Node(net, "receiver", 1, "[::]:4100", settings=settings(f"{REKEY_S}s")).start()
        sender = lab.Node(net, "sender", 2, "[::]:4100", [receiver.contact(at)], settings(f"{REKEY_S}s")).start()
        lab.wait_until("the link is up", lambda: link_of(sender) and link_of(receiver), 20)
        lab.wait_until("the sender is ready", lambda: sender.status()["ready_after"] is not None)
        name = f"ipv{family}"
        report.figure(f"{name}_ready_s", sender.status()["ready_after"], "s")

        net.set("*", "*", loss=0)
        net.drained()
        sender.call("cells.send", rate=RATE)
        roam(net, receiver, family)
        rekeyed(sender, 2)
        sent, missing = settle(net, sender, receiver, lambda: 0)
        report.figure(f"{name}_cells", sent)
        report.check(f"{name}_none_lost_without_loss", sent > 0 and missing == 0,
                     f"{missing} of {sent} missing")

        before = net.count(2, 1)["lost_full"]
        net.set("*", "*", loss=2)
        sender.call("cells.send", rate=RATE)
        roam(net, receiver, family)
        rekeyed(sender, 2)

        def dropped():
            return net.count(2, 1)["lost_full"] - before

        sent, missing = settle(net, sender, receiver, dropped)
        report.figure(f"{name}_cells_with_loss", sent)
        report.figure(f"{name}_dropped_by_network", dropped())
        report.check(f"{name}_lost_no_more_than_network", 0 < missing <= dropped(), f"{missing} missing")
        link, stats = link_of(sender), receiver.call("cells.stats")
        report.figure(f"{name}_rekeys", link["rekeys"])
        report.figure(f"{name}_roams", link_of(receiver)["roams"])
        report.figure(f"{name}_rtt_ms", link["rtt"] * 1000, "ms")
        report.check(f"{name}_no_cell_twice", stats["repeated"] == 0)
        report.check(f"{name}_one_link_all_along", stats["link_downs"] == 0 and stats["link_ups"] == 1)
        counts = net.count()
        report.check(f"{name}_packets_fit", counts["oversize"] == 0 and counts["biggest"] <= 1420,
                     f"largest {counts['biggest']} bytes")
        sender.stop()
        receiver.stop()


def run(report):
    one_family(report, 6)
    one_family(report, 4)
