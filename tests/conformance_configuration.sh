#!/usr/bin/env bash
# Writes the one configuration in which Eclipse Paho's interoperability suite passes whole (docs/conformance.md), and prints the
# command that starts a broker with it.
#
#     tests/conformance_configuration.sh DIRECTORY [ADDRESS]        ADDRESS: by default 127.0.0.1:1883, where the suite looks
#
# The suite is not a part of any registry; it is the directory `interoperability` of eclipse-paho/paho.mqtt.testing:
#
#     python3 client_test.py -h 127.0.0.1 -p 1883; python3 client_test5.py -h 127.0.0.1 -p 1883
set -euo pipefail
if (($# < 1 || $# > 2)); then
    printf 'usage: %s DIRECTORY [ADDRESS]\n' "$0" >&2
    exit 2
fi
address=${2:-127.0.0.1:1883}
mkdir -p "$1"
directory=$(cd "$1" && pwd)

cat >"$directory/rumqttd.toml" <<END
[v4.conformance]
listen = "$address"
    [v4.conformance.connections]
    # test_server_keep_alive asks for 120 s and wants to be told 60.
    max_keep_alive_s = 60

[limits]
# test_flow_control2 sends one unreleased QoS 2 message more than this and waits until it is disconnected for it. There are only 65,535
# packet ids, so with that many, the default, it would wait for ever.
receive_max = 20
END

cat >"$directory/acl.toml" <<'END'
# test_subscribe_failure wants this one topic refused, while others subscribe to # and +/+.
[[rules]]
deny = ["subscribe"]
topics = ["test/nosubscribe"]

[[rules]]
allow = ["publish", "subscribe", "will"]
topics = ["#"]
END

cat >"$directory/nearfar.toml" <<'END'
[broker]
config = "rumqttd.toml"
access_rules = "acl.toml"
# The suite's clients do not log in.
allow_anonymous = true
# # is granted although a topic under it is refused, and the refusal is 0x80.
wide_filters = "withhold"
refused_subscription = "unspecified"
END

printf 'nearfar broker --config %q\n' "$directory/nearfar.toml"
