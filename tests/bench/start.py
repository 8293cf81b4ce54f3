"""Container starts: the isolation core and cyx-run beside what Debian has."""
import json
import os
import shutil
import subprocess
import sys
import tempfile


def bundle(build_dir, folder, layer):
    """a config.json that our runtime, crun and runc all take"""
    os.makedirs(folder)
    subprocess.run([os.path.join(build_dir, "bin", "cyx-run"), "spec", "-b", folder], check=True)
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    config["process"].update(terminal=False, args=["/bin/true"])
    config["root"] = {"path": layer, "readonly": True}
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] not in ("user", "time")]
    config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 64}}
    config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"},
                        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                         "options": ["nosuid", "mode=755", "size=65536k"]}]
    with open(path, "w") as f:
        json.dump(config, f)


def run(build_dir):
    busybox = shutil.which("busybox")
    if os.geteuid() != 0 or busybox is None:
        sys.exit("start: needs root and a static busybox")
    rounds = int(os.environ.get("CYX_BENCH_ROUNDS", "60"))
    with tempfile.TemporaryDirectory(prefix="cyx-start-") as folder:
        os.chmod(folder, 0o755)
        layer = os.path.join(folder, "layer")
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            os.makedirs(os.path.join(layer, name))
        shutil.copy(busybox, os.path.join(layer, "bin", "busybox"))
        for name in ("true", "sleep"):
            os.symlink("busybox", os.path.join(layer, "bin", name))
        bundle(build_dir, os.path.join(folder, "bundle"), layer)
        rivals = {
            "fork_exec": [os.path.join(layer, "bin/true")],
            "unshare": ["unshare", "-pmnuiC", "-f", os.path.join(layer, "bin/true")],
            "bwrap": ["bwrap", "--unshare-all", "--ro-bind", layer, "/", "--proc", "/proc", "--dev", "/dev",
                      "--tmpfs", "/tmp", "/bin/true"],
            "cyx_run": [os.path.join(build_dir, "bin", "cyx-run"), "--root", os.path.join(folder, "state-run"),
                        "run", "-b", os.path.join(folder, "bundle"), "bench-run"],
            "crun": ["crun", "run", "-b", os.path.join(folder, "bundle"), "bench-crun"],
            "runc": ["runc", "run", "-b", os.path.join(folder, "bundle"), "bench-runc"],
        }
        args, skipped = [], []
        # Whether each works at all; bench_start hides v2 from crun and runc by itself.
        hide = ["unshare", "-m", "--propagation", "private", "sh", "-c",
                'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"']
        for name, command in rivals.items():
            path = shutil.which(command[0])
            works = path is not None and subprocess.run(
                [*(hide if name in ("crun", "runc") else []), path, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
            if not works:
                skipped.append(name)
                continue
            args += [name, path, *command[1:], ";"]
        done = subprocess.run([os.path.join(build_dir, "bin", "bench_start"),
                               os.path.join(folder, "state"), layer, str(rounds), *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=1200)
        if done.returncode != 0:
            sys.exit(f"bench_start ended with {done.returncode}")
    got = json.loads(done.stdout)
    print(f"  {'us: start to exit of a static true':<34}{'median':>10}{'best':>10}{'9 of 10':>10}")
    for name, (median, best, ninety) in got.items():
        print(f"  {name:<34}{median:>10}{best:>10}{ninety:>10}")
    figures = {"us": got, "rounds": rounds, "skipped": skipped}
    held = True
    for rival, most in (("bwrap", 0.6), ("crun", 0.25)):
        if rival in got:
            ratios = [round(got["core"][i] / got[rival][i], 3) for i in (0, 1)]
            figures[f"core_of_{rival}"] = ratios
            print(f"  core / {rival:<27}{ratios[0]:>10}{ratios[1]:>10}")
            held = held and min(ratios) <= most
    return figures, held
