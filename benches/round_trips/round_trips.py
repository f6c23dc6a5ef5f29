#!/usr/bin/env python3
"""How long one request at a time takes through clients as they come, without TCP_NODELAY.

    cargo build --profile dist && cargo bench --no-run --bench round_trips
    python3 benches/round_trips/round_trips.py target/dist/nearfar [PROGRAM ...] [--rumqttc FILE] [--mqtt-js DIRECTORY]

For each client, at QoS 1 and 2: the median and the 99th percentile of 300 round trips, in milliseconds, with a PROGRAM as the
broker, and with Mosquitto as the broker and the first PROGRAM behind it. Programs take turns. A client that is not installed is skipped, and
said: paho-mqtt (of the Python that runs this), the program that `cargo bench` has built (--rumqttc), mosquitto_pub and _sub, mqtt.js (a
directory with node_modules/mqtt).
"""

import argparse
import contextlib
import json
import pathlib
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/anomaly_detector"
DEVICE = "round-trips"
REQUEST_TOPIC = "ml/inference/request"
RESULT_TOPIC = f"ml/inference/result/{DEVICE}"
PAYLOAD = json.dumps({"device_id": DEVICE, "timestamp_us": 1, "features": [0.5] * 32})

MQTT_JS = """
const mqtt = require('mqtt')
const [port, qos, requests, topic, answers, payload] = process.argv.slice(1)
const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { clientId: 'round-trips-js' })
let begun, left = Number(requests)
const ask = () => { begun = process.hrtime.bigint(); client.publish(topic, payload, { qos: Number(qos) }) }
client.on('connect', () => client.subscribe(answers, { qos: Number(qos) }, ask))
client.on('message', () => {
  console.log(Number(process.hrtime.bigint() - begun) / 1e6)
  if (--left > 0) setImmediate(ask)
  else client.end()
})
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def node(program, *arguments):
    command = [program, "serve", str(MODEL), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if not process.stdout.readline().startswith("ready"):
            raise RuntimeError(f"{program} did not start")
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def own_broker(program):
    port = free_port()
    with node(program, "--listen", f"127.0.0.1:{port}"):
        yield port


@contextlib.contextmanager
def behind_mosquitto(program):
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        config = pathlib.Path(directory) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        mosquitto = subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            with node(program, "--broker-host", "127.0.0.1", "--broker-port", str(port)):
                yield port
        finally:
            mosquitto.terminate()
            mosquitto.wait()


def packet(first, body):
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (128 if left else 0)])
        if not left:
            return bytes([first]) + length + body


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


class Plain:
    """A socket with nothing set, each packet written by itself."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = b""

    def send(self, first, body):
        self.socket.sendall(packet(first, body))

    def receive(self):
        while True:
            length, at = 0, 1
            while at < len(self.buffer):
                length |= (self.buffer[at] & 127) << 7 * (at - 1)
                at += 1
                if self.buffer[at - 1] < 128:
                    if len(self.buffer) < at + length:
                        break
                    found = self.buffer[0], self.buffer[at : at + length]
                    self.buffer = self.buffer[at + length :]
                    return found
            received = self.socket.recv(65536)
            if not received:
                raise RuntimeError("the broker ended the connection")
            self.buffer += received


def plain(port, qos, requests, _):
    client = Plain(port)
    client.send(0x10, text("MQTT") + bytes([4, 2, 0, 60]) + text("round-trips-plain"))
    client.receive()
    client.send(0x82, b"\0\1" + text(RESULT_TOPIC) + bytes([qos]))
    client.receive()
    took = []
    for number in range(requests):
        begun = time.perf_counter()
        packet_id = struct.pack(">H", 2 + number)
        client.send(0x30 | qos << 1, text(REQUEST_TOPIC) + packet_id + PAYLOAD.encode())
        while True:
            first, body = client.receive()
            if first >> 4 == 3:
                took.append((time.perf_counter() - begun) * 1e3)
                at = 2 + struct.unpack(">H", body[:2])[0]
                # Behind a broker elsewhere the answer has QoS 1 at most.
                is_once = first & 4
                client.send(0x50 if is_once else 0x40, body[at : at + 2])
                if not is_once:
                    break
            elif first >> 4 == 5:
                client.send(0x62, body[:2])
            elif first >> 4 == 6:
                client.send(0x70, body[:2])
                break
    return took


