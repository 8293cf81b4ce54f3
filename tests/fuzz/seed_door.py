#!/usr/bin/python3
"""Writes the seed corpora of the fuzz targets socks and tunnel."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
HELLO = b"\x05\x01\x00"
LOGIN = b"\x05\x02\x00\x02" + b"\x01\x02me\x03pwd"
NAME = b"\x03\x05a.cyx\x00\x50"
PIECES = b"\x06"


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def head(*lines):
    return "\r\n".join(lines + ("", "")).encode()


def socks():
    put("socks", "connect", PIECES + HELLO + b"\x05\x01\x00" + NAME + b"early")
    put("socks", "login", PIECES + LOGIN + b"\x05\x01\x00" + NAME)
    put("socks", "login-version", PIECES + b"\x05\x01\x02\x05\x01a\x01b")
    put("socks", "associate", PIECES + HELLO + b"\x05\x03\x00\x01" + bytes(6))
    put("socks", "associate-v6", PIECES + HELLO + b"\x05\x03\x00\x04" + bytes(18))
    put("socks", "bind", PIECES + HELLO + b"\x05\x02\x00" + NAME)
    put("socks", "v4", PIECES + HELLO + b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50")
    put("socks", "v6", PIECES + HELLO + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50")
    put("socks", "address-type", PIECES + HELLO + b"\x05\x01\x00\x02")
    put("socks", "no-method", PIECES + b"\x05\x01\x01")
    put("socks", "socks4", PIECES + b"\x04\x01\x00\x50\x01\x02\x03\x04\x00")
    put("socks", "http", PIECES + b"GET / HTTP/1.1\r\n\r\n")
    put("socks", "truncated", PIECES + HELLO + b"\x05\x01\x00\x03\x09a.c")
    put("socks", "datagram", PIECES + b"\x00\x00\x00" + NAME + b"hello")
    put("socks", "fragment", PIECES + b"\x00\x00\x01" + NAME + b"hello")


def tunnel():
    put("tunnel", "connect", head("CONNECT a.cyx:443 HTTP/1.1", "Host: a.cyx:443") + b"\x16\x03")
    put("tunnel", "old", head("CONNECT a.cyx:1 HTTP/1.0"))
    put("tunnel", "login", head("CONNECT a.cyx:443 HTTP/1.1", "Host: a",
                                "Proxy-Authorization: Basic bWU6cHdk"))
    put("tunnel", "other-login", head("CONNECT a:1 HTTP/1.1", "Host: a",
                                      "Proxy-Authorization: Bearer x"))
    put("tunnel", "v6", head("CONNECT [2001:db8::1]:80 HTTP/1.1", "Host: a"))
    put("tunnel", "get", head("GET http://a.cyx/ HTTP/1.1", "Host: a.cyx"))
    put("tunnel", "no-port", head("CONNECT a.cyx HTTP/1.1", "Host: a"))
    put("tunnel", "big-port", head("CONNECT a.cyx:65536 HTTP/1.1", "Host: a"))
    put("tunnel", "two-hosts", head("CONNECT a.cyx:80 HTTP/1.1", "Host: a", "Host: b"))
    put("tunnel", "body", head("CONNECT a.cyx:80 HTTP/1.1", "Host: a", "Content-Length: 1"))
    put("tunnel", "chunked", head("CONNECT a.cyx:80 HTTP/1.1", "Host: a",
                                  "Transfer-Encoding: chunked"))
    put("tunnel", "folded", head("CONNECT a.cyx:80 HTTP/1.1", "Host: a", " b"))
    put("tunnel", "bare-lf", b"CONNECT a.cyx:80 HTTP/1.1\nHost: a\n\n")
    put("tunnel", "truncated", b"CONNECT a.cyx:80 HTTP/1.1\r\nHo")


if __name__ == "__main__":
    socks()
    tunnel()
