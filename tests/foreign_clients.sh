#!/usr/bin/env bash
# Clients that are not ours against `nearfar serve`: mosquitto_sub and mosquitto_pub (MQTT 3.1.1 and 5; TCP, TLS, mutual TLS),
# mosquitto_rr, paho-mqtt through examples/python/sensor.py, and mqtt.js (MQTT 3.1.1 and 5; TCP, TLS, WebSocket, WebSocket over TLS).
# Some also observe the broker below $SYS, and mqtt.js loses its connection meanwhile. Then SIGTERM: statistics, and status 0.
#
#     tests/foreign_clients.sh [NEARFAR]        NEARFAR: the program, by default target/release/nearfar
#
# PYTHON names a Python with paho-mqtt, by default python3; MQTT_JS a node_modules directory with mqtt.js. What is not there is
# skipped, loudly.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nearfar=${1:-$root/target/release/nearfar}
python=${PYTHON:-python3}
# Nothing waits longer for anything; reaching it is a failure.
patience_s=60

work=$(mktemp -d)
server=
clean_up() {
    if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap clean_up EXIT

fail() {
    printf 'foreign clients: %s\n' "$*" >&2
    if [[ -s $work/log ]]; then sed 's/^/  nearfar: /' "$work/log" >&2; fi
    exit 1
}

# The shipped model's golden input, whose prediction is 0.3933878.
features=0.51462,0.31157,2.5172,3.47037,4.84219,0.05043,5.13208,1.28573,0.07364,0.04816,0.09063,0.15369,0.18084,0.08902,0.06688,0.10659
features+=,0.52018,0.31933,2.53709,3.45716,4.92807,0.02482,5.11395,1.26582,0.02874,0.01616,0.02722,0.05717,0.1081,0.13083,0.20947,0.18303

request() { printf '{"device_id":"%s","timestamp_us":1000000,"features":[%s]}' "$1" "$features"; }

# check CLIENT DEVICE RESULT
check() {
    local part
    for part in "\"device_id\":\"$2\"" '"timestamp_us":1000000' '"prediction":0.39338' '"total_latency_ms":'; do
        [[ $3 == *"$part"* ]] || fail "$1: expected $part in the result, found: $3"
    done
    printf '%s: %s\n' "$1" "$3"
    asked=$((asked + 1))
}

# sign NAME EXTENSION: a key and a certificate of the authority for NAME.
sign() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr"
    openssl x509 -req -in "$work/$1.csr" -CA "$work/authority.pem" -CAkey "$work/authority.key" -CAcreateserial -days 2 \
        -extfile <(printf '%s\n' "$2") -out "$work/$1.pem"
}

make_certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
        -keyout "$work/authority.key" -out "$work/authority.pem"
    sign localhost subjectAltName=DNS:localhost
    sign device extendedKeyUsage=clientAuth
}

