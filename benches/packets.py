#!/usr/bin/env python3
"""What one packet costs the broker: processor time of its I/O thread for the dearest packets known.

Usage: packets.py PROGRAM

PROGRAM is nearfar as it is shipped (target/dist/nearfar). A node is started on a free loopback port; each packet is sent ten times,
and the median of what the thread's own count (/proc/PID/task/TID/schedstat) grew by is printed, with the same for each byte. Linux
only; needs nothing but Python 3.
"""

import re
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

TIMES = 10
# Of five bytes each, so that a packet comes to just below the largest that is taken.
EMPTY_PROPERTIES = 199_000
# Nothing says that an acknowledgement was read; but then the thread has nothing to do for this long.
IDLE_S = 0.1
THREAD = "mqtt-io"
# What the node does by itself in that time.
BEAT_NS = 200_000


def varint(number):
    out = b""
    while True:
        number, digit = divmod(number, 128)
        out += bytes([digit | (128 if number else 0)])
        if not number:
            return out


def packet(first, *parts):
    body = b"".join(parts)
    return bytes([first]) + varint(len(body)) + body


def text(content):
    return struct.pack(">H", len(content)) + content.encode()


def properties(count):
    block = b"\x26\0\0\0\0" * count
    return varint(len(block)) + block


def filters(names, options=b""):
    return b"".join(text(name) + options for name in names)


MANY, HALF = properties(EMPTY_PROPERTIES), properties(EMPTY_PROPERTIES // 2)
CONNECT = text("MQTT") + b"\x05"
DEEP = ["/".join(["+"] * 121) + f"/{number}" for number in range(1_000)]
DEEPEST = ["/" * 60_000 + str(number) for number in range(15)]
WILD = [f"+/{number}" for number in range(100_000)]
PACKETS = {
    "PUBLISH with user properties": packet(0x30, text("t"), MANY),
    "CONNECT with user properties": packet(0x10, CONNECT, b"\x02\0\0", MANY, text("own")),
    "CONNECT with those and a will's": packet(
        0x10, CONNECT, b"\x06\0\0", HALF, text("own"), HALF, text("w"), text("")
    ),
    "PUBACK with user properties": packet(0x40, b"\0\x07\0", MANY),
    "PUBREC with user properties": packet(0x50, b"\0\x07\0", MANY),
    "PUBREL with user properties": packet(0x62, b"\0\x07\0", MANY),
    "PUBCOMP with user properties": packet(0x70, b"\0\x07\0", MANY),
    "DISCONNECT with user properties": packet(0xE0, b"\0", MANY),
    "SUBSCRIBE with user properties": packet(0x82, b"\0\x07", MANY, filters("a", b"\0")),
    "UNSUBSCRIBE with user properties": packet(0xA2, b"\0\x07", MANY, filters("a")),
    "SUBSCRIBE of 1,000 filters of 122 levels": packet(0x82, b"\0\x07\0", filters(DEEP, b"\0")),
    "UNSUBSCRIBE of 1,000 filters of 122 levels": packet(0xA2, b"\0\x07\0", filters(DEEP)),
    "SUBSCRIBE of 15 filters of 60,000 levels": packet(0x82, b"\0\x07\0", filters(DEEPEST, b"\0")),
    "UNSUBSCRIBE of 15 filters of 60,000 levels": packet(0xA2, b"\0\x07\0", filters(DEEPEST)),
    "SUBSCRIBE of 100,000 filters with a wildcard": packet(0x82, b"\0\x07\0", filters(WILD, b"\0")),
    "20,000 small retained PUBLISH": b"".join(
        packet(0x31, text(f"r/{number}"), b"\0x") for number in range(20_000)
    ),
    "200,000 PINGREQ": packet(0xC0) * 200_000,
    "200,000 PUBREL": b"".join(packet(0x62, struct.pack(">H", number % 65_535 + 1)) for number in range(200_000)),
}


def start(program):
    model = Path(__file__).parent.parent / "models" / "anomaly_detector"
    node = subprocess.Popen(
        [program, "serve", model, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in node.stdout:
        if found := re.search(r"127\.0\.0\.1:(\d+)", line):
            return node, ("127.0.0.1", int(found.group(1)))
    sys.exit(f"{program} says no address")


def thread_of(node):
    for task in Path(f"/proc/{node.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == THREAD:
            return task
    sys.exit(f"there is no thread {THREAD}")


def taken_ns(thread):
    return int((thread / "schedstat").read_text().split()[0])


def taken_when_idle_ns(thread):
    taken = taken_ns(thread)
    while True:
        time.sleep(IDLE_S)
        now = taken_ns(thread)
        if now - taken < BEAT_NS:
            return now
        taken = now


def measure(address, thread, sent):
    client = socket.create_connection(address)
    client.settimeout(20)
    if sent[0] != 0x10:
        client.sendall(packet(0x10, CONNECT, b"\x02\0\0\0", text("own")))
        client.recv(100)
    before = taken_when_idle_ns(thread)
    client.sendall(sent)
    after = taken_when_idle_ns(thread)
    client.close()
    taken_when_idle_ns(thread)
    return after - before


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    node, address = start(sys.argv[1])
    try:
        thread = thread_of(node)
        for name, sent in PACKETS.items():
            took_ns = statistics.median(measure(address, thread, sent) for _ in range(TIMES))
            print(f"{name}: {len(sent):,} bytes, {took_ns / 1e6:.2f} ms, {took_ns / 1e3 / len(sent):.4f} us a byte", flush=True)
    finally:
        node.terminate()
        node.wait()


if __name__ == "__main__":
    main()
