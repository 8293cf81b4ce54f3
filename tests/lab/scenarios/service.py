"""the systemd unit is well formed and hardened (systemd-analyze)"""
import os
import re
import shutil
import subprocess

import lab

EXPOSURE_MAX = 20 # of 100; a plain service has 96


def run(report):
    unit = os.path.join(lab.ROOT, "configs", "systemd", "cyxd.service")
    if not shutil.which("systemd-analyze"):
        raise lab.Skip("systemd-analyze is not installed")
    if not os.path.exists(unit):
        raise lab.Failed(f"{unit} is missing")
    with lab.Place() as place:
        with open(unit) as f:
            text = f.read()
        # Checked with the program that was built, not one that may be installed.
        text = re.sub(r"(?m)^(Exec\w+=[-+!@:]*)/\S*/cyxd", lambda m: m.group(1) + lab.program("cyxd"), text)
        text = re.sub(r"(?m)^(Exec\w+=[-+!@:]*)/\S*/cyx ", lambda m: m.group(1) + lab.program("cyx") + " ", text)
        path = place.path("cyxd.service")
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        ours = [l for l in done.stdout.split("\n") if "cyxd.service" in l]
        report.check("unit_is_well_formed", not ours and done.returncode == 0, "; ".join(ours)[:200])
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                               f"--threshold={EXPOSURE_MAX}", path], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        overall = [l.strip() for l in done.stdout.split("\n") if "Overall exposure" in l]
        report.check("unit_is_hardened", done.returncode == 0, overall[0] if overall else done.stdout[-200:])
