"""What the endpoint scenarios share: a mesh of relays with one node that serves and one that visits,
each in a namespace of its own, and the real programs behind and before them."""
import base64
import ctypes
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import lab

RELAYS = 6
SOCKS = 9150
HTTP = 9151
WEB = 8080  # nginx, in the service's namespace

# SOCKS5 replies (docs/endpoints.md, "What is refused").
SOCKS_OK, SOCKS_NOT_ALLOWED, SOCKS_HOST, SOCKS_REFUSED = 0, 2, 4, 5
SOCKS_COMMAND, SOCKS_ADDRESS = 7, 8


def need(*programs):
    """Skips where one of the programs is missing; each is said with its Debian package."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for name, package in programs:
        if not shutil.which(name, path=path):
            raise lab.Skip(f"needs {name} (package {package})")


def which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Mesh(lab.Net):
    """`relays` relays at ports 1..n, the service's node at n+1, the visitor's at n+2."""

    def __init__(self, relays=RELAYS, others=0):
        super().__init__(relays + 2 + others)
        self.n_relays = relays
        self.at_service = relays + 1
        self.at_visitor = relays + 2
        self.relays = []
        self.service = None
        self.visitor = None

    def node(self, name, port, listed=False, settings=None):
        """Not started. It listens at a fixed port, so that it can come back where it was."""
        own = {"mesh": {"listed": listed}, "socks": {"listen": ""}, "log": {"level": "info"}}
        for table, keys in (settings or {}).items():
            own.setdefault(table, {}).update(keys)
        first = [self.relays[0].contact()] if self.relays else []
        return lab.Node(self, name, port, f"{self.v4(port)}:{4100 + len(name)}", first, own)

    def start_relays(self):
        for i in range(1, self.n_relays + 1):
            relay = self.node(f"relay{i}", i, listed=True)
            self.relays.append(relay)
            if i == 1:
                relay.start(30)  # the others begin with it
            else:
                relay.spawn()

    def start(self, visitor=None):
        """All of them; `visitor` are settings of its node."""
        self.start_relays()
        self.service = self.node("service", self.at_service).spawn()
        doors = {"socks": {"listen": f"127.0.0.1:{SOCKS}"}, "http": {"listen": f"127.0.0.1:{HTTP}"}}
        self.visitor = self.node("visitor", self.at_visitor, settings={**doors, **(visitor or {})}).spawn()
        for node in [*self.relays, self.service, self.visitor]:
            lab.wait_until(f"{node.name} answers", node.answers, 30)

    def stop(self):
        """Every daemon must end in order: under sanitizers that is when leaks are found."""
        for node in [self.visitor, self.service, *self.relays]:
            node.stop()

    def serve(self, argv, port, what, at=None, **options):
        """A program in the service's namespace, once something listens at TCP `port` there."""
        at = at or self.at_service
        with open(self.path("programs.log"), "a") as log:
            child = self.spawn(self.inside(at, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               **options)
        lab.wait_until(f"{what} listens", lambda: self.listens(at, port), 10)
        return child

    def listens(self, at, port):
        done = subprocess.run(self.inside(at, ["ss", "-Hltn", f"sport = :{port}"]),
                              stdout=subprocess.PIPE, text=True)
        return bool(done.stdout.strip())

    def inside_at(self, at, argv, seconds=60.0, **options):
        """A program's end: its CompletedProcess, with what it wrote."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(self.inside(at, argv), timeout=seconds, **options)

    def visit(self, argv, seconds=60.0, **options):
        return self.inside_at(self.at_visitor, argv, seconds, **options)

    def curl(self, url, *args, socks=SOCKS, seconds=60):
        """curl through the SOCKS door: exit status and body."""
        done = self.visit(["curl", "-sS", "--max-time", str(seconds), "--socks5-hostname",
                           f"127.0.0.1:{socks}", *args, url], seconds + 10)
        return done.returncode, done.stdout

    def expose(self, *args, node=None, seconds=60):
        """cyx expose; the address once it was found from outside, and what that took."""
        began = time.monotonic()
        node = node or self.service
        done = subprocess.run([lab.program("cyx"), "--control", node.socket, "--json", "expose", *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds)
        if done.returncode != 0:
            raise lab.Failed(f"cyx expose {' '.join(args)}: {(done.stderr or done.stdout).strip()}")
        return find_address(done.stdout), time.monotonic() - began


def find_address(text):
    for word in text.replace('"', " ").replace(",", " ").split():
        if word.endswith(".cyx") and len(word) == 60:
            return word
    raise lab.Failed(f"no address in: {text.strip()[:200]}")


def address_of(key):
    """The address of an Ed25519 public key. Spec: protocol.md, section 12."""
    head = b"cyx address"
    check = hashlib.blake2b(bytes([len(head)]) + head + key + b"\x01", digest_size=32).digest()[:2]
    return base64.b32encode(key + check + b"\x01").decode().lower() + ".cyx"


# ---- nginx ---------------------------------------------------------------------------------------

NGINX = """
daemon off;
pid {dir}/pid;
error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format paths "$uri $status";
    access_log {dir}/access.log paths;
    sendfile on;
    types {{ text/html html; text/css css; application/javascript js; image/png png; }}
    {temp}
    server {{
        listen 127.0.0.1:{port};
        listen unix:{dir}/web.sock;
        root {root};
    }}
}}
"""


class Nginx:
    """nginx with a folder of files, at WEB and at a Unix socket in the service's namespace."""

    def __init__(self, net):
        self.net = net
        self.dir = net.path("nginx")
        self.root = net.path("nginx", "root")
        self.socket = net.path("nginx", "web.sock")
        self.access = net.path("nginx", "access.log")  # of each request: path, status
        os.makedirs(self.root)

    def start(self):
        temp = "".join(f"{kind}_temp_path {self.dir}/{kind};\n    " for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX.format(dir=self.dir, port=WEB, root=self.root, temp=temp))
        self.net.serve([which("nginx"), "-p", self.dir, "-e", f"{self.dir}/error.log", "-c", conf],
                       WEB, "nginx")
        return self

    def put(self, name, data):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def put_random(self, name, size):
        """A file of random bytes; its SHA-256."""
        digest = hashlib.sha256()
        with open(os.path.join(self.root, name), "wb") as f:
            while size > 0:
                piece = os.urandom(min(size, 1 << 20))
                digest.update(piece)
                f.write(piece)
                size -= len(piece)
        return digest.hexdigest()


