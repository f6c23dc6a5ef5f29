"""Delays and losses of Linux's netem and of nearfar's simulated network, side by side.

    python3 netem.py --nearfar target/release/nearfar --model models/anomaly_detector [--messages 10000] [--only normal,rate]

Needs root and a kernel with sch_netem; netem.sh runs it where that is, or in a virtual machine. It makes two network namespaces
with a pair of virtual interfaces between them, and for each profile starts nearfar in one and MQTT clients in the other: once with the
profile in netem on the clients' interface, once with the same profile as the deployment's simulated uplink and no netem. The clients
send open loop, at equal distances, at QoS 0. Nothing else is ever talked to, and the namespaces are removed at the end.
"""

import argparse
import json
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CLIENT, SERVER = "nearfar-client", "nearfar-server"
CLIENT_ADDRESS, SERVER_ADDRESS, PORT = "10.77.0.1", "10.77.0.2", 1883
# One message a second on each connection, so that no message waits for an earlier one of its connection.
DEVICES = 200
SPACING_S = 0.005
DATAGRAM_SPACING_S = 0.001
# How long the last answers may take.
PATIENCE_S = 5.0
# What netem counts beside topic and payload: 14 (Ethernet), 20 (IPv4), 32 (TCP with timestamps), 3 and 2 (MQTT's own).
OVERHEAD_BYTES = 71
TABLES = "/usr/lib/x86_64-linux-gnu/tc", "/usr/lib/tc", "/usr/lib64/tc"


def profiles(directory):
    """Name, netem's arguments, nearfar's uplink, whether sizes vary, and what is compared."""
    return {
        "constant": ("delay 40ms", 'delay = { model = "constant", ms = 40 }'),
        "uniform": ("delay 40ms 20ms", 'delay = { model = "uniform", least_ms = 20, most_ms = 60 }'),
        "normal": (
            "delay 50ms 10ms distribution normal",
            'delay = { model = "normal", mean_ms = 50, sd_ms = 10 }',
        ),
        # netem's table is 4/3 (P - 3/2), P of a Pareto distribution with least 1 and shape 3, cut at 4.
        "pareto": (
            "delay 50ms 10ms distribution pareto",
            'delay = { model = "pareto", least_ms = 13.3333, shape = 3, plus_ms = 30 }',
        ),
        "paretonormal": (
            "delay 50ms 10ms distribution paretonormal",
            'delay = { model = "empirical", file = "%s" }' % table_as_samples("paretonormal", 50, 10, directory),
        ),
        "rate": (
            "rate 1500kbit",
            "bandwidth = { bits_per_s = 1_500_000, queue_bytes_max = 10_000_000, overhead_bytes = %d }" % OVERHEAD_BYTES,
        ),
        "loss": ("loss 5%", "loss = { probability = 0.05 }"),
        "gilbert-elliott": (
            "loss gemodel 2% 25% 100% 0%",
            "loss = { good_to_bad = 0.02, bad_to_good = 0.25 }",
        ),
    }


LOSSES = "loss", "gilbert-elliott"


def table_as_samples(name, mean_ms, sd_ms, directory):
    """netem's own table of deviations, of which 8192 is one standard deviation, as a file of delays."""
    path = next((f"{one}/{name}.dist" for one in TABLES if os.path.exists(f"{one}/{name}.dist")), None)
    if path is None:
        sys.exit(f"netem's tables were not found in {', '.join(TABLES)}; they come with iproute2")
    with open(path, encoding="ascii") as lines:
        words = [word for line in lines if not line.startswith("#") for word in line.split()]
    samples = os.path.join(directory, f"{name}.csv")
    with open(samples, "w", encoding="ascii") as out:
        out.writelines(f"{max(0.0, mean_ms + sd_ms * int(word) / 8192):.6f}\n" for word in words)
    return samples


def run(*command):
    subprocess.run(command, check=True)


