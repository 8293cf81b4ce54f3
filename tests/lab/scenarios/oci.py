"""cyx-run as an OCI runtime: every verb, what it refuses, and podman on top of it (root)

Nothing may be left afterwards: state, cgroups, mounts, processes. podman's part is skipped, and said
so, where it is not installed."""
import json
import os
import shutil
import subprocess
import tempfile
import time

import lab


class Box:
    """A bundle that is busybox alone, and the runtime with a state folder of its own."""

    def __init__(self, folder, busybox):
        self.folder = folder
        self.program = os.path.join(lab.build_dir(), "bin", "cyx-run")
        self.root = os.path.join(folder, "state")
        self.bundle = os.path.join(folder, "bundle")
        bin_dir = os.path.join(self.bundle, "rootfs", "bin")
        os.makedirs(bin_dir)
        shutil.copy(busybox, os.path.join(bin_dir, "busybox"))
        for name in ("sh", "id", "sleep", "cat", "grep", "tty", "true", "mount", "touch", "ulimit"):
            os.symlink("busybox", os.path.join(bin_dir, name))
        self.call("spec", "-b", self.bundle)
        with open(os.path.join(self.bundle, "config.json")) as f:
            self.plain = json.load(f)
        self.plain["process"].update(terminal=False, args=["sleep", "1000"])

    def call(self, *args):
        """(exit status, what it printed)"""
        done = subprocess.run([self.program, "--root", self.root, *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        return done.returncode, done.stdout.strip()

    def config(self, change=None):
        config = json.loads(json.dumps(self.plain))
        if change:
            change(config)
        with open(os.path.join(self.bundle, "config.json"), "w") as f:
            json.dump(config, f)

    def run(self, *command, change=None):
        def both(config):
            config["process"]["args"] = list(command)
            if change:
                change(config)
        self.config(both)
        return self.call("run", "-b", self.bundle, "lab-run")

    def create(self, name):
        """As an engine does: its output is no pipe that the container would keep open."""
        self.config()
        return subprocess.run([self.program, "--root", self.root, "create", "-b", self.bundle, name],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60).returncode

    def status(self, name):
        rc, text = self.call("state", name)
        return json.loads(text)["status"] if rc == 0 else "none"


def verbs(report, box):
    report.check("create", box.create("lab-a") == 0 and box.status("lab-a") == "created")
    report.check("start", box.call("start", "lab-a")[0] == 0 and box.status("lab-a") == "running")
    report.check("start_twice_refused", box.call("start", "lab-a")[0] != 0)
    report.check("create_twice_refused", box.create("lab-a") != 0 and box.status("lab-a") == "running")
    report.check("exec", box.call("exec", "lab-a", "sh", "-c", "id; exit 7") == (7, "uid=0 gid=0"))
    report.check("exec_user", box.call("exec", "-u", "12:34", "lab-a", "id") == (0, "uid=12 gid=34"))
    report.check("exec_bad_user_refused", all(box.call("exec", "-u", user, "lab-a", "id")[0] == 1
                                              for user in ("", "root", "-1", "4294967296", "1x", "0x0")))
    report.check("exec_env", box.call("exec", "-e", "A=b", "lab-a", "sh", "-c", "echo $A") == (0, "b"))
    report.check("pause", box.call("pause", "lab-a")[0] == 0 and box.status("lab-a") == "paused")
    report.check("exec_paused_refused", box.call("exec", "lab-a", "true")[0] == 1)
    report.check("resume", box.call("resume", "lab-a")[0] == 0 and box.status("lab-a") == "running")
    pids = json.loads(box.call("ps", "-f", "json", "lab-a")[1])
    report.check("ps", len(pids) == 1 and os.path.exists(f"/proc/{pids[0]}"))
    events = json.loads(box.call("events", "--stats", "lab-a")[1])
    report.check("events", events["data"]["pids"]["current"] == 1 and events["data"]["cpu"]["usage"]["total"] > 0)
    report.check("delete_running_refused", box.call("delete", "lab-a")[0] == 1)
    report.check("kill", box.call("kill", "lab-a", "SIGKILL")[0] == 0)
    lab.wait_until("it has stopped", lambda: box.status("lab-a") == "stopped", 10, 0.05)
    report.check("delete", box.call("delete", "lab-a")[0] == 0 and box.status("lab-a") == "none")
    report.check("features", json.loads(box.call("features")[1])["linux"]["seccomp"]["enabled"])


def sections(report, box):
    """One check or more for each section of the runtime specification."""
    report.check("process_exit", box.run("sh", "-c", "exit 9")[0] == 9)
    report.check("process_cwd", box.run("sh", "-c", "pwd", change=lambda c: c["process"].update(cwd="/made/here"))[1] == "/made/here")
    report.check("root_readonly", box.run("touch", "/x")[0] == 1)
    report.check("root_writable", box.run("touch", "/x", change=lambda c: c["root"].update(readonly=False))[0] == 0)
    owner = os.stat(os.path.join(box.bundle, "rootfs", "x")).st_uid
    report.check("root_ids_mapped_back", owner == 0)
    report.check("hostname", box.run("cat", "/proc/sys/kernel/hostname", change=lambda c: c.update(hostname="abc"))[1] == "abc")
    report.check("user", box.run("id", change=lambda c: c["process"]["user"].update(uid=5, gid=6))[1] == "uid=5 gid=6")
    report.check("groups", box.run("id", change=lambda c: c["process"]["user"].update(uid=5, gid=6, additionalGids=[77]))[1].endswith("groups=77"))
    report.check("rlimits", box.run("sh", "-c", "ulimit -n", change=lambda c: c["process"].update(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 200}]))[1] == "99")
    report.check("capabilities_none", "CapEff:\t0000000000000000" in box.run("grep", "CapEff", "/proc/self/status")[1])
    given = {"bounding": ["CAP_KILL", "CAP_SYS_ADMIN"]}
    report.check("capabilities_narrowed", "CapBnd:\t0000000000000020" in box.run(
        "grep", "CapBnd", "/proc/self/status", change=lambda c: c["process"].update(capabilities=given))[1])
    tmpfs = {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "ro"]}
    report.check("mount_tmpfs", "tmpfs" in box.run("grep", " /t ", "/proc/mounts", change=lambda c: (
        c["root"].update(readonly=False), c["mounts"].append(tmpfs)))[1])
    masked = {"maskedPaths": ["/proc/version"], "readonlyPaths": ["/proc/sys"]}
    report.check("masked_path", box.run("cat", "/proc/version", change=lambda c: c["linux"].update(masked)) == (0, ""))
    report.check("sysctl", box.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", change=lambda c: c["linux"].update(
        sysctl={"net.ipv4.ip_unprivileged_port_start": "80"}))[1] == "80")
    report.check("cgroup_pids", box.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 9 & done", change=lambda c: c["linux"].update(
        resources={"pids": {"limit": 4}}))[0] != 0)
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sethostname", "mkdir", "mkdirat"],
                                                                "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]}
    os.symlink("busybox", os.path.join(box.bundle, "rootfs", "bin", "mkdir"))
    report.check("seccomp_narrows", "Protocol error" in box.run("mkdir", "/d", change=lambda c: c["linux"].update(seccomp=seccomp))[1])
    report.check("seccomp_widens_nothing", box.run("mount", "-t", "tmpfs", "x", "/bin", change=lambda c: c["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_ALLOW"}))[0] != 0)
    flag = os.path.join(box.folder, "hook")
    hook = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {flag}"]}]}
    box.run("true", change=lambda c: c.update(hooks=hook))
    with open(flag) as f:
        report.check("hooks", json.load(f)["id"] == "lab-run")


