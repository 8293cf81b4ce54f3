"""the forwarder itself: delay, loss, MTU, cut, rate and counts are what was asked for

Everything else in the lab leans on these figures, so they are measured with plain sockets first."""
import json
import subprocess
import sys

import lab

ECHO = r"""
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 7))
print("ready", flush=True)
while True:
    data, who = s.recvfrom(65536)
    s.sendto(data, who)
"""

ASK = r"""
import json, socket, sys, time
address, n, size, gap = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
trips = []
sent = {}
for i in range(n):
    sent[i] = time.monotonic()
    s.sendto(i.to_bytes(4, "big") + bytes(size - 4), (address, 7))
    if gap:
        time.sleep(gap)
try:
    while len(trips) < n:
        data, who = s.recvfrom(65536)
        trips.append(time.monotonic() - sent[int.from_bytes(data[:4], "big")])
except socket.timeout:
    pass
trips.sort()
print(json.dumps({"answers": len(trips), "median_ms": trips[len(trips) // 2] * 1000 if trips else 0}))
"""


def ask(net, address, n, size, gap=0.0):
    done = subprocess.run(net.inside(1, [sys.executable, "-c", ASK, address, str(n), str(size), str(gap)]),
                          stdout=subprocess.PIPE, text=True, timeout=60)
    return json.loads(done.stdout)


def run(report):
    with lab.Net(2) as net:
        echo = net.spawn(net.inside(2, [sys.executable, "-c", ECHO]), stdout=subprocess.PIPE, text=True)
        echo.stdout.readline()
        plain = ask(net, net.v4(2), 1, 100)
        report.check("ipv4", plain["answers"] == 1)
        report.check("ipv6", ask(net, net.v6(2), 1, 100)["answers"] == 1)

        net.set("*", "*", delay=40)
        slow = ask(net, net.v6(2), 1, 100)
        report.figure("round_trip_ms", slow["median_ms"], "ms")
        report.check("delay", slow["median_ms"] >= 80, "80 ms there and back, at least")
        net.set("*", "*", delay=0)

        before = net.count(1, 2)
        net.set(1, 2, loss=20)
        got = ask(net, net.v4(2), 2000, 1336 - 8, 0.0002)["answers"]
        now = net.count(1, 2)
        lost = now["lost"] - before["lost"]
        report.figure("lost_of_2000", lost)
        report.check("loss", 280 <= lost <= 520, "20% asked for; five sigma is 90")
        report.check("loss_counted", got == 2000 - lost - (now["queue"] - before["queue"]),
                     f"{got} answers")
        report.check("full_packets_counted", now["lost_full"] - before["lost_full"] == lost)
        net.set(1, 2, loss=0)

        net.set(1, 2, mtu=1420)
        report.check("mtu_passes_1420", ask(net, net.v6(2), 1, 1420 - 48)["answers"] == 1)
        report.check("mtu_drops_1421", ask(net, net.v6(2), 1, 1421 - 48)["answers"] == 0)
        net.set(1, 2, cut=1)
        report.check("cut", ask(net, net.v4(2), 1, 100)["answers"] == 0)
        net.set(1, 2, cut=0)

        net.set(1, 2, rate=2000, queue=20, mtu=0)  # a packet of 1000 bytes every 4 ms, 20 ms of queue
        before = net.count(1, 2)["queue"]
        ask(net, net.v4(2), 100, 972)
        dropped = net.count(1, 2)["queue"] - before
        report.check("rate", 50 <= dropped <= 95, f"{dropped} of 100 found the queue full")
        net.drained()
