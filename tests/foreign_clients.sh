#!/usr/bin/env bash
# Clients that are not ours against `nearfar serve`: mosquitto_sub and mosquitto_pub (MQTT 3.1.1 and 5), mosquitto_rr, and paho-mqtt
# through examples/python/sensor.py. Then SIGTERM: statistics, and status 0.
#
#     tests/foreign_clients.sh [NEARFAR]        NEARFAR: the program, by default target/release/nearfar
#
# PYTHON names a Python with paho-mqtt, by default python3. Clients that are not there are skipped, loudly.
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

start() {
    mkfifo "$work/stdout"
    "$nearfar" serve "$root/models/anomaly_detector" --listen 127.0.0.1:0 >"$work/stdout" 2>"$work/log" </dev/null &
    server=$!
    exec 3<"$work/stdout"
    IFS= read -r -t "$patience_s" ready <&3 || fail "no ready line"
    [[ $ready =~ ^ready\ mqtt=127\.0\.0\.1:([0-9]+)\ model=anomaly_detector\ placement=edge ]] || fail "found the ready line: $ready"
    port=${BASH_REMATCH[1]}
    printf '%s\n' "$ready"
}

# The session is begun first and kept, so that the result waits for the subscriber: nothing depends on who is quicker.
ask_with_mosquitto() {
    local version=$1 device=mosquitto-$1
    local client=(-h 127.0.0.1 -p "$port" -V "$version" -q 1)
    local subscriber=("${client[@]}" -i "$device-subscriber" -c -t "ml/inference/result/$device" -W "$patience_s")
    if [[ $version == mqttv5 ]]; then subscriber+=(-x 300); fi
    mosquitto_sub "${subscriber[@]}" -E || fail "mosquitto_sub -V $version cannot subscribe"
    mosquitto_pub "${client[@]}" -t ml/inference/request -m "$(request "$device")" || fail "mosquitto_pub -V $version failed"
    local result
    result=$(mosquitto_sub "${subscriber[@]}" -C 1) || fail "mosquitto_sub -V $version got no result"
    check "mosquitto_sub -V $version" "$device" "$result"
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
start
if command -v mosquitto_sub >/dev/null && command -v mosquitto_pub >/dev/null; then
    ask_with_mosquitto mqttv311
    ask_with_mosquitto mqttv5
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
else
    echo "!!! SKIPPED: there is no Python with paho-mqtt"
fi
stop
echo "foreign clients: passed"
