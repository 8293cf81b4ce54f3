"""the metrics page is what Prometheus reads (promtool), and counts what happened"""
import shutil
import socket
import subprocess
import urllib.request

import lab


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(report):
    if not shutil.which("promtool"):
        raise lab.Skip("promtool is not installed (package prometheus)")
    port = free_port()
    with lab.Place() as place:
        peer = lab.Node(place, "peer").start()
        node = lab.Node(place, "node", bootstrap=[peer.contact()],
                        settings={"metrics": {"listen": f"127.0.0.1:{port}"}}).start()
        lab.wait_until("a link", node.peers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            text = page.read()
            kind = page.headers["Content-Type"]
        done = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        report.check("promtool_is_content", done.returncode == 0, done.stdout.decode()[-300:].strip())
        report.check("content_type", kind.startswith("text/plain"), kind)
        lines = [l for l in text.decode().split("\n") if l and not l.startswith("#")]
        report.figure("samples", len(lines))
        report.check("shows_limits_and_use", any("max" in l or "limit" in l for l in lines))
        report.check("no_addresses", "127.0.0.1" not in text.decode(), "metrics name nobody")
        node.stop()
        peer.stop()
