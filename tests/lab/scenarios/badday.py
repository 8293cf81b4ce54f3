"""full and read-only disk, corrupt store and key, wrong modes, a second daemon: clear error or recovery

A wall clock that jumps is the simulator's to show: a time namespace shifts only monotonic clocks."""
import glob
import json
import os
import subprocess

import lab


def refused(report, key, node, *words):
    """The daemon must refuse to start, and its words must help."""
    status, said = node.try_start()
    ok = status not in (0, None) and status > 0 and any(w in said for w in words)
    last = said.strip().split("\n")[-1] if said.strip() else "(nothing)"
    report.check(key, ok, f"status {status}: {last[-150:]}")


def key_file(node):
    return os.path.join(node.data, "identity.key")


def stores(node):
    return [f for f in glob.glob(os.path.join(node.data, "**"), recursive=True)
            if os.path.isfile(f) and os.path.getsize(f) >= 4096]


def second_daemon(report, place, peer):
    node = lab.Node(place, "twice", bootstrap=[peer.contact()]).start()
    other = lab.Node(place, "other")
    other.settings[""]["data_dir"] = node.data
    refused(report, "second_daemon_refused", other, "another", "pid", "held", "in use", "runs")
    report.check("first_daemon_unharmed", node.cyx("status", check=False) is not None)
    node.stop()


def key_trouble(report, place, peer):
    node = lab.Node(place, "keys", bootstrap=[peer.contact()]).start()
    wanted = node.id()
    node.stop()
    path = key_file(node)
    os.chmod(path, 0o644)
    refused(report, "wrong_mode_key_refused", node, "0600", "mode")
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        whole = f.read()
        f.seek(len(whole) // 2)
        f.write(bytes([whole[len(whole) // 2] ^ 0x40]))
    refused(report, "corrupt_key_refused", node, "corrupt", "damaged", "checksum", "restore")
    with open(path, "r+b") as f:
        f.write(whole[: len(whole) // 2])
        f.truncate()
    refused(report, "short_key_refused", node, "corrupt", "damaged", "short", "restore")
    with open(path, "r+b") as f:
        f.write(whole)
    node.start()
    report.check("identity_back_after_repair", node.id() == wanted)
    node.stop()


def corrupt_store(report, place, peer):
    node = lab.Node(place, "store", bootstrap=[peer.contact()]).start()
    lab.wait_until("a link", node.peers)
    wanted = node.id()
    node.stop()
    for how in ("garbage", "truncated"):
        files = stores(node)
        if not files:
            raise lab.Failed(f"no store in {node.data}")
        for path in files:
            with open(path, "r+b") as f:
                if how == "garbage":
                    f.write(os.urandom(8192))
                else:
                    f.truncate(1000)
        node.start()
        lab.wait_until("a link again", node.peers)
        report.check(f"starts_with_{how}_store", node.id() == wanted)
        report.check(f"says_so_{how}", node.said("corrupt") or node.said("aside"))
        node.stop()


class Disk:
    """A small tmpfs on the node's data folder."""

    def __init__(self, node):
        self.path = node.data

    def __enter__(self):
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700,uid=65534", "cyxlab", self.path],
                       check=True)
        return self

    def __exit__(self, *exc):
        subprocess.run(["umount", "-l", self.path], check=False)

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", self.path], check=True)

    def fill(self):
        with open(os.path.join(self.path, "ballast"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError:
                pass

    def free(self):
        os.unlink(os.path.join(self.path, "ballast"))


def full_disk(report, place, peer):
    node = lab.Node(place, "full", bootstrap=[peer.contact()])
    with Disk(node) as disk:
        node.start()
        lab.wait_until("a link", node.peers)
        wanted = node.id()
        disk.fill()
        report.check("full_disk_keeps_running", node.cyx("ping", peer.id(), check=False) is not None)
        stages = {s["stage"]: s["state"] for s in doctor(node)}
        report.check("full_disk_doctor_says_so", stages.get("disk") in ("warn", "fail"), str(stages.get("disk")))
        node.stop()
        node.spawn()
        try:
            lab.wait_until("it answers or ends", lambda: node.child.poll() is not None or
                           node.cyx("id", check=False), 10)
        except lab.Failed as why:
            report.check("full_disk_start", False, str(why))
        if node.child.poll() is None:
            report.check("full_disk_start", node.id() == wanted, "starts, same identity")
            node.stop()
        else:
            report.check("full_disk_start", node.child.returncode > 0 and
                         (node.said("full") or node.said("No space")), "refuses and says why")
        disk.free()
        node.start()
        report.check("full_disk_identity_kept", node.id() == wanted)
        lab.wait_until("a link after the disk has room again", node.peers)
        node.stop()

        disk.remount("ro")
        node.spawn()
        lab.wait_until("it answers or ends", lambda: node.child.poll() is not None or
                       node.cyx("id", check=False), 10)
        if node.child.poll() is None:
            report.check("read_only_disk", node.id() == wanted, "starts, same identity")
            node.stop()
        else:
            report.check("read_only_disk", node.child.returncode > 0 and
                         ("ead-only" in node.tail(3)), node.tail(1).strip()[-150:])
        disk.remount("rw")
        node.start()
        report.check("read_only_identity_kept", node.id() == wanted)
        node.stop()


def doctor(node):
    """doctor exits with 1 when a stage failed, and prints all the same."""
    done = subprocess.run([lab.program("cyx"), "--control", node.socket, "--json", "doctor"],
                          stdout=subprocess.PIPE, text=True, timeout=30)
    return json.loads(done.stdout) if done.stdout.strip() else []


def run(report):
    lab.need_root()
    with lab.Place() as place:
        peer = lab.Node(place, "peer").start()
        second_daemon(report, place, peer)
        key_trouble(report, place, peer)
        corrupt_store(report, place, peer)
        full_disk(report, place, peer)
        peer.stop()