def paho(port, qos, requests, _):
    import queue

    import paho.mqtt.client as mqtt

    arrived = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="round-trips-paho")
    client.on_message = lambda *_: arrived.put("message")
    client.on_subscribe = lambda *_: arrived.put("subscribed")
    client.on_connect = lambda *_: client.subscribe(RESULT_TOPIC, qos)
    client.connect("127.0.0.1", port)
    client.loop_start()
    arrived.get(timeout=10)
    took = []
    for _ in range(requests):
        begun = time.perf_counter()
        client.publish(REQUEST_TOPIC, PAYLOAD, qos=qos)
        arrived.get(timeout=10)
        took.append((time.perf_counter() - begun) * 1e3)
    client.disconnect()
    client.loop_stop()
    return took


def mosquitto_clients(port, qos, requests, _):
    where = ["-h", "127.0.0.1", "-p", str(port), "-q", str(qos), "-t"]
    subscribe = ["stdbuf", "-oL", "mosquitto_sub", "-d", *where, RESULT_TOPIC]
    sub = subprocess.Popen(subscribe, stdout=subprocess.PIPE, text=True)
    while "SUBACK" not in sub.stdout.readline():
        pass
    pub = subprocess.Popen(["mosquitto_pub", *where, REQUEST_TOPIC, "-l"], stdin=subprocess.PIPE, text=True)
    took = []
    for _ in range(requests):
        begun = time.perf_counter()
        pub.stdin.write(PAYLOAD + "\n")
        pub.stdin.flush()
        while not sub.stdout.readline().startswith("{"):
            pass
        took.append((time.perf_counter() - begun) * 1e3)
    pub.stdin.close()
    pub.wait()
    sub.terminate()
    sub.wait()
    return took


def rumqttc(port, qos, requests, arguments):
    command = [arguments.rumqttc, str(port), str(qos), str(requests)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [float(line) for line in done.stdout.split()]


def mqtt_js(port, qos, requests, arguments):
    # What follows `-e SCRIPT` begins at the second place of argv.
    values = [str(port), str(qos), str(requests), REQUEST_TOPIC, RESULT_TOPIC, PAYLOAD]
    command = ["node", "-e", MQTT_JS, "--", *values]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=arguments.mqtt_js)
    return [float(line) for line in done.stdout.split()]


def missing(name, arguments):
    if name == "paho":
        try:
            import paho.mqtt  # noqa: F401
        except ImportError:
            return "this Python has no paho-mqtt"
    if name == "mosquitto_pub, _sub" and not (shutil.which("mosquitto_sub") and shutil.which("stdbuf")):
        return "mosquitto_sub or stdbuf is not installed"
    if name == "rumqttc" and not arguments.rumqttc:
        return "no --rumqttc"
    if name == "mqtt.js" and not (arguments.mqtt_js and shutil.which("node")):
        return "no --mqtt-js, or no node"
    return None


CLIENTS = {
    "plain socket": plain,
    "paho": paho,
    "rumqttc": rumqttc,
    "mosquitto_pub, _sub": mosquitto_clients,
    "mqtt.js": mqtt_js,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rumqttc", metavar="FILE")
    parser.add_argument("--mqtt-js", metavar="DIRECTORY")
    arguments = parser.parse_args()
    brokers = [(program, own_broker, program) for program in arguments.programs]
    if shutil.which("mosquitto"):
        brokers.append((f"mosquitto, {arguments.programs[0]}", behind_mosquitto, arguments.programs[0]))
    else:
        print("skipped: mosquitto is not installed", file=sys.stderr)
    print(f"{'client':22} {'QoS':3} {'p50 ms':>8} {'p99 ms':>8}  broker")
    for name, run in CLIENTS.items():
        why = missing(name, arguments)
        if why:
            print(f"skipped: {name}: {why}", file=sys.stderr)
            continue
        for qos in (1, 2):
            for label, broker, program in brokers:
                with broker(program) as port:
                    took = sorted(run(port, qos, arguments.requests, arguments))
                p99 = took[int(0.99 * (len(took) - 1))]
                print(f"{name:22} {qos:3} {statistics.median(took):8.3f} {p99:8.3f}  {label}", flush=True)


if __name__ == "__main__":
    main()