def refusals(report, box):
    cases = {
        "namespace_path": lambda c: c["linux"].update(namespaces=[{"type": "network", "path": "/proc/1/ns/net"}]),
        "host_root_mapped": lambda c: c["linux"].update(uidMappings=[{"containerID": 0, "hostID": 0, "size": 65536}],
                                                        gidMappings=[{"containerID": 0, "hostID": 0, "size": 65536}]),
        "core_pattern": lambda c: c["linux"].update(sysctl={"kernel.core_pattern": "|/bin/sh"}),
        "cwd_of_descriptor": lambda c: c["process"].update(cwd="/proc/self/fd/1"),
        "uid_too_large": lambda c: c["process"]["user"].update(uid=4294967295),
        "uid_as_text": lambda c: c["process"]["user"].update(uid="0"),
        "no_args": lambda c: c["process"].update(args=[]),
        "inner_hooks": lambda c: c.update(hooks={"startContainer": [{"path": "/bin/true"}]}),
        "other_version": lambda c: c.update(ociVersion="2.0.0"),
    }
    for name, change in cases.items():
        box.config(change)
        rc, text = box.call("run", "-b", box.bundle, "lab-run")
        report.check(f"refuses_{name}", rc == 1 and "cyx-run:" in text, text.split("\n")[-1][:70])