# ---- downloads, watched --------------------------------------------------------------------------


class Download:
    """curl through the SOCKS door, its output read as it comes: how much, its SHA-256, the longest
    time without a byte."""

    def __init__(self, net, url, *args, socks=SOCKS):
        self.child = net.spawn(net.inside(net.at_visitor, [
            "curl", "-sS", "--no-buffer", "--socks5-hostname", f"127.0.0.1:{socks}", *args, url]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.began = time.monotonic()
        self.last = None  # when the last byte came
        self.first_s = None  # when the first one did
        self.received = 0
        self.pause = 0.0  # between two reads that brought something
        self.pause_at = 0  # bytes that were there before it
        self.pause_end = 0.0  # when it ended
        self.digest = hashlib.sha256()
        self.seconds = None
        self.error = None

    def run(self):
        """Until its end: curl's exit status."""
        out = self.child.stdout.fileno()
        while True:
            piece = os.read(out, 1 << 18)
            now = time.monotonic()
            if not piece:
                break
            if self.last is None:
                self.first_s = now - self.began
            elif now - self.last > self.pause:
                self.pause, self.pause_at, self.pause_end = now - self.last, self.received, now
            self.last = now
            self.received += len(piece)
            self.digest.update(piece)
        self.seconds = time.monotonic() - self.began
        self.error = self.child.stderr.read().decode(errors="replace").strip()
        # One that never went on is a pause as well.
        if self.child.wait() != 0 and self.last is not None and now - self.last > self.pause:
            self.pause, self.pause_at, self.pause_end = now - self.last, self.received, now
        return self.child.returncode

    def rate(self):
        """MB/s over the whole of it."""
        return self.received / 1e6 / self.seconds if self.seconds else 0.0


# ---- sockets in a namespace, SOCKS5 by hand ------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def in_namespace(net, at, make):
    """make() with the namespace of port `at`: a socket stays in the one where it was made, and each
    thread has a namespace of its own."""
    made = []

    def work():
        with open(f"/run/netns/{net.ns(at)}") as f:
            if LIBC.setns(f.fileno(), CLONE_NEWNET) != 0:
                made.append(OSError(ctypes.get_errno(), "setns"))
                return
        try:
            made.append(make())
        except OSError as why:
            made.append(why)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def recv_exact(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {n} bytes")
        data += piece
    return data


def recv_all(s):
    data = b""
    while piece := s.recv(1 << 16):
        data += piece
    return data


def encode_target(host, port):
    try:
        return b"\x01" + socket.inet_aton(host) + struct.pack(">H", port)
    except OSError:
        return b"\x03" + bytes([len(host)]) + host.encode() + struct.pack(">H", port)


CONNECT, BIND, ASSOCIATE = 1, 2, 3


def socks(net, command, host, port, door=SOCKS, at=None, seconds=45):
    """One request to the door in the visitor's namespace: the connection, the reply's code, and the
    port that came with it."""
    s = in_namespace(net, at or net.at_visitor,
                     lambda: socket.create_connection(("127.0.0.1", door), seconds))
    s.sendall(b"\x05\x01\x00")
    if recv_exact(s, 2) != b"\x05\x00":
        raise lab.Failed("the SOCKS door wants a method")
    s.sendall(b"\x05" + bytes([command]) + b"\x00" + encode_target(host, port))
    head = recv_exact(s, 4)
    rest = recv_exact(s, {1: 4, 4: 16}[head[3]] + 2)
    return s, head[1], struct.unpack(">H", rest[-2:])[0]
