"""what an onlooker of every link sees of a download: one packet size, no equal bytes anywhere

tcpdump in every namespace records what each node sends while curl downloads through a hidden endpoint.
From the captures alone: all UDP packets between nodes are one size (1328 bytes of payload), handshakes
aside; and no packet on any link has bytes in common with another, on that link or any other: 16-byte
windows at fixed places of all ciphertexts, and for a sample of packets at every place against these.
CYX_SIZE: MiB of the download, 8 if not said."""
import os
import random
import struct
import subprocess
import time
from collections import Counter

import endpoints
import lab

FULL = 1328  # protocol.md, section 4
HEADER = 16  # type, receiver index, counter: in the clear; counters and indices repeat between links
HANDSHAKE = (1, 2, 3, 6)  # INIT, RESP, COOKIE, VERSION: section 3
DATA = 4
WINDOW = 16
PLACES = tuple(range(HEADER, FULL - WINDOW + 1, 131))  # 10 of them, beside the block sizes on purpose
SAMPLE = 300


class Capture:
    """tcpdump of all that one node sends to others."""

    def __init__(self, net, at):
        self.path = net.path(f"port{at}.pcap")
        self.child = net.spawn(net.inside(at, [
            "tcpdump", "-Z", "root", "-n", "-i", "wire", "-Q", "out", "-B", "65536", "-s", "0", "-w", self.path]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.child.stderr.readline():
            if self.child.poll() is not None:
                raise lab.Failed("tcpdump did not start")

    def end(self):
        """Packets that the kernel had no room for: 0, or the capture proves nothing."""
        self.child.terminate()
        said = self.child.stderr.read()
        self.child.wait(20)
        lost = [line for line in said.split("\n") if "dropped by kernel" in line]
        return int(lost[0].split()[0]) if lost else -1


def packets(path):
    """(link, UDP payload) of each; the link is source and destination, address and port."""
    with open(path, "rb") as f:
        head = f.read(24)
        order = "<" if struct.unpack("<I", head[:4])[0] in (0xA1B2C3D4, 0xA1B23C4D) else ">"
        while len(record := f.read(16)) == 16:
            kept, length = struct.unpack(order + "II", record[8:])
            data = f.read(kept)
            if kept != length:
                raise lab.Failed("a packet was recorded in part")
            yield parse(data)


def parse(ip):
    """Raw IP, as tun devices carry it. What isn't unfragmented UDP is (None, the packet)."""
    if ip[0] >> 4 == 4 and ip[9] == 17 and struct.unpack(">H", ip[6:8])[0] & 0x3FFF == 0:
        udp, ends = ip[(ip[0] & 15) * 4:], ip[12:20]
    elif ip[0] >> 4 == 6 and ip[6] == 17:
        udp, ends = ip[40:], ip[8:40]
    else:
        return None, ip
    return ends + udp[:4], udp[8:]


class Seen:
    """All windows at PLACES of all packets, and where each was first."""

    def __init__(self):
        self.windows = {}
        self.equal = []

    def add(self, link, number, payload):
        for place in PLACES:
            window = payload[place:place + WINDOW]
            first = self.windows.setdefault(window, (link, number, place))
            if first != (link, number, place):
                self.equal.append((first, (link, number, place)))

    def search(self, link, number, payload):
        """Every place of one packet; it has its own windows at its own places."""
        for place in range(HEADER, len(payload) - WINDOW + 1):
            first = self.windows.get(payload[place:place + WINDOW])
            if first is not None and first != (link, number, place):
                self.equal.append((first, (link, number, place)))


def find_equal(report, full):
    seen = Seen()
    for number, (link, payload) in enumerate(full):
        seen.add(link, number, payload)
    report.check("no_equal_windows", not seen.equal,
                 f"{len(seen.equal)} of {len(seen.windows)} windows, {len(PLACES)} places of {len(full)} packets")
    n = len(seen.equal)
    for number in random.sample(range(len(full)), min(SAMPLE, len(full))):
        seen.search(*full[number][:1], number, full[number][1])
    report.check("none_at_other_places", len(seen.equal) == n, f"{min(SAMPLE, len(full))} packets, every place")
    # The same search must find a cell that a relay passes on as it is, moved by a frame before it.
    link, payload = full[len(full) // 2]
    before = len(seen.equal)
    seen.search(b"another link", -1, payload[:HEADER] + bytes(9) + payload[HEADER:FULL - 9])
    report.check("search_finds_a_copy", len(seen.equal) - before >= len(PLACES) - 1, "bytes passed on unchanged")


def check_sizes(report, sent):
    kinds, odd = Counter(), Counter()
    for link, payload in sent:
        if link is None:
            # ICMPv6 of the kernel (neighbours, routers) is nothing of ours.
            if not (payload[0] >> 4 == 6 and payload[6] in (0, 58)):
                odd["not UDP"] += 1
        elif payload[:1] and payload[0] == DATA and len(payload) == FULL:
            kinds["data"] += 1
        elif payload[:1] and payload[0] in HANDSHAKE:
            kinds["handshake"] += 1
        else:
            odd[f"type {payload[:1].hex()}, {len(payload)} bytes"] += 1
    report.figure("data_packets", kinds["data"])
    report.figure("handshake_packets", kinds["handshake"])
    report.check("one_size", not odd and kinds["data"] > 0, str(dict(odd)) if odd else f"{FULL} bytes, all of them")


def run(report):
    endpoints.need(("nginx", "nginx-light"), ("curl", "curl"), ("tcpdump", "tcpdump"))
    size = int(os.environ.get("CYX_SIZE", "8")) << 20
    began = time.monotonic()
    with endpoints.Mesh() as net:
        captures = [Capture(net, at) for at in range(1, net.n + 1)]
        net.start()
        web = endpoints.Nginx(net).start()
        wanted = web.put_random("big", size)
        address, _ = net.expose(str(endpoints.WEB), "--ports", "80")
        got = endpoints.Download(net, f"http://{address}/big")
        status = got.run()
        report.check("arrived", status == 0 and got.digest.hexdigest() == wanted, f"{size >> 20} MiB, curl {status}")
        net.stop()
        lost = [c.end() for c in captures]
        report.check("captures_are_whole", lost == [0] * len(captures), f"lost {lost}")
        sent = [packet for c in captures for packet in packets(c.path)]
        check_sizes(report, sent)
        full = [(link, payload) for link, payload in sent if link is not None and len(payload) == FULL]
        report.figure("links", len({link for link, _ in full}))
        # A download's bytes cross five relays: what is compared must be all of it, several times.
        report.check("all_hops_seen", len(full) * 1248 > 6 * size, f"{len(full)} packets")
        find_equal(report, full)
    report.figure("seconds", time.monotonic() - began, "s")
