#!/usr/bin/env bash
# What a node exports and what deploy/ says, read by the tools that will read them. Whatever tool is missing is skipped, loudly.
#
#     CHECKERS=venv/bin tests/deployment_files.sh target/release/nearfar
#
# CHECKERS is where hadolint, check-jsonschema and kubernetes-validate are; promtool and systemd-analyze are looked for in the path.
set -euo pipefail
nearfar=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -n ${CHECKERS:-} ]] && PATH=$CHECKERS:$PATH
work=$(mktemp -d)
node=
trap '[[ -z $node ]] || kill "$node"; rm -rf "$work"' EXIT

# Says what comes; fails, quietly for the caller, where the tool is missing.
with() {
    local tool=$1
    shift
    if command -v "$tool" >/dev/null; then
        printf '%s: %s\n' "$tool" "$*"
    else
        printf '\n!!! SKIPPED: %s: %s is missing\n' "$*" "$tool"
        return 1
    fi
}

scrape() {
    mkfifo "$work/ready"
    "$nearfar" serve models/anomaly_detector --listen 127.0.0.1:0 --http 127.0.0.1:0 --log off >"$work/ready" &
    node=$!
    local ready
    # Kept open, so that the node can print its statistics at the end.
    exec 4<"$work/ready"
    read -r ready <&4
    local address=${ready#* http=}
    address=${address%% *}
    "$nearfar" health "$address"
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    printf 'GET /metrics HTTP/1.1\r\nHost: nearfar\r\n\r\n' >&3
    sed $'1,/^\r$/d' <&3 >"$work/metrics"
    exec 3>&-
    kill "$node"
    wait "$node"
    node=
}

# Every query of the dashboard as a recording rule, with values in place of Grafana's variables.
dashboard_rules() {
    printf 'groups:\n- name: dashboard\n  rules:\n'
    sed -n 's/^ *"expr": "\(.*\)",\?$/\1/p' deploy/grafana/nearfar.json |
        sed -e 's/\\"/"/g' -e 's/\$__rate_interval/5m/g' -e 's/\$[a-z]\+/.*/g' |
        awk '{ printf "  - record: dashboard:query%d\n    expr: |-\n      %s\n", NR, $0 }'
}

if with promtool "metrics of a running node, queries of the dashboard"; then
    scrape
    promtool check metrics <"$work/metrics"
    dashboard_rules >"$work/rules.yaml"
    promtool check rules "$work/rules.yaml"
fi
if with systemd-analyze "the unit, and what it is exposed to"; then
    sed "s#/usr/local/bin/nearfar#$nearfar#" deploy/systemd/nearfar.service >"$work/nearfar.service"
    systemd-analyze verify "$work/nearfar.service"
    # In tenths of its scale from 0 to 10.
    systemd-analyze security --offline=yes --threshold=20 "$work/nearfar.service" | tail -n 1
fi
if with hadolint "Dockerfile"; then
    hadolint deploy/docker/Dockerfile
fi
if with check-jsonschema "compose.yaml against the Compose specification"; then
    check-jsonschema --builtin-schema vendor.compose-spec deploy/docker/compose.yaml
fi
if with kubernetes-validate "manifests against Kubernetes' own schemas"; then
    kubernetes-validate --strict deploy/kubernetes/{deployment,service,hpa}.yaml
fi
# A Service called nearfar would otherwise set variables in each pod that look like keys of the configuration.
grep -qx ' *enableServiceLinks: false' deploy/kubernetes/deployment.yaml || {
    printf 'deploy/kubernetes/deployment.yaml: expected enableServiceLinks: false\n' >&2
    exit 1
}
if with kubectl "kustomization"; then
    kubectl kustomize deploy/kubernetes >/dev/null
fi
