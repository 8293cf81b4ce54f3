"""nginx, sshd and a DNS server behind hidden endpoints, reached by curl, ssh and SOCKS5 as users do

Six relays, a node that serves, two that visit: one with what the defaults are, one (the cautious) with
wait_for_answer and without client keys. CYX_SIZE: MiB of the big file, 64 if not said (1024 is the
size for a release build)."""
import hashlib
import json
import os
import socket
import struct
import subprocess
import threading
import time

import endpoints
import lab
from endpoints import ASSOCIATE, BIND, CONNECT, HTTP, SOCKS

CAUTIOUS = 9152
CAUTIOUS_HTTP = 9153
FRESH = 9154
DNS = 5300
SSH = 2222
ECHO = 7001
DEAD = 7002  # nothing ever listens there
HELLO = b"hello from behind\n"
CURL_PROXY, CURL_RECV = 97, 56


def transfer(report, net, web):
    size = int(os.environ.get("CYX_SIZE", "64"))
    wanted = web.put_random("big", size << 20)
    address, took = net.expose(str(endpoints.WEB), "--ports", f"80,81:{DEAD}", "--name", "web")
    report.figure("expose_s", took, "s")
    got = endpoints.Download(net, f"http://{address}/big")
    status = got.run()
    report.check("big_file", status == 0 and got.digest.hexdigest() == wanted and got.received == size << 20,
                 f"{got.received} of {size << 20} bytes, curl {status} {got.error}")
    report.figure("big_file_mib", size, "MiB")
    report.figure("big_file_mb_per_s", got.rate(), "MB/s")
    report.figure("first_byte_s", got.first_s or 0.0, "s")
    return address


def unix_socket(report, net, web):
    address, _ = net.expose(f"unix:{web.socket}", "--name", "unix")
    status, body = net.curl(f"http://{address}/hello")
    report.check("unix_backend", status == 0 and body == HELLO, f"curl {status}")


# ---- doors and what they refuse ------------------------------------------------------------------


def http_door(report, net, address, stranger):
    def ask(target, door=HTTP, method=()):
        done = net.visit(["curl", "-sS", "-p", "--max-time", "60", "-w", "%{http_connect}", "-o", "/dev/null",
                          "--proxy", f"http://127.0.0.1:{door}", *method, f"http://{target}/hello"])
        return done.returncode, done.stdout.decode()

    done = net.visit(["curl", "-sS", "-p", "--proxy", f"http://127.0.0.1:{HTTP}", f"http://{address}/hello"])
    report.check("http_connect", done.stdout == HELLO, f"curl {done.returncode}")
    wanted = {
        "not .cyx": ("example.org", 403), "plain address": ("192.0.2.1", 403),
        "mistyped": (mistyped(address), 400), "nobody's": (stranger, 502), "no such port": (f"{address}:99", 502),
    }
    got = {what: ask(target) for what, (target, _) in wanted.items()}
    got["backend down"] = ask(f"{address}:81", CAUTIOUS_HTTP)
    wanted["backend down"] = (None, 502)
    wrong = {what: got[what] for what, (_, code) in wanted.items() if got[what] != (CURL_RECV, str(code))}
    report.check("http_refusals", not wrong, f"{wrong or 'all as the table says'}")
    done = net.visit(["curl", "-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}",
                      "--proxy", f"http://127.0.0.1:{HTTP}", f"http://{address}/hello"])
    report.check("http_other_methods", done.stdout == b"405", done.stdout.decode())


def mistyped(address):
    return address[:10] + ("a" if address[10] != "a" else "b") + address[11:]


def socks_code(net, command, host, port, door=SOCKS):
    s, code, _ = endpoints.socks(net, command, host, port, door)
    s.close()
    return code