def inside(namespace, *command):
    return ["ip", "netns", "exec", namespace, *command]


def build():
    for namespace in (CLIENT, SERVER):
        run("ip", "netns", "add", namespace)
    run("ip", "link", "add", "nf-c", "netns", CLIENT, "type", "veth", "peer", "name", "nf-s", "netns", SERVER)
    for namespace, name, address in ((CLIENT, "nf-c", CLIENT_ADDRESS), (SERVER, "nf-s", SERVER_ADDRESS)):
        run(*inside(namespace, "ip", "address", "add", f"{address}/24", "dev", name))
        run(*inside(namespace, "ip", "link", "set", name, "up"))
        run(*inside(namespace, "ip", "link", "set", "lo", "up"))


def remove():
    for namespace in (CLIENT, SERVER):
        subprocess.run(["ip", "netns", "delete", namespace], check=False, stderr=subprocess.DEVNULL)


def set_netem(arguments):
    """netem before what leaves the clients and is longer than 255 bytes: requests, but no bare acknowledgements."""
    subprocess.run(inside(CLIENT, "tc", "qdisc", "delete", "dev", "nf-c", "root"), check=False, stderr=subprocess.DEVNULL)
    if arguments is None:
        return
    tc = inside(CLIENT, "tc")
    run(*tc, "qdisc", "add", "dev", "nf-c", "root", "handle", "1:", "prio", "bands", "2", "priomap", *["1"] * 16)
    run(*tc, "qdisc", "add", "dev", "nf-c", "parent", "1:2", "netem", "limit", "100000", *arguments.split())
    small = ["u32", "match", "u16", "0", "0xff00", "at", "2", "flowid", "1:1"]
    run(*tc, "filter", "add", "dev", "nf-c", "parent", "1:", "protocol", "ip", "prio", "1", *small)


