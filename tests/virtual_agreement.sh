#!/bin/sh
# How well virtual time agrees with the clock: runs a scenario both ways and prints, for each placement, the Kolmogorov-Smirnov distance of
# the total latencies.
#
#     tests/virtual_agreement.sh SCENARIO.yaml [FLAGS FOR BOTH...]
#
# NEARFAR names the program; target/release/nearfar without it. Nothing else should run meanwhile.
set -eu
nearfar=${NEARFAR:-target/release/nearfar}
scenario=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$nearfar" compare "$scenario" "$@" --out "$work/clock" --resamples 100 >/dev/null
"$nearfar" compare "$scenario" "$@" --virtual --out "$work/virtual" --resamples 100 >/dev/null
placements=$(cut -d, -f3 "$work/clock/metrics.csv" | sed 1d | sort -u)
for placement in $placements; do
    head -n 1 "$work/clock/metrics.csv" >"$work/both.csv"
    for run in clock virtual; do
        awk -F, -v OFS=, -v placement="$placement" -v run="$run" \
            'NR > 1 && $3 == placement { $3 = run; print }' "$work/$run/metrics.csv" >>"$work/both.csv"
    done
    echo "$placement:"
    "$nearfar" compare --csv "$work/both.csv" --resamples 100 |
        sed -n '/^total_latency_ms/,/^$/p; s/.*\(Kolmogorov-Smirnov distance [0-9.]*\).*/\1/p'
done