def socks_refusals(report, net, address, stranger):
    table = [
        ("not .cyx", CONNECT, "example.org", 80, SOCKS, endpoints.SOCKS_NOT_ALLOWED),
        ("plain address", CONNECT, "192.0.2.1", 80, SOCKS, endpoints.SOCKS_NOT_ALLOWED),
        ("mistyped", CONNECT, mistyped(address), 80, SOCKS, endpoints.SOCKS_ADDRESS),
        ("no such name", CONNECT, "nobody.cyx", 80, SOCKS, endpoints.SOCKS_ADDRESS),
        ("nobody's address", CONNECT, stranger, 80, SOCKS, endpoints.SOCKS_HOST),
        ("no such port", CONNECT, address, 99, SOCKS, endpoints.SOCKS_REFUSED),
        ("backend down, door waits", CONNECT, address, 81, CAUTIOUS, endpoints.SOCKS_REFUSED),
        ("bind", BIND, address, 80, SOCKS, endpoints.SOCKS_COMMAND),
        ("it is there", CONNECT, address, 80, SOCKS, endpoints.SOCKS_OK),
        ("it is there, door waits", CONNECT, address, 80, CAUTIOUS, endpoints.SOCKS_OK),
    ]
    wrong = []
    for what, command, host, port, door, wanted in table:
        code = socks_code(net, command, host, port, door)
        if code != wanted:
            wrong.append(f"{what}: {code}, not {wanted}")
    report.check("socks_replies", not wrong, "; ".join(wrong) or f"{len(table)} as the table says")


def curl_refusals(report, net, address, stranger):
    """curl's exit status, and in its words the code that the door gave."""
    wanted = {
        "http://example.org/": (CURL_PROXY, "(2)"), f"http://{mistyped(address)}/": (CURL_PROXY, "(8)"),
        f"http://{stranger}/": (CURL_PROXY, "(4)"), f"http://{address}:99/": (CURL_PROXY, "(5)"),
    }
    wrong = []
    for url, (status, words) in wanted.items():
        done = net.visit(["curl", "-sS", "--max-time", "60", "--socks5-hostname", f"127.0.0.1:{SOCKS}", url])
        if done.returncode != status or words not in done.stderr.decode():
            wrong.append(f"{url}: {done.returncode} {done.stderr.decode().strip()}")
    # Success was said on the descriptor's word: what follows must be a reset, never an orderly end.
    done = net.visit(["curl", "-sS", "--max-time", "60", "--socks5-hostname", f"127.0.0.1:{SOCKS}",
                      f"http://{address}:81/"])
    if done.returncode != CURL_RECV or "reset" not in done.stderr.decode():
        wrong.append(f"backend down: {done.returncode} {done.stderr.decode().strip()}")
    report.check("curl_statuses", not wrong, "; ".join(wrong) or f"{len(wanted) + 1} as the table says")


