#!/usr/bin/env python3
"""The smallest sensor in Python: sends one request, prints its answer, exits.

    nearfar serve models/anomaly_detector      # in one terminal
    pip install "paho-mqtt>=2"                 # in another
    python examples/python/sensor.py           # or: sensor.py HOST PORT
"""

import json
import socket
import sys
import time

import paho.mqtt.client as mqtt

DEVICE = "python-sensor"
ANSWERS = [(f"ml/inference/result/{DEVICE}", 1), (f"ml/inference/error/{DEVICE}", 1)]


def on_socket_open(client, userdata, sock):
    # A packet leaves at once, also behind one that the broker has not acknowledged.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def on_connect(client, userdata, flags, reason_code, properties):
    if reason_code.is_failure:
        sys.exit(f"the broker refused the connection: {reason_code}")
    client.subscribe(ANSWERS)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    # Asking before the subscription is in place could miss the answer.
    request = {
        "device_id": DEVICE,
        "timestamp_us": time.time_ns() // 1000,
        # The shipped model takes 32 features of vibration; models/README.md says which.
        "features": [0.5] * 32,
    }
    client.publish("ml/inference/request", json.dumps(request), qos=1)


def on_message(client, userdata, message):
    print(f"{message.topic}: {message.payload.decode()}")
    client.disconnect()


def main():
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1883
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=DEVICE)
    client.on_socket_open = on_socket_open
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect(host, port)
    client.loop_forever()


if __name__ == "__main__":
    main()
