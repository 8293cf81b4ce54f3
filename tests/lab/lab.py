"""What lab scenarios share: network namespaces joined by the forwarder (wire.c), processes in them,
checks with figures. Everything made here is gone when the `with` block ends, however it ends."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Skip(Exception):
    """This machine can't run the scenario; the text says what it lacks."""


class Failed(Exception):
    """The scenario can't go on."""


def build_dir():
    """The build folder whose programs are tested: CYX_BUILD, else build/release (made if needed)."""
    path = os.environ.get("CYX_BUILD")
    if path:
        return path
    path = os.path.join(ROOT, "build", "release")
    for step in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
        done = subprocess.run(step, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed("build failed:\n" + done.stdout[-4000:])
    return path


def is_sanitized():
    """Was the build made with sanitizers?"""
    try:
        with open(os.path.join(build_dir(), "CMakeCache.txt")) as f:
            cache = f.read()
    except OSError:
        return False
    return "CYX_ASAN:BOOL=ON" in cache or "CYX_TSAN:BOOL=ON" in cache


def program(name):
    path = os.path.join(build_dir(), "bin", name)
    if not os.path.exists(path):
        raise Failed(f"{path} is not built")
    return path


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root for network namespaces")


def need_namespaces():
    need_root()
    if not os.path.exists("/dev/net/tun"):
        raise Skip("needs /dev/net/tun for the forwarder")
    if not shutil.which("ip"):
        raise Skip("needs the ip command (package iproute2)")
    probe = f"cyxprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("can't make network namespaces here (ip netns add fails)")
    subprocess.run(["ip", "netns", "del", probe])


def wait_until(what, test, seconds=10.0, every=0.02):
    """Polls until test() is true and returns its value; Failed when it does not become so in time."""
    end = time.monotonic() + seconds
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds:g} s for: {what}")
        time.sleep(every)


def tune_sanitizer(options):
    """Adds to ASAN_OPTIONS of the programs started from now on; without sanitizers it does nothing."""
    os.environ["ASAN_OPTIONS"] = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), options]))


class Report:
    """The table that people read and the JSON object that programs read."""

    def __init__(self, name):
        self.name = name
        self.figures = {}
        self.rows = []
        self.held = True

    def figure(self, key, value, unit=""):
        self.figures[key] = value
        self.rows.append((key, f"{value:g}" if isinstance(value, float) else str(value), unit, ""))

    def check(self, key, ok, detail=""):
        """One property that must hold."""
        self.figures[key] = bool(ok)
        self.held = self.held and bool(ok)
        self.rows.append((key, "held" if ok else "BROKEN", "", detail))
        return ok

    def print(self):
        for key, value, unit, detail in self.rows:
            print(f"  {key:<34} {value:>12} {unit:<6} {detail}".rstrip())
        print(json.dumps({"scenario": self.name, "held": self.held, **self.figures}))


