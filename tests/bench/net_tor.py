"""A private Tor network on this machine, the rival in the endpoint benchmark: Debian's tor, three
directory authorities that carry next to nothing, eight relays of equal weight, an onion service, a client."""
import os
import shutil
import socket
import subprocess
import time

import lab
import net_web

AUTHORITIES, RELAYS = 3, 8

COMMON = """
TestingTorNetwork 1
DataDirectory {data}
Nickname {name}
Address {address}
Log notice file {log}
ControlPort unix:{control} RelaxDirModeCheck
CookieAuthentication 0
PathsNeededToBuildCircuits 0.67
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
V3AuthNIntervalsValid 2
ShutdownWaitLength 0
"""
RELAY = """
ORPort {address}:9001
OutboundBindAddress {address}
AssumeReachable 1
ExitPolicy reject *:*
SocksPort 0
"""
AUTHORITY = """
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@invalid
DirPort {address}:7000
V3BandwidthsFile {bandwidths}
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
TestingV3AuthInitialVotingInterval 20
TestingV3AuthInitialVoteDelay 4
TestingV3AuthInitialDistDelay 4
"""
NOBODY = "DirAuthority x v3ident={0} 127.0.0.1:1 {0}\n".format("0" * 40)


class Control:
    """One connection to a tor's control port."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(90)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", newline="\r\n")
        self.events = []
        self.ask("AUTHENTICATE")

    def line(self):
        text = self.lines.readline()
        if not text:
            raise lab.Failed("tor closed its control port")
        return text.rstrip("\r\n")

    def ask(self, command):
        """The lines of the answer; events that come in between are kept for event()."""
        self.socket.sendall((command + "\r\n").encode())
        answer = []
        while not answer or answer[-1][3] != " ":
            text = self.line()
            (self.events if text.startswith("650") else answer).append(text)
        if answer[-1][0] != "2":
            raise lab.Failed(f"tor: {command}: {answer[-1]}")
        return answer

    def event(self):
        """The next event, in words."""
        return (self.events.pop(0) if self.events else self.line()).split()


class Node:
    """One tor: its folder, its address, its process."""

    def __init__(self, place, name, number, port):
        self.place, self.name = place, name
        self.folder = place.path("tor", name)
        self.log = os.path.join(self.folder, "log")
        self.control = os.path.join(self.folder, "control")
        self.address = place.v4(port) if port else f"127.78.0.{number}"
        self.inside = lambda argv: place.inside(port, argv) if port else argv
        self.child = None
        self.socks = f"127.0.0.1:{net_web.free_port()}"
        os.makedirs(os.path.join(self.folder, "data", "keys"))
        for folder, _, _ in os.walk(self.folder):
            os.chmod(folder, 0o700)
        self.text = COMMON.format(data=os.path.join(self.folder, "data"), name=name, address=self.address,
                                  log=self.log, control=self.control)

    def add(self, text):
        self.text += text

    def write(self, more=""):
        path = os.path.join(self.folder, "torrc")
        with open(path, "w") as f:
            f.write(self.text + more)
        return path

    def fingerprint(self, more=""):
        done = subprocess.run(["tor", "-f", self.write(more), "--defaults-torrc", os.devnull,
                               "--list-fingerprint", "--quiet"], check=True, text=True,
                              stdout=subprocess.PIPE)
        return done.stdout.strip().split("\n")[-1].split(" ", 1)[1].replace(" ", "")

    def spawn(self):
        self.child = self.place.spawn(
            self.inside(["tor", "-f", self.write(), "--defaults-torrc", os.devnull]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def is_ready(self):
        if self.child.poll() is not None:
            raise lab.Failed(f"tor {self.name} ended with {self.child.returncode}")
        try:
            with open(self.log) as f:
                return "Bootstrapped 100%" in f.read()
        except FileNotFoundError:
            return False


class Tor:
    """The network as one subject of the benchmark; on loopback or in a lab.Net's ports."""

    ports_wanted = AUTHORITIES + RELAYS + 3

    def __init__(self, place, first_port=None):
        for name in ("tor", "tor-gencert"):
            if not shutil.which(name):
                raise lab.Skip(f"{name} is not installed: nothing to compare with (Debian: tor)")
        self.place, self.first_port = place, first_port
        self.n_nodes = self.n_fresh = 0
        self.authorities, self.relays = [], []
        self.directory = ""
        self.bandwidths = place.path("tor", "bandwidths")
        self.web_port = net_web.free_port()
        self.controls = {}

    def _node(self, name, number=None):
        if number is None:
            self.n_nodes += 1
            number = self.n_nodes
        return Node(self.place, name, number, self.first_port + number - 1 if self.first_port else None)

    def _add_authority(self, name):
        node = self._node(name)
        keys = os.path.join(node.folder, "data", "keys")
        subprocess.run(["tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12",
                        "-a", f"{node.address}:7000"], cwd=keys, input=b"bench\n", check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        node.add(RELAY.format(address=node.address))
        node.add(AUTHORITY.format(address=node.address, bandwidths=self.bandwidths))
        relay = node.fingerprint(NOBODY)
        with open(os.path.join(keys, "authority_certificate")) as f:
            identity = next(line.split()[1] for line in f if line.startswith("fingerprint "))
        self.directory += (f"DirAuthority {name} orport=9001 v3ident={identity} {node.address}:7000 {relay}\n")
        self.authorities.append(node)
        return f"node_id=${relay} bw=1 nick={name}\n"

    def _add_relay(self, name):
        node = self._node(name)
        node.add(RELAY.format(address=node.address))
        node.add(self.directory)
        self.relays.append(node)
        return f"node_id=${node.fingerprint()} bw=10000 nick={name}\n"

    def _client(self, name, number=None):
        node = self._node(name, number)
        node.add(f"SocksPort {node.socks}\n" + self.directory)
        return node

    def up(self):
        os.makedirs(self.place.path("tor"))
        weights = f"{int(time.time())}\n"
        for i in range(AUTHORITIES):
            weights += self._add_authority(f"a{i + 1}")
        for node in self.authorities:
            node.add(self.directory)
        for i in range(RELAYS):
            weights += self._add_relay(f"r{i + 1}")
        with open(self.bandwidths, "w") as f:
            f.write(weights)
        self.service = self._node("service")
        self.service.add("SocksPort 0\n" + self.directory)
        self.client = self._client("client")
        self.fresh_number = self.n_nodes + 1
        self.all = [*self.authorities, *self.relays, self.service, self.client]
        for node in self.all:
            node.spawn()
        net_web.start(self.place, self.service.inside, "tor", self.web_port)
        for node in (self.client, self.service):
            lab.wait_until(f"tor {node.name} is ready", node.is_ready, 180, 0.1)
        self.host = self.new_hosts(1)[0]
        return self

    def control(self, node):
        if node.name not in self.controls:
            self.controls[node.name] = Control(node.control)
        return self.controls[node.name]

    def new_hosts(self, n=6):
        """Onion services that nobody has asked for, each with a published descriptor."""
        control = self.control(self.service)
        control.ask("SETEVENTS HS_DESC")
        made = []
        for _ in range(n):
            answer = control.ask(f"ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=80,127.0.0.1:{self.web_port}")
            made.append(answer[0].split("ServiceID=")[1])
        waiting = set(made)
        end = time.monotonic() + 120
        while waiting and time.monotonic() < end:
            words = control.event()
            if words[1:3] == ["HS_DESC", "UPLOADED"]:
                waiting.discard(words[3])
        control.ask("SETEVENTS")
        control.events.clear()
        if waiting:
            raise lab.Failed("tor published no descriptor in time")
        return [f"{name}.onion" for name in made]

    def set_scheduler(self, name):
        """KIST or Vanilla, at every node, from now on."""
        for node in self.all:
            self.control(node).ask(f"SETCONF Schedulers={name}")

    def processes(self):
        return [*(("authority", n.child.pid) for n in self.authorities),
                *(("relay", n.child.pid) for n in self.relays), ("service", self.service.child.pid),
                ("client", self.client.child.pid)]

    def fresh(self):
        self.n_fresh += 1
        node = self._client(f"fresh{self.n_fresh}", self.fresh_number)
        begun = time.monotonic()
        node.spawn()
        return node, begun, node.is_ready

    def end_fresh(self, node):
        self.place.end(node.child)