# listener TABLE [KEY = VALUE in its tls table]...
listener() {
    printf '[%s]\nlisten = "127.0.0.1:0"\n' "$1"
    if (($# > 1)); then
        printf '[%s.tls]\ncertpath = "localhost.pem"\nkeypath = "localhost.key"\n' "$1"
        printf '%s\n' "${@:2}"
    fi
}

configure() {
    listener v4.plain
    listener ws.plain
    if [[ $has_certificates == yes ]]; then
        listener v4.tls ''
        listener v5.mutual 'capath = "authority.pem"' 'identity = "common_name"'
        listener ws.tls ''
    fi
}

# The ports behind KEY= in the ready line.
ports() {
    local addresses
    [[ $ready =~ \ $1=([^ ]+) ]] || fail "$1= is not in the ready line: $ready"
    IFS=, read -ra addresses <<<"${BASH_REMATCH[1]}"
    printf '%s\n' "${addresses[@]##*:}"
}

start() {
    configure >"$work/broker.toml"
    mkfifo "$work/stdout"
    "$nearfar" serve "$root/models/anomaly_detector" --broker-config "$work/broker.toml" >"$work/stdout" 2>"$work/log" </dev/null &
    server=$!
    exec 3<"$work/stdout"
    IFS= read -r -t "$patience_s" ready <&3 || fail "no ready line"
    printf '%s\n' "$ready"
    [[ $ready == "ready mqtt=127.0.0.1:"*" model=anomaly_detector placement=edge" ]] || fail "found the ready line: $ready"
    port=$(ports mqtt)
    ws_port=$(ports ws)
    if [[ $has_certificates == yes ]]; then
        { read -r tls_port && read -r mutual_port; } < <(ports mqtts)
        wss_port=$(ports wss)
    fi
}

# The session is begun first and kept, so that the result waits for the subscriber: nothing depends on who is quicker.
# ask_with_mosquitto VERSION NAME OPTION...: NAME is for the report, OPTIONs say how to connect.
ask_with_mosquitto() {
    local version=$1 device=mosquitto-$1-$2
    local client=("${@:3}" -V "$version" -q 1)
    local subscriber=("${client[@]}" -i "$device-subscriber" -c -t "ml/inference/result/$device" -W "$patience_s")
    if [[ $version == mqttv5 ]]; then subscriber+=(-x 300); fi
    mosquitto_sub "${subscriber[@]}" -E || fail "mosquitto_sub -V $version cannot subscribe"
    mosquitto_pub "${client[@]}" -t ml/inference/request -m "$(request "$device")" || fail "mosquitto_pub -V $version failed"
    local result
    result=$(mosquitto_sub "${subscriber[@]}" -C 1) || fail "mosquitto_sub -V $version got no result"
    check "mosquitto_sub -V $version, $2" "$device" "$result"
}

ask_with_mosquitto_in_every_way() {
    local version
    for version in mqttv311 mqttv5; do
        ask_with_mosquitto "$version" tcp -h 127.0.0.1 -p "$port"
        if [[ $has_certificates == yes ]]; then
            local trust=(-h localhost --cafile "$work/authority.pem")
            ask_with_mosquitto "$version" tls "${trust[@]}" -p "$tls_port"
            ask_with_mosquitto "$version" mutual-tls "${trust[@]}" -p "$mutual_port" --cert "$work/device.pem" --key "$work/device.key"
            if timeout "$patience_s" mosquitto_pub "${trust[@]}" -p "$mutual_port" -V "$version" -q 1 -t nobody -m x 2>/dev/null; then
                fail "mosquitto_pub -V $version publishes without a certificate where one is asked for"
            fi
        fi
    done
}

ask_with_mqtt_js() {
    local version url urls=("mqtt://127.0.0.1:$port" "ws://127.0.0.1:$ws_port/mqtt")
    if [[ $has_certificates == yes ]]; then urls+=("mqtts://localhost:$tls_port" "wss://localhost:$wss_port/mqtt"); fi
    for version in 4 5; do
        for url in "${urls[@]}"; do
            local device=mqtt-js-$version-${url%%:*} result
            result=$(NODE_EXTRA_CA_CERTS=$work/authority.pem NODE_PATH=$MQTT_JS timeout "$patience_s" \
                node "$root/tests/foreign_clients.cjs" "$url" "$version" "$device" "$(request "$device")") ||
                fail "mqtt.js, protocol version $version, got no result at $url"
            check "mqtt.js, protocol version $version, ${url%%:*}" "$device" "$result"
        done
    done
}

ask_with_mosquitto_rr() {
    local result
    result=$(mosquitto_rr -h 127.0.0.1 -p "$port" -V mqttv5 -q 1 -W "$patience_s" -t ml/inference/request -e foreign/reply \
        -m "$(request mosquitto-rr)") || fail "mosquitto_rr got no response"
    check mosquitto_rr mosquitto-rr "$result"
}

ask_with_paho() {
    local answers
    answers=$(timeout "$patience_s" "$python" "$root/examples/python/sensor.py" 127.0.0.1 "$port") ||
        fail "examples/python/sensor.py failed: ${answers:-}"
    [[ $answers == *prediction* ]] || fail "examples/python/sensor.py: expected a prediction, found: $answers"
    printf 'examples/python/sensor.py:\n%s\n' "$answers"
    asked=$((asked + 1))
}

# check_version CLIENT VALUE: what a client read at $SYS/broker/version.
check_version() {
    [[ $2 == "nearfar version "* ]] || fail "$1: expected the broker's version below \$SYS, found: $2"
    printf '%s: %s\n' "$1" "$2"
}

observe_with_mosquitto() {
    local version value
    for version in mqttv311 mqttv5; do
        value=$(mosquitto_sub -h 127.0.0.1 -p "$port" -V "$version" -W "$patience_s" -t '$SYS/broker/version' -C 1) ||
            fail "mosquitto_sub -V $version is told nothing at \$SYS/broker/version"
        check_version "mosquitto_sub -V $version, \$SYS" "$value"
    done
    # Two texts, 23 figures, 9 loads over 3 spans.
    value=$(mosquitto_sub -h 127.0.0.1 -p "$port" -W "$patience_s" -t '$SYS/#' -C 52 -F %t | sort -u | wc -l)
    ((value == 52)) || fail "mosquitto_sub -t '\$SYS/#': expected 52 topics, found $value"
}

observe_with_mqtt_js() {
    local version value
    for version in 4 5; do
        value=$(NODE_PATH=$MQTT_JS timeout "$patience_s" node "$root/tests/foreign_observer.cjs" "mqtt://127.0.0.1:$port" "$version") ||
            fail "mqtt.js, protocol version $version: # and \$SYS/# in one SUBSCRIBE, and a reconnect"
        check_version "mqtt.js, protocol version $version, # and \$SYS/# over a reconnect" "$value"
    done
}

# A keep-alive of 180 s is the client's own: no other one is told in the CONNACK.
connect_with_paho_for_long() {
    local told
    told=$(timeout "$patience_s" "$python" - "$port" <<'END'
import sys
import paho.mqtt.client as mqtt

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
told = []
def on_connect(client, userdata, flags, reason, properties):
    told.append(getattr(properties, "ServerKeepAlive", "its own"))
    client.disconnect()
client.on_connect = on_connect
client.connect("127.0.0.1", int(sys.argv[1]), keepalive=180)
client.loop_forever()
print(*told)
END
    ) || fail "paho-mqtt cannot connect with a keep-alive of 180 s"
    [[ $told == "its own" ]] || fail "paho-mqtt: expected its own keep-alive, found: $told"
    printf 'paho-mqtt, keep-alive of 180 s: %s\n' "$told"
}

stop() {
    kill -TERM "$server"
    local statistics status=0
    # Ends when the program closes its standard output.
    statistics=$(timeout "$patience_s" cat <&3) || fail "it does not end after SIGTERM"
    wait "$server" || status=$?
    server=
    printf '%s\n' "$statistics"
    [[ $status == 0 ]] || fail "exit status $status after SIGTERM, expected 0"
    [[ $statistics == *"average total latency"* ]] || fail "no statistics after SIGTERM"
    local inferences=-1
    if [[ $statistics =~ inferences\ ([0-9]+) ]]; then inferences=${BASH_REMATCH[1]}; fi
    ((inferences >= asked)) || fail "the statistics count $inferences inferences, expected at least $asked"
}

asked=0
has_certificates=no
if command -v openssl >/dev/null; then
    make_certificates >"$work/log" 2>&1 || fail "openssl makes no certificates"
    has_certificates=yes
else
    echo "!!! SKIPPED: TLS, for openssl is not installed"
fi
start
if command -v mosquitto_sub >/dev/null && command -v mosquitto_pub >/dev/null; then
    ask_with_mosquitto_in_every_way
    observe_with_mosquitto
else
    echo "!!! SKIPPED: mosquitto_sub and mosquitto_pub are not installed"
fi
if command -v mosquitto_rr >/dev/null; then
    ask_with_mosquitto_rr
else
    echo "!!! SKIPPED: mosquitto_rr is not installed"
fi
if "$python" -c 'import paho.mqtt' 2>/dev/null; then
    ask_with_paho
    connect_with_paho_for_long
else
    echo "!!! SKIPPED: there is no Python with paho-mqtt"
fi
if [[ -n ${MQTT_JS:-} ]]; then
    ask_with_mqtt_js
    observe_with_mqtt_js
else
    echo "!!! SKIPPED: there is no mqtt.js (MQTT_JS names no node_modules directory)"
fi
stop
echo "foreign clients: passed"
