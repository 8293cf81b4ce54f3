"""The program behind a hidden endpoint: one nginx process that serves files of known sizes."""
import os
import shutil
import socket
import subprocess

import lab

TINY = "/tiny"  # 64 bytes
BIG = "/big"  # holes, read from the page cache: it takes no room on the disk
BIG_BYTES = 1 << 30


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_files(folder):
    os.mkdir(folder)
    with open(folder + TINY, "w") as f:
        f.write("x" * 64)
    with open(folder + BIG, "wb") as f:
        f.truncate(BIG_BYTES)


def start(place, inside, name, port):
    """Serves at 127.0.0.1:port; `inside` wraps a command line for the node it belongs to."""
    if not shutil.which("nginx"):
        raise lab.Skip("nginx is not installed")
    folder, config = place.path(f"{name}.web"), place.path(f"{name}.nginx")
    files = place.path("www")
    if not os.path.exists(files):
        make_files(files)
    os.mkdir(folder)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(config, "w") as f:
        f.write(f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;\n"
                "events { worker_connections 4096; }\n"
                f"http {{ access_log off; sendfile on; tcp_nodelay on; {temporary}\n"
                "keepalive_requests 100000000; keepalive_timeout 3600;\n"
                f"server {{ listen 127.0.0.1:{port}; root {files}; }} }}\n")
    place.spawn(inside(["nginx", "-c", config, "-e", f"{folder}/error"]), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