class Sniffer:
    """tcpdump on all interfaces of one namespace: what may be a name lookup."""

    FILTER = "port 53 or port 853 or port 5353 or port 5355 or port 137"

    def __init__(self, net, at):
        self.net, self.at = net, at
        self.path = net.path(f"dns{at}.txt")
        with open(self.path, "w") as out:
            self.child = net.spawn(net.inside(at, ["tcpdump", "-Z", "root", "-n", "-l", "-i", "any", self.FILTER]),
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.child.stderr.readline():
            if self.child.poll() is not None:
                raise lab.Failed("tcpdump did not start")

    def lines(self):
        with open(self.path) as f:
            return [line.strip() for line in f if line.strip()]

    def control(self):
        """A lookup as a resolver sends it: the capture must show it, or it shows nothing at all."""
        query = dns_query("control.test", 77)
        s = endpoints.in_namespace(self.net, self.at, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        s.sendto(query, (self.net.v4(1), 53))
        s.close()
        lab.wait_until("the capture shows a lookup", self.lines, 5)

    def end(self):
        seen = self.lines()
        self.control()
        self.net.end(self.child)
        return seen


# ---- streams -------------------------------------------------------------------------------------


class Halves:
    """A TCP server that says hello and ends its side at once, takes all until the other end ends its
    own, and remembers it; and one that answers only after the end of its input."""

    GREETING = b"this is all I say\n"

    def __init__(self, net, at, port):
        self.took = []
        self.listener = endpoints.in_namespace(net, at, lambda: socket.create_server(("127.0.0.1", port)))
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            s.settimeout(60)
            try:
                self.one(s)
            except OSError as why:
                self.took.append(repr(why))
            s.close()

    def one(self, s):
        if endpoints.recv_exact(s, 1) == b"h":  # hello first
            s.sendall(self.GREETING)
            s.shutdown(socket.SHUT_WR)
            self.took.append(hashlib.sha256(endpoints.recv_all(s)).hexdigest())
        else:  # answer last
            s.sendall(hashlib.sha256(endpoints.recv_all(s)).hexdigest().encode())

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


def half_close(report, net):
    halves = Halves(net, net.at_service, ECHO)
    address, _ = net.expose(str(ECHO), "--name", "halves")
    data = os.urandom(3_000_000)
    wanted = hashlib.sha256(data).hexdigest()

    s, code, _ = endpoints.socks(net, CONNECT, address, ECHO)
    s.sendall(b"a" + data)
    s.shutdown(socket.SHUT_WR)
    report.check("half_close_by_visitor", code == 0 and endpoints.recv_all(s).decode() == wanted,
                 "3 MB, end, then the answer")
    s.close()

    s, code, _ = endpoints.socks(net, CONNECT, address, ECHO)
    s.sendall(b"h")
    said = endpoints.recv_all(s)  # ends although our side goes on
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    s.close()
    lab.wait_until("the server took the rest", lambda: halves.took, 20)
    report.check("half_close_by_service", said == halves.GREETING and halves.took == [wanted],
                 "its end, then 3 MB the other way")

    done = net.visit([lab.program("cyx"), "--control", net.visitor.socket, "connect", address, str(ECHO)],
                     input=b"a" + data)
    report.check("cyx_connect", done.returncode == 0 and done.stdout.decode() == wanted,
                 f"status {done.returncode} {done.stderr.decode().strip()[:100]}")
    done = net.visit([lab.program("cyx"), "--control", net.visitor.socket, "connect", address, "99"], input=b"")
    report.check("cyx_connect_refused", done.returncode != 0, f"status {done.returncode}")
    halves.close()
    net.service.cyx("unexpose", "halves")


SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host
PidFile none
AuthorizedKeysFile {dir}/user.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
LogLevel ERROR
"""


def ssh(report, net):
    """ssh -o ProxyCommand="cyx connect %h %p", with keys that are thrown away."""
    home = net.path("ssh")
    os.makedirs(home, mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", f"{home}/{name}"], check=True)
    with open(f"{home}/sshd.conf", "w") as f:
        f.write(SSHD.format(port=SSH, dir=home))
    # It wants its folder in /run: one that only it sees (ip netns exec gives it mounts of its own).
    net.serve(["sh", "-c", f"mount -t tmpfs lab /run && mkdir /run/sshd && exec {endpoints.which('sshd')} "
               f"-D -e -f {home}/sshd.conf"], SSH, "sshd")
    address, _ = net.expose(str(SSH), "--ports", "22", "--name", "ssh")
    with open(f"{home}/host.pub") as f, open(f"{home}/known", "w") as known:
        known.write(f"{address} {' '.join(f.read().split()[:2])}\n")
    proxy = f"{lab.program('cyx')} --control {net.visitor.socket} connect %h %p"
    argv = ["ssh", "-F", "none", "-o", f"ProxyCommand={proxy}", "-o", f"UserKnownHostsFile={home}/known",
            "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
            "-o", "IdentitiesOnly=yes", "-i", f"{home}/user", f"root@{address}"]
    data = os.urandom(2_000_000)
    done = net.visit([*argv, "sha256sum"], input=data)
    ok = done.returncode == 0 and done.stdout.decode().split()[:1] == [hashlib.sha256(data).hexdigest()]
    report.check("ssh", ok, f"status {done.returncode} {done.stderr.decode().strip()[-150:]}")
    report.check("ssh_exit_status", net.visit([*argv, "exit 7"]).returncode == 7)


# ---- datagrams -----------------------------------------------------------------------------------


def dns_query(name, number):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def datagrams(report, net):
    net.serve([endpoints.which("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
               "--no-hosts", f"--port={DNS}", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file",
               "--user=nobody", "--address=/lab.test/192.0.2.77"], DNS, "dnsmasq")
    address, _ = net.expose(f"127.0.0.1:{DNS}", "--ports", f"53:{DNS}", "--udp", "--name", "dns")
    stream, code, port = endpoints.socks(net, ASSOCIATE, "0.0.0.0", 0)
    s = endpoints.in_namespace(net, net.at_visitor, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    head = b"\0\0\0" + endpoints.encode_target(address, 53)
    right = 0
    for number in range(1, 21):
        answer = ask_dns(s, port, head, number)
        right += answer is not None and answer.endswith(socket.inet_aton("192.0.2.77"))
    report.check("udp_associate", code == 0 and right == 20, f"{right} of 20 questions answered")
    stream.close()
    time.sleep(0.3)
    report.check("udp_ends_with_tcp", ask_dns(s, port, head, 99, tries=1, seconds=0.5) is None)
    s.close()


def ask_dns(s, port, head, number, tries=5, seconds=2.0):
    """Repeats the question as resolvers do: datagrams may be lost."""
    s.settimeout(seconds)
    for _ in range(tries):
        s.sendto(head + dns_query("lab.test", number), ("127.0.0.1", port))
        try:
            answer = s.recv(2048)
        except (TimeoutError, ConnectionError):
            continue
        # The header of RFC 1928, section 7, then the answer with the question's number.
        body = answer[4 + {1: 4, 3: 1 + answer[4], 4: 16}[answer[3]] + 2:]
        if struct.unpack(">H", body[:2])[0] == number:
            return body
    return None


# ---- names, keys, what a user asks ---------------------------------------------------------------


def petnames(report, net, address):
    net.visitor.cyx("name", "add", "blog", address)
    bodies = [net.curl(f"http://{host}/hello") for host in ("blog.cyx", "www.blog.cyx")]
    report.check("petname", all(b == (0, HELLO) for b in bodies), str(bodies)[:100])
    net.visitor.cyx("name", "rm", "blog")
    code = socks_code(net, CONNECT, "blog.cyx", 80)
    report.check("petname_taken_away", code == endpoints.SOCKS_ADDRESS, f"reply {code}")


def client_keys(report, net):
    """An endpoint that only the visitor with the key finds."""
    address, _ = net.expose(str(endpoints.WEB), "--ports", "80", "--name", "club", "--auth",
                            # A first key, whose other half nobody has: its address is needed for real ones.
                            net.relays[0].cyx("key", "new", endpoints.address_of(bytes.fromhex(
                                net.service.cyx("id")["identity"])))["key"])
    code = socks_code(net, CONNECT, address, 80)
    report.check("no_key_no_way", code == endpoints.SOCKS_NOT_ALLOWED, f"reply {code}")
    key = net.visitor.cyx("key", "new", address)["key"]
    again, _ = net.expose(str(endpoints.WEB), "--ports", "80", "--name", "club", "--auth", key)
    report.check("same_address_with_other_keys", again == address)
    body = lab.wait_until("who has the key gets in", lambda: got_hello(net, address), 30, 0.2)
    report.check("client_key", body)
    code = socks_code(net, CONNECT, address, 80, CAUTIOUS)
    report.check("others_refused", code == endpoints.SOCKS_NOT_ALLOWED, f"reply {code}")


def got_hello(net, address, socks=SOCKS, seconds=60):
    return net.curl(f"http://{address}/hello", socks=socks, seconds=seconds) == (0, HELLO)


def why(report, net, address, stranger):
    def ask(target):
        done = subprocess.run([lab.program("cyx"), "--control", net.visitor.socket, "--json", "why", target, "80"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    status, said = ask(address)
    steps = [(s["stage"], s["ok"]) for s in json.loads(said)["steps"]] if said.startswith("{") else []
    wanted = [(stage, True) for stage in ("descriptor", "path", "handshake", "stream")]
    report.check("why_when_all_is_well", status == 0 and steps == wanted, f"status {status}: {steps}")
    status, said = ask(stranger)
    report.check("why_nobody_is_there", status != 0 and '"stage":"descriptor","ok":false' in said, f"status {status}")


class Killed:
    """A daemon that serves, visited once, then killed with -9 and started again. Its visitor finds out
    by itself that what it was connected to is gone; meanwhile the other checks go on."""

    BACK_S = 90  # at worst: a quiet connection's 60 s, and some

    def __init__(self, report, net):
        self.report, self.net = report, net
        self.node = net.node("moody", net.at_service).start(30)
        self.address, _ = net.expose(str(endpoints.WEB), "--ports", "80", "--name", "moody", node=self.node)
        if not got_hello(net, self.address):
            raise lab.Failed("the endpoint can't be reached before its daemon is killed")
        self.node.kill()
        self.began = time.monotonic()
        self.node.start(30)

    def check_newcomer(self):
        """Who never was there reaches it as soon as it says that it is back."""
        lab.wait_until("it is ready again", lambda: self.node.cyx("services")[0]["state"] == "ready", 30)
        fresh = self.net.node("fresh", self.net.at_visitor, settings={"socks": {"listen": f"127.0.0.1:{FRESH}"}})
        fresh.start(30)
        lab.wait_until("a newcomer reaches it", lambda: got_hello(self.net, self.address, FRESH, 5), 20, 0.1)
        self.report.figure("newcomer_after_kill_s", time.monotonic() - self.began, "s")
        row = self.node.cyx("services")[0]
        self.report.check("same_service_after_kill", (row["name"], row["address"]) == ("moody", self.address))
        fresh.stop()

    def check_visitor(self):
        lab.wait_until("its visitor reaches it again", lambda: got_hello(self.net, self.address, seconds=5),
                       self.BACK_S - (time.monotonic() - self.began), 0.1)
        self.report.figure("visitor_after_kill_s", time.monotonic() - self.began, "s")
        self.report.check("visitor_after_kill", True)
        self.node.stop()


def run(report):
    endpoints.need(("nginx", "nginx-light"), ("curl", "curl"), ("sshd", "openssh-server"), ("ssh", "openssh-client"),
                   ("dnsmasq", "dnsmasq-base"), ("tcpdump", "tcpdump"), ("ss", "iproute2"))
    began = time.monotonic()
    with endpoints.Mesh() as net:
        net.start()
        cautious = net.node("cautious", net.at_visitor, settings={
            "onion": {"wait_for_answer": True}, "socks": {"listen": f"127.0.0.1:{CAUTIOUS}"},
            "http": {"listen": f"127.0.0.1:{CAUTIOUS_HTTP}"}}).start(30)
        sniffers = [Sniffer(net, at) for at in (net.at_service, net.at_visitor)]
        web = endpoints.Nginx(net).start()
        stranger = endpoints.address_of(bytes.fromhex(net.relays[0].cyx("id")["identity"]))
        web.put("hello", HELLO)
        killed = Killed(report, net)
        killed.check_newcomer()
        address = transfer(report, net, web)
        unix_socket(report, net, web)
        http_door(report, net, address, stranger)
        socks_refusals(report, net, address, stranger)
        curl_refusals(report, net, address, stranger)
        half_close(report, net)
        ssh(report, net)
        datagrams(report, net)
        petnames(report, net, address)
        client_keys(report, net)
        why(report, net, address, stranger)
        killed.check_visitor()
        leaks = [line for s in sniffers for line in s.end()]
        report.check("no_lookup_leaves", not leaks, leaks[0][:150] if leaks else "and the capture shows one that does")
        cautious.stop()
        net.stop()
    report.figure("seconds", time.monotonic() - began, "s")
