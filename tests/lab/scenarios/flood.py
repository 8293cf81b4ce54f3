"""a handshake flood from spoofed sources: memory flat, answers smaller than questions, peers connect"""
import json
import subprocess

import lab

SOURCES = 20000
FLAT_KIB = 2048
WARM_S, FLOOD_S = 10, 12  # sessions that nobody confirms live for 10 s: after that tables are full


def flood(net, contact, seconds):
    return net.spawn(net.inside(2, [lab.program("flood"), contact, str(SOURCES), str(seconds)]),
                     stdout=subprocess.PIPE, text=True)


def run(report):
    # A build with AddressSanitizer keeps freed memory for a while; here that must not look like growth.
    lab.tune_sanitizer("quarantine_size_mb=1:thread_local_quarantine_size_kb=16")
    with lab.Net(4) as net:
        target = lab.Node(net, "target", 1, "[::]:4100").start()
        contact = target.contact(f"{net.v4(1)}:4100")
        # What is allocated once, for the first link and for the tables, is there before we measure.
        early = lab.Node(net, "early", 4, "[::]:4100", [contact]).start()
        lab.wait_until("a link before the flood", early.peers)
        early.cyx("ping", target.id())
        flood(net, contact, WARM_S).wait()
        warm = target.rss_kib()
        arrived = net.count(2, 1)["delivered"]

        before = net.count(1)["unroutable_bytes"]
        attack = flood(net, contact, FLOOD_S)
        peer = lab.Node(net, "peer", 3, "[::]:4100", [contact]).start()
        lab.wait_until("a real peer connects during the flood", peer.peers, FLOOD_S - 2)
        report.check("peer_connects", attack.poll() is None, "while the flood goes on")
        lab.wait_until("the peer is ready", lambda: peer.status()["ready_after"] is not None)
        report.figure("peer_ready_s", peer.status()["ready_after"], "s")
        ping = peer.cyx("ping", target.id())
        report.check("peer_pings", ping["received"] > 0)

        sent = json.loads(attack.communicate(timeout=60)[0])
        net.drained()
        hot = target.rss_kib()
        answered = net.count(1)["unroutable_bytes"] - before
        arrived = net.count(2, 1)["delivered"] - arrived
        report.figure("datagrams_sent", sent["sent"])
        report.figure("datagrams_arrived", arrived)
        report.figure("bytes_in", sent["sent_ip_bytes"])
        report.figure("bytes_answered", answered)
        report.check("answers_smaller", 0 < answered < sent["sent_ip_bytes"],
                     f"{100 * answered / sent['sent_ip_bytes']:.0f}% of what came in")
        report.figure("memory_kib", hot, "KiB")
        report.check("memory_flat", hot - warm <= FLAT_KIB, f"{hot - warm:+} KiB during the flood")
        status = target.status()
        report.check("no_links_left_open", status["links"] <= 3, f"{status['links']} links")
        with open(target.log) as log:
            lines = sum(1 for _ in log)
        report.check("no_log_flood", lines < 200 * (WARM_S + FLOOD_S + 10), f"{lines} lines")
        report.check("early_link_unharmed", early.cyx("ping", target.id())["received"] > 0)
        peer.stop()
        early.stop()
        target.stop()
