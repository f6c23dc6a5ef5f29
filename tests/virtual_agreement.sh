#!/bin/sh
# How well virtual time agrees with the clock: runs a scenario by the clock, in virtual time, and by the clock once more, and prints, for each
# placement, the Kolmogorov-Smirnov distances of the total latencies: virtual time against both, and those against one another. No
# simulation can be nearer to a run than another run is.
#
#     tests/virtual_agreement.sh SCENARIO.yaml [FLAGS FOR ALL...]
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
"$nearfar" compare "$scenario" "$@" --out "$work/again" --resamples 100 >/dev/null

# Of a placement, between two runs.
distance() {
    head -n 1 "$work/clock/metrics.csv" >"$work/both.csv"
    for run in "$2" "$3"; do
        awk -F, -v OFS=, -v placement="$1" -v run="$run" \
            'NR > 1 && $3 == placement { $3 = run; print }' "$work/$run/metrics.csv" >>"$work/both.csv"
    done
    "$nearfar" compare --csv "$work/both.csv" --resamples 100 |
        sed -n 's/.*Kolmogorov-Smirnov distance \([0-9.]*\).*/\1/p'
}

mean() {
    awk -F, -v placement="$1" '$3 == placement { all += $6; count++ } END { printf "%.3f", all / count }' "$work/$2/metrics.csv"
}

echo "placement, mean ms by the clock, in virtual time, by the clock again; distance of virtual time from both, of both from one another"
cut -d, -f3 "$work/clock/metrics.csv" | sed 1d | sort -u | while read -r placement; do
    echo "$placement, $(mean "$placement" clock), $(mean "$placement" virtual), $(mean "$placement" again);" \
        "$(distance "$placement" virtual clock), $(distance "$placement" virtual again), $(distance "$placement" clock again)"
done
