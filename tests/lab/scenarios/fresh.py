"""install, build, ./demo and the unit tests inside a bare Debian 12 root, from a clean copy of the tree

Uses this machine's package sources, apt settings, proxies and resolver, and nothing else of it."""
import glob
import os
import re
import shutil
import subprocess
import time

import lab

STEPS = "shell graph hygiene unit"


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def sources():
    """The files of this machine that name Debian 12's own suites, whatever mirror they come from."""
    paths = ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*.list"),
             *glob.glob("/etc/apt/sources.list.d/*.sources")]
    return [p for p in paths if re.search(r"(?m)^(deb|Suites:)\s(.*\s)?bookworm(\s|$)", read(p))]


def options():
    """apt's settings about how to fetch: proxies, retries, certificates."""
    return [p for p in sorted(glob.glob("/etc/apt/apt.conf.d/*"))
            if re.search(r"Acquire::(https?|Retries|ForceIP|Check)", read(p))]


def stage(report, key, argv, log, **more):
    start = time.monotonic()
    with open(log, "a") as out:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **more)
    report.figure(f"{key}_s", round(time.monotonic() - start, 1), "s")
    if not report.check(key, done.returncode == 0, f"log: {log}"):
        with open(log) as f:
            print("".join(f.readlines()[-40:]))
        raise lab.Failed(f"{key} failed")


def copy_tree(place, root):
    """What git has, not what lies around."""
    clone = os.path.join(root, "src")
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "--quiet", "--no-hardlinks", lab.ROOT, clone],
                   check=True)


def run(report):
    lab.need_root()
    for tool in ("mmdebstrap", "git", "unshare"):
        if not shutil.which(tool):
            raise lab.Skip(f"needs {tool} (configs/packages-fresh.list)")
    if not sources():
        raise lab.Skip("this machine has no package sources of Debian 12")
    logs = os.path.join(lab.ROOT, "build", "fresh")
    os.makedirs(logs, exist_ok=True)
    log = os.path.join(logs, "log")
    open(log, "w").close()
    with lab.Place() as place:
        root = place.path("root")
        apt = [f"--aptopt={path}" for path in options()]
        stage(report, "bare_root", ["mmdebstrap", "--variant=minbase", "--include=ca-certificates", *apt,
                                    "bookworm", root, *sources()], log)
        for path in options():
            shutil.copy(path, os.path.join(root, "etc/apt/apt.conf.d"))
        shutil.copy("/etc/resolv.conf", os.path.join(root, "etc/resolv.conf"))
        copy_tree(place, root)
        # Own mounts and processes, which end with the command; the network is this machine's.
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
                  'mount --make-rprivate / && mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && '
                  'mount -t tmpfs tmpfs "$0/tmp" && mount -t tmpfs tmpfs "$0/run" && '
                  'exec chroot "$0" sh -c "cd /src && $1"', root]
        env = {k: v for k, v in os.environ.items() if k.lower().endswith("proxy")}
        env.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8")
        stage(report, "demo", [*inside, "./demo"], log, env=env)
        stage(report, "check", [*inside, f"./check {STEPS}"], log, env=env)
