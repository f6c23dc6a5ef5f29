"""Throughput of 1, 2 and 4 nodes in a share group on one Mosquitto, each node held to its own share of a core.

    cargo build --profile dist
    python3 benches/random_model.py heavy.safetensors 32 1024 1024 1024 1
    sudo python3 benches/nodes/nodes.py --model heavy.safetensors --share 0.1 --window 200

Linux with control groups of the processor (version 1 or 2) that this user may write, and mosquitto. Rounds take turns between the numbers of
nodes, so that what else the machine does falls on all of them; the figure is the median. Prints a table, and what each process used.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PERIOD_US = 20_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Share:
    """A control group that gives what runs in it so much of a core."""

    def __init__(self, name, share):
        quota = str(int(PERIOD_US * share))
        old = pathlib.Path("/sys/fs/cgroup/cpu")
        self.path = (old if old.is_dir() else pathlib.Path("/sys/fs/cgroup")) / name
        self.path.mkdir()
        if old.is_dir():
            (self.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.path / "cpu.cfs_quota_us").write_text(quota)
        else:
            (self.path / "cpu.max").write_text(f"{quota} {PERIOD_US}")

    def take(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def close(self):
        self.path.rmdir()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def start_mosquitto(directory, port):
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
        "max_queued_messages 0\nmax_inflight_messages 0\n"
    )
    process = subprocess.Popen([program, "-c", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not any("running" in line for line in process.stdout):
        sys.exit("mosquitto does not start")
    return process


def start_node(args, directory, port, number, share):
    config = directory / f"node-{number}.toml"
    config.write_text(
        f'node_id = "node-{number}"\n'
        f'remote = {{ host = "127.0.0.1", port = {port}, share_group = "bench" }}\n'
        f'deployments.edge = {{ model = "{args.model}" }}\n'
    )
    node = subprocess.Popen([args.program, "--log", "off", "serve", "--config", config], stdout=subprocess.PIPE, text=True)
    if not node.stdout.readline().startswith("ready "):
        sys.exit("a node does not start")
    # Not before: the start is not what is measured.
    share.take(node.pid)
    return node


def measure(args, count):
    """Answers a second of `count` nodes, and the shares of a core that nodes, broker and generator used."""
    port = free_port()
    processes, shares = [], []
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        try:
            broker = start_mosquitto(directory, port)
            processes.append(broker)
            nodes = []
            for number in range(count):
                shares.append(Share(f"nearfar-bench-{os.getpid()}-{number}", args.share))
                nodes.append(start_node(args, directory, port, number, shares[-1]))
                processes.append(nodes[-1])
            before = [cpu_s(process.pid) for process in processes]
            began = time.monotonic()
            command = [args.program, "bench", "--broker", f"127.0.0.1:{port}", "--connections", "8", "--devices", "64"]
            command += ["--qos", "1", "--window", str(args.window * count), "--seconds", str(args.seconds), "--json"]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            lasted = time.monotonic() - began
            used = [(cpu_s(process.pid) - was) / lasted for process, was in zip(processes, before)]
            generator = result["generator"]["cpu_share"] if result["generator"] else float("nan")
            if result["errors"] or result["unanswered"]:
                print("not every request had a result:", result["errors"], result["unanswered"], file=sys.stderr)
            return result["answers_per_s"], result["latency_ms"]["p50"], used[1:], used[0], generator
        finally:
            # The nodes first: what they say goodbye to is still there.
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                process.wait()
            for share in shares:
                share.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "target/dist/nearfar", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/anomaly_detector", type=pathlib.Path)
    parser.add_argument("--nodes", default="1,2,4", help="numbers of nodes [1,2,4]")
    parser.add_argument("--share", default=0.1, type=float, help="of a core, for each node [0.1]")
    parser.add_argument("--seconds", default=8.0, type=float)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--window", default=400, type=int, help="requests in flight for each node [400]")
    args = parser.parse_args()
    counts = [int(count) for count in args.nodes.split(",")]
    results = {count: [] for count in counts}
    for _ in range(args.rounds):
        for count in counts:
            results[count].append(measure(args, count))
    one = statistics.median(rate for rate, *_ in results[counts[0]])
    print("nodes  answers/s  ratio  p50 ms  CPU: each node  mosquitto  generator")
    for count in counts:
        runs = sorted(results[count], key=lambda run: run[0])
        rate, p50, nodes, broker, generator = runs[len(runs) // 2]
        print(
            f"{count:5}  {rate:9.0f}  {rate / one:5.2f}  {p50:6.1f}  {min(nodes):6.3f} to {max(nodes):5.3f}"
            f"  {broker:9.2f}  {generator:9.2f}   all: {' '.join(f'{run[0]:.0f}' for run in runs)}"
        )


if __name__ == "__main__":
    main()