def podman(report, folder, box):
    if shutil.which("podman") is None:
        report.figure("podman", "skipped: not installed")
        return
    base = ["podman", "--root", os.path.join(folder, "pr"), "--runroot", os.path.join(folder, "prr"), "--storage-driver",
            "vfs", "--cgroup-manager", "cgroupfs", "--runtime", box.program]

    def call(*args):
        done = subprocess.run([*base, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120)
        return done.returncode, done.stdout.strip()
    image = os.path.join(folder, "image.tar")
    subprocess.run(["tar", "-C", os.path.join(box.bundle, "rootfs"), "-cf", image, "."], check=True)
    report.check("podman_import", call("import", image, "lab:1")[0] == 0)
    report.check("podman_run", call("run", "--rm", "--network", "none", "lab:1", "id") == (0, "uid=0 gid=0"))
    report.check("podman_detached", call("run", "-d", "--name", "lab-p", "--network", "none", "--pids-limit", "50", "lab:1",
                                         "sleep", "1000")[0] == 0)
    report.check("podman_exec", call("exec", "lab-p", "id") == (0, "uid=0 gid=0"))
    report.check("podman_pause", call("pause", "lab-p")[0] == 0 and "Paused" in call("ps", "-a", "--format", "{{.Status}}")[1])
    report.check("podman_unpause", call("unpause", "lab-p")[0] == 0)
    report.check("podman_stop", call("stop", "-t", "1", "lab-p")[0] == 0 and "Exited (137)" in call("ps", "-a", "--format", "{{.Status}}")[1])
    report.check("podman_rm", call("rm", "lab-p")[0] == 0)
    call("system", "reset", "-f")


def groups_left():
    found = []
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(folder, n) for n in names if n in ("lab-a", "lab-run")]
    return found


def mounts_here():
    """Mount points, but for those of other scenarios, which come and go beside this one."""
    with open("/proc/self/mountinfo") as f:
        points = {line.split()[4] for line in f}
    return {p for p in points if not p.startswith("/run/netns") and "/cyxlab" not in p}


def run(report):
    busybox = shutil.which("busybox")
    if os.geteuid() != 0:
        raise lab.Skip("containers need root")
    if busybox is None:
        raise lab.Skip("no static busybox")
    mounts = mounts_here()
    with tempfile.TemporaryDirectory(prefix="cyx-oci-") as folder:
        os.chmod(folder, 0o755)
        box = Box(folder, busybox)
        verbs(report, box)
        sections(report, box)
        refusals(report, box)
        podman(report, folder, box)
        left = [n for n in os.listdir(box.root) if n != ".ids"] + os.listdir(os.path.join(box.root, ".ids"))
        report.check("no_state_left", not left, " ".join(left)[:60])
    time.sleep(0.2)
    report.check("no_cgroup_left", not groups_left(), " ".join(groups_left())[:60])
    more = mounts_here() - mounts
    report.check("no_mount_left", not more, ", ".join(sorted(more)))
