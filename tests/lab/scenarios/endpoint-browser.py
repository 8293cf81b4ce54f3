"""Chromium loads a page with 50 resources from a hidden endpoint, through the SOCKS door

The page's scripts count what arrived, and nginx's log what was asked for. Chromium is in a list of its
own, configs/packages-browser.list: ./check doesn't install it."""
import os
import subprocess
import struct
import time
import zlib

import endpoints
import lab

SCRIPTS, IMAGES, STYLES = 20, 20, 10
RESOURCES = SCRIPTS + IMAGES + STYLES
LOAD_S = 40


def png(number):
    """A picture of number + 1 grey dots, uncompressible enough to be several kB."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + os.urandom(64) for _ in range(64 + number))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64 + number, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def make_page(web):
    """Each script adds one; at the end the page counts pictures that have their size and styles that
    apply, and writes the sum into itself."""
    head, body = [], []
    for i in range(STYLES):
        web.put(f"s{i}.css", f"#s{i} {{ width: {100 + i}px; }}\n".encode())
        head.append(f'<link rel="stylesheet" href="s{i}.css">')
        body.append(f'<div id="s{i}"></div>')
    for i in range(IMAGES):
        web.put(f"i{i}.png", png(i))
        body.append(f'<img src="i{i}.png" data-height="{64 + i}">')
    for i in range(SCRIPTS):
        web.put(f"j{i}.js", f"window.ran = (window.ran || 0) + 1; // {i}\n".encode())
        body.append(f'<script src="j{i}.js"></script>')
    count = f"""<script>window.onload = function () {{
        var n = window.ran || 0;
        document.querySelectorAll("img").forEach(i => n += i.naturalHeight == i.dataset.height);
        for (var i = 0; i < {STYLES}; i++)
            n += document.getElementById("s" + i).offsetWidth == 100 + i;
        document.body.dataset.arrived = n;
    }};</script>"""
    web.put("index.html", f"<!doctype html><html><head>{''.join(head)}</head><body>{''.join(body)}{count}</body></html>"
            .encode())


def load(net, url, profile):
    """Chromium's page after it has loaded, as text, and its time."""
    # As root it wants no sandbox of its own; the page is ours.
    argv = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
            f"--proxy-server=socks5://127.0.0.1:{endpoints.SOCKS}", "--dump-dom", url]
    began = time.monotonic()
    out = net.path("page.html")
    with open(out, "w") as page, open(net.path("programs.log"), "a") as log:
        child = net.spawn(net.inside(net.at_visitor, argv), stdin=subprocess.DEVNULL, stdout=page, stderr=log,
                          env={**os.environ, "HOME": net.path()})
        try:
            child.wait(LOAD_S)
        except subprocess.TimeoutExpired:
            net.end(child)
    with open(out) as page:
        return page.read(), time.monotonic() - began


def asked_for(web):
    with open(web.access) as log:
        lines = [line.split() for line in log]
    return {words[0] for words in lines if words[1] == "200"}


def run(report):
    endpoints.need(("nginx", "nginx-light"), ("chromium", "chromium"))
    began = time.monotonic()
    with endpoints.Mesh() as net:
        net.start()
        web = endpoints.Nginx(net)
        make_page(web)
        web.start()
        address, _ = net.expose(str(endpoints.WEB), "--ports", "80")
        page, took = load(net, f"http://{address}/", net.path("profile"))
        arrived = page.split('data-arrived="')[1].split('"')[0] if "data-arrived" in page else "none"
        report.check("all_resources_arrived", arrived == str(RESOURCES), f"{arrived} of {RESOURCES}")
        wanted = {f"/s{i}.css" for i in range(STYLES)} | {f"/i{i}.png" for i in range(IMAGES)} | \
                 {f"/j{i}.js" for i in range(SCRIPTS)}
        served = asked_for(web) & wanted
        report.check("all_were_asked_of_nginx", served == wanted, f"{len(served)} of {RESOURCES}")
        report.figure("browser_s", took, "s")
        net.stop()
    report.figure("seconds", time.monotonic() - began, "s")