class Place:
    """A temporary folder and child processes, all of which end with it."""

    def __init__(self):
        self.dir = None
        self.children = []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="cyxlab")
        os.chmod(self.dir, 0o755)
        return self

    def __exit__(self, *exc):
        for child in reversed(self.children):
            self.end(child)
        shutil.rmtree(self.dir, ignore_errors=True)
        return False

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def spawn(self, argv, **options):
        # A session of its own: one signal to its group reaches what it started, too.
        child = subprocess.Popen(argv, start_new_session=True, **options)
        self.children.append(child)
        return child

    def end(self, child):
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                try:
                    os.killpg(child.pid, number)
                    child.wait(10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()


class Node:
    """One cyxd: its configuration, its process (in port `port` of a Net, or here), its cyx.

    Settings are TOML values as Python ones: {"mesh": {"listed": True}, "": {"roles": ["cells"]}}."""

    def __init__(self, place, name, port=None, listen="127.0.0.1:0", bootstrap=(), settings=None):
        self.place = place
        self.name = name
        self.port = port
        self.data = place.path(name)
        self.socket = place.path(f"{name}.run", "control.sock")
        self.config = place.path(f"{name}.toml")
        self.log = place.path(f"{name}.log")
        self.child = None
        self.settings = {
            "": {"data_dir": self.data},
            "network": {"name": "lab", "id_effort": 1, "lab": True},
            "mesh": {"listen": listen, "listed": True, "bootstrap": list(bootstrap)},
            "control": {"socket": self.socket},
            "log": {"level": "debug"},
            # LeakSanitizer stops the process at its end with calls that the filter kills.
            "sandbox": {"enable": "off" if is_sanitized() else "auto"},
        }
        for table, keys in (settings or {}).items():
            self.settings.setdefault(table, {}).update(keys)

    def write_config(self):
        with open(self.config, "w") as f:
            for table, keys in self.settings.items():
                if table:
                    f.write(f"[{table}]\n")
                for key, value in keys.items():
                    f.write(f"{key} = {json.dumps(value)}\n")

    def argv(self):
        user = ["--user", "nobody"] if os.geteuid() == 0 else []
        argv = [program("cyxd"), "--config", self.config, *user]
        return self.place.inside(self.port, argv) if self.port else argv

    def spawn(self):
        """Starts the daemon and returns at once."""
        self.write_config()
        with open(self.log, "a") as log:
            self.child = self.place.spawn(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def start(self, seconds=20.0):
        """Starts the daemon and waits until it answers."""
        self.spawn()
        wait_until(f"{self.name} answers", self.answers, seconds)
        return self

    def answers(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended with {self.child.returncode}: {self.tail()}")
        return self.cyx("id", check=False) is not None

    def try_start(self, seconds=10.0):
        """Starts a daemon that should refuse: its exit status and what it said."""
        self.write_config()
        done = subprocess.run(self.argv(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=seconds)
        return done.returncode, done.stdout

    def tail(self, lines=15):
        try:
            with open(self.log) as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def said(self, text):
        with open(self.log) as f:
            return text in f.read()

    def cyx(self, *args, check=True):
        """One command of cyx as a value; None when it fails and `check` is off."""
        done = subprocess.run([program("cyx"), "--control", self.socket, "--json", *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)
        if done.returncode != 0:
            if check:
                raise Failed(f"{self.name}: cyx {' '.join(args)}: {(done.stderr or done.stdout).strip()}")
            return None
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def call(self, method, **params):
        return self.cyx("call", method, *(f"{k}={v}" for k, v in params.items()))

    def status(self):
        return self.cyx("status")

    def peers(self):
        return [p for p in self.cyx("peers") if p["state"] == "up"]

    def id(self):
        return self.cyx("id")["id"]

    def contact(self, address=None):
        """The line for others' bootstrap lists; with another address than the node's own."""
        text = self.cyx("id")["contact"]
        return f"{text.split('@')[0]}@{address}" if address else text

    def pid(self):
        """Of cyxd itself: ip netns exec replaces itself, so it is the child's."""
        return self.child.pid

    def rss_kib(self):
        with open(f"/proc/{self.pid()}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def kill(self):
        """kill -9."""
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=20.0):
        """SIGTERM; the daemon must end with status 0."""
        self.child.terminate()
        try:
            status = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {seconds:g} s of SIGTERM") from None
        if status != 0:
            raise Failed(f"{self.name} ended with {status} on SIGTERM: {self.tail()}")


class Net(Place):
    """n namespaces, port i (from 1) at 10.77.0.i and fd77::i, joined by the forwarder."""

    def __init__(self, n, mtu=1500):
        super().__init__()
        self.n = n
        self.mtu = mtu
        self.made = []
        self.wire = None

    def __enter__(self):
        need_namespaces()
        super().__enter__()
        try:
            self._up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc):
        super().__exit__(*exc)
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        self.made = []
        return False

    def _up(self):
        for i in range(1, self.n + 1):
            self.made.append(self.ns(i))
            self._ip("netns", "add", self.ns(i))
        self.wire = self.spawn([program("wire")] + self.made, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        if self.wire.stdout.readline() != "ready\n":
            raise Failed("the forwarder did not start")
        for i in range(1, self.n + 1):
            self._ip("-n", self.ns(i), "link", "set", "lo", "up")
            self._ip("-n", self.ns(i), "link", "set", "wire", "mtu", str(self.mtu), "txqueuelen", "10000", "up")
            self.address(i, self.v4(i), 16)
            self.address(i, self.v6(i), 32)
            # Everything else leads to the forwarder too, which counts it: answers to spoofed senders.
            self._ip("-n", self.ns(i), "route", "add", "default", "dev", "wire")

    def _ip(self, *args):
        done = subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"ip {' '.join(args)}: {done.stdout.strip()}")

    def ns(self, i):
        return f"cyx{os.getpid()}-{i}"

    @staticmethod
    def v4(i, variant=0):
        return f"10.77.{variant}.{i}"

    @staticmethod
    def v6(i, variant=0):
        return f"fd77::{i:x}" if variant == 0 else f"fd77:0:{variant:x}::{i:x}"

    def address(self, i, address, bits):
        extra = ["nodad"] if ":" in address else []
        self._ip("-n", self.ns(i), "addr", "add", f"{address}/{bits}", "dev", "wire", *extra)

    def source(self, i, address):
        """From now on the kernel of port i picks this source; the old address still receives."""
        if ":" in address:
            self._ip("-n", self.ns(i), "-6", "route", "replace", "fd77::/32", "dev", "wire", "metric", "1",
                     "src", address)
        else:
            self._ip("-n", self.ns(i), "route", "replace", "10.77.0.0/16", "dev", "wire", "src", address)

    def inside(self, i, argv):
        return ["ip", "netns", "exec", self.ns(i), *argv]

    def command(self, line):
        self.wire.stdin.write(line + "\n")
        self.wire.stdin.flush()
        answer = self.wire.stdout.readline()
        if not answer or answer.startswith("error"):
            raise Failed(f"forwarder: {line}: {answer.strip() or 'it ended'}")
        return answer

    def set(self, source, to, **keys):
        """delay, jitter, queue in ms; loss, reorder in percent; rate in kbit/s; mtu; cut."""
        self.command(f"set {source} {to} " + " ".join(f"{k}={v}" for k, v in keys.items()))

    def count(self, source="*", to="*"):
        return json.loads(self.command(f"count {source} {to}"))

    def drained(self):
        """Waits until nothing is on its way."""
        wait_until("the forwarder is empty", lambda: self.count()["held"] == 0)