def serve(options, uplink, directory):
    """A node in the server's namespace, ready."""
    path = os.path.join(directory, "nearfar.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'[broker]\nlisten = "{SERVER_ADDRESS}:{PORT}"\nallow_anonymous = true\n')
        file.write(f'[deployments.edge]\nmodel = "{os.path.abspath(options.model)}"\n')
        if uplink is not None:
            file.write(f"[deployments.edge.network]\nseed = {options.seed}\n[deployments.edge.network.uplink]\n{uplink}\n")
    command = inside(SERVER, os.path.abspath(options.nearfar), "--log", "warn", "serve", "--config", path)
    node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = node.stdout.readline()
    if not line.startswith("ready"):
        sys.exit(f"nearfar did not start: {line!r}")
    return node


def stop(process):
    process.terminate()
    process.communicate()


def measure(options, netem, uplink, sizes, directory):
    """Round trips in milliseconds by message number; absent where no answer came."""
    set_netem(netem)
    node = serve(options, uplink, directory)
    out = os.path.join(directory, "trips.json")
    me = [sys.executable, os.path.abspath(__file__)]
    common = ["--messages", str(options.messages), "--out", out]
    try:
        run(*inside(CLIENT, *me, "--clients", *common, *(["--sizes"] if sizes else [])))
    finally:
        stop(node)
        set_netem(None)
    with open(out, encoding="utf-8") as file:
        return {int(number): trip for number, trip in json.load(file).items()}


def measure_datagrams(options, netem, directory):
    """Which of the numbered datagrams came through netem."""
    set_netem(netem)
    out = os.path.join(directory, "datagrams.json")
    me = [sys.executable, os.path.abspath(__file__)]
    common = ["--messages", str(options.messages), "--out", out]
    sink = subprocess.Popen(inside(SERVER, *me, "--sink", *common), stdout=subprocess.PIPE, text=True)
    sink.stdout.readline()
    run(*inside(CLIENT, *me, "--datagrams", *common))
    sink.communicate()
    set_netem(None)
    with open(out, encoding="utf-8") as file:
        return set(json.load(file))


# The clients, in their namespace.


def text_field(text):
    return len(text).to_bytes(2, "big") + text.encode()


def packet(kind, body):
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes([kind]) + bytes(digits) + body


def take_packets(buffer):
    """Whole packets from the front of `buffer`, which keeps the rest."""
    packets, at = [], 0
    while True:
        length, shift, end = 0, 0, at + 1
        while end < len(buffer):
            length |= (buffer[end] & 127) << shift
            shift += 7
            end += 1
            if not buffer[end - 1] & 128:
                break
        else:
            break
        if len(buffer) < end + length:
            break
        packets.append((buffer[at] >> 4, bytes(buffer[end : end + length])))
        at = end + length
    del buffer[:at]
    return packets


def connect(device):
    one = socket.create_connection((SERVER_ADDRESS, PORT))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = f"d{device}"
    one.sendall(packet(0x10, text_field("MQTT") + b"\x04\x02\x00\x00" + text_field(name)))
    one.sendall(packet(0x82, b"\x00\x01" + text_field(f"ml/inference/result/{name}") + b"\x00"))
    seen, buffer = 0, bytearray()
    while seen < 2:
        buffer += one.recv(4096)
        seen += len(take_packets(buffer))
    one.setblocking(False)
    return one


def clients(options):
    """Sends requests open loop over many connections, and writes when each answer came."""
    connections = [connect(device) for device in range(DEVICES)]
    ready, buffers = select.epoll(), {}
    for one in connections:
        ready.register(one.fileno(), select.EPOLLIN)
        buffers[one.fileno()] = (one, bytearray())
    chance = random.Random(1)
    features = ",".join(["0.125"] * 32)
    sent, trips, number = {}, {}, 0
    began = time.perf_counter()
    last_heard = began
    while number < options.messages or (len(trips) < number and time.perf_counter() - last_heard < PATIENCE_S):
        now = time.perf_counter()
        if number < options.messages and now >= began + number * SPACING_S:
            device = number % DEVICES
            padding = "x" * (chance.randrange(700) if options.sizes else 60)
            body = f'{{"device_id":"d{device}","timestamp_us":{number},"features":[{features}],"padding":"{padding}"}}'
            message = packet(0x30, text_field("ml/inference/request") + body.encode())
            sent[number] = time.perf_counter()
            connections[device].sendall(message)
            number += 1
            last_heard = now
            continue
        wait = 0.2 if number == options.messages else max(0.0, began + number * SPACING_S - now)
        for descriptor, _ in ready.poll(wait):
            one, buffer = buffers[descriptor]
            buffer += one.recv(65536)
            heard = time.perf_counter()
            for kind, body in take_packets(buffer):
                if kind != 3:
                    continue
                topic_length = int.from_bytes(body[:2], "big")
                answered = json.loads(body[2 + topic_length :])["timestamp_us"]
                trips[answered] = (heard - sent[answered]) * 1e3
                last_heard = heard
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(trips, file)


def datagrams(options):
    """Sends numbered datagrams at equal distances."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    began = time.perf_counter()
    for number in range(options.messages):
        time.sleep(max(0.0, began + number * DATAGRAM_SPACING_S - time.perf_counter()))
        sender.sendto(number.to_bytes(8, "big") + bytes(400), (SERVER_ADDRESS, PORT))


def sink(options):
    """Writes which datagrams came."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    receiver.bind((SERVER_ADDRESS, PORT))
    receiver.settimeout(PATIENCE_S)
    print("ready", flush=True)
    came = []
    try:
        while len(came) < options.messages:
            came.append(int.from_bytes(receiver.recv(2048)[:8], "big"))
    except TimeoutError:
        pass
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(came, file)


# Figures.


def ks_distance(ours, theirs):
    """The two-sample Kolmogorov-Smirnov distance: the largest difference of the two empirical distribution functions."""
    ours, theirs = sorted(ours), sorted(theirs)
    i = j = 0
    most = 0.0
    while i < len(ours) and j < len(theirs):
        at = min(ours[i], theirs[j])
        while i < len(ours) and ours[i] <= at:
            i += 1
        while j < len(theirs) and theirs[j] <= at:
            j += 1
        most = max(most, abs(i / len(ours) - j / len(theirs)))
    return most


def quantile(values, share):
    values = sorted(values)
    return values[int(share * (len(values) - 1))]


def bursts(came, messages):
    """Lengths of the runs of losses."""
    lengths, run_length = [], 0
    for number in range(messages):
        if number not in came:
            run_length += 1
        elif run_length:
            lengths.append(run_length)
            run_length = 0
    return lengths + ([run_length] if run_length else [])


def show(name, netem, simulated):
    def cell(function):
        return f"{function(netem):.2f} / {function(simulated):.2f}"

    columns = [
        name,
        f"{len(netem)} / {len(simulated)}",
        f"{ks_distance(netem, simulated):.4f}",
        cell(statistics.fmean),
        cell(statistics.pstdev),
        *(cell(lambda values, share=share: quantile(values, share)) for share in (0.5, 0.9, 0.99)),
    ]
    print("| " + " | ".join(columns) + " |", flush=True)


def compare(options):
    with tempfile.TemporaryDirectory() as directory:
        chosen = profiles(directory)
        names = options.only.split(",") if options.only else list(chosen)
        few = argparse.Namespace(**{**vars(options), "messages": min(1_000, options.messages)})
        plain = list(measure(few, None, None, False, directory).values())
        print("\nRound trips in milliseconds, netem / simulated; without either:", end=" ")
        print(f"mean {statistics.fmean(plain):.2f}, sd {statistics.pstdev(plain):.2f}, p99 {quantile(plain, 0.99):.2f}\n")
        print("| profile | messages | KS distance | mean | sd | p50 | p90 | p99 |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for name in (name for name in names if name not in LOSSES):
            netem, uplink = chosen[name]
            sizes = name == "rate"
            through_netem = measure(options, netem, None, sizes, directory)
            simulated = measure(options, None, uplink, sizes, directory)
            show(name, list(through_netem.values()), list(simulated.values()))
        if not any(name in LOSSES for name in names):
            return
        print("\nLosses, netem (datagrams) / simulated (requests)\n")
        print("| profile | sent | lost | bursts | mean burst | KS distance of burst lengths |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in (name for name in names if name in LOSSES):
            netem, uplink = chosen[name]
            theirs = bursts(measure_datagrams(options, netem, directory), options.messages)
            ours = bursts(set(measure(options, None, uplink, False, directory)), options.messages)
            lost = f"{sum(theirs) / options.messages:.4f} / {sum(ours) / options.messages:.4f}"
            mean = f"{statistics.fmean(theirs):.3f} / {statistics.fmean(ours):.3f}"
            distance = f"{ks_distance(theirs, ours):.4f}"
            row = [name, str(options.messages), lost, f"{len(theirs)} / {len(ours)}", mean, distance]
            print("| " + " | ".join(row) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nearfar", help="the program under test")
    parser.add_argument("--model", help="a model directory")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="names of profiles, with commas")
    for role in ("clients", "datagrams", "sink", "sizes"):
        parser.add_argument(f"--{role}", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        return clients(options)
    if options.datagrams:
        return datagrams(options)
    if options.sink:
        return sink(options)
    if not (options.nearfar and options.model):
        parser.error("--nearfar and --model are needed")
    remove()
    try:
        try:
            build()
            set_netem("delay 1ms")
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(
                f"{error}: this needs root, iproute2, and a kernel with veth, sch_netem, sch_prio and cls_u32; "
                "netem.sh --vm brings one in a virtual machine"
            )
        compare(options)
    finally:
        remove()


if __name__ == "__main__":
    main()
