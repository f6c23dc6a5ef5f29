#!/usr/bin/env bash
# Models of other tools, trained and exported to ONNX by examples/python/export_*.py where their packages are, converted by nearfar,
# and asked: each answer must be the exporting library's own within 1e-4. What cannot be imported is skipped, loudly.
#
#     tests/onnx_exports.sh [NEARFAR]        NEARFAR: the program, by default target/release/nearfar
#
# PYTHON names the Python that has the packages, by default python3. NEED, such as "sklearn torch", makes it a failure that they are missing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nearfar=$(realpath "${1:-$root/target/release/nearfar}")
python=${PYTHON:-python3}
tolerance=1e-4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'onnx exports: %s\n' "$*" >&2
    exit 1
}

# Fails where packages cannot be imported: quietly for the caller, unless NEED names one of them.
with() {
    local what=$1 package
    shift
    for package in "$@"; do
        if ! "$python" -c "import $package" >/dev/null 2>&1; then
            [[ " ${NEED:-} " != *" $package "* ]] || fail "$what: $python cannot import $package, which NEED names"
            printf '\n!!! SKIPPED: exports of %s: %s cannot import %s\n' "$what" "$python" "$package"
            return 1
        fi
    done
}

# compare NAME: the answers in NAME.answers.jsonl with NAME.expected.csv.
compare() {
    "$python" - "$1" "$tolerance" <<'PYTHON'
import json
import pathlib
import sys

path, tolerance = pathlib.Path(sys.argv[1]), float(sys.argv[2])
answers = [json.loads(line)["prediction"] for line in path.with_suffix(".answers.jsonl").read_text().splitlines()]
expected = [float(line) for line in path.with_suffix(".expected.csv").read_text().splitlines()]
if len(answers) != len(expected) or not expected:
    sys.exit(f"{path.name}: {len(answers)} answers, expected {len(expected)}")
if max(expected) - min(expected) < 0.1:
    sys.exit(f"{path.name}: all answers are expected to be alike, which shows nothing")
far, row = max((abs(answer - right), row) for row, (answer, right) in enumerate(zip(answers, expected)))
# Not `>`: what is no number must not pass.
if not far <= tolerance:
    sys.exit(f"{path.name}: row {row} is {answers[row]}, expected {expected[row]} within {tolerance}")
print(f"{path.name}: {len(answers)} answers, at most {far:.1e} from those of the library")
PYTHON
}

# check SCRIPT MODEL...: exports, converts and asks each model that the script must have written.
check() {
    local script=$1 name model options
    shift
    "$python" "$root/examples/python/$script" "$work/exported" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "$script failed"
    }
    for name in "$@"; do
        model=$work/exported/$name
        read -ra options <"$model.options"
        "$nearfar" convert "$model.onnx" "$model" "${options[@]}" >"$work/log" || fail "$name was not converted"
        "$nearfar" infer "$model" <"$model.rows.jsonl" >"$model.answers.jsonl" || fail "$name has not answered"
        compare "$model"
    done
}

asked=
if with scikit-learn sklearn skl2onnx; then
    check export_scikit_learn.py isolation_forest one_class_svm pipeline
    # Without converting it: what its outputs mean leaves no doubt.
    "$nearfar" infer "$work/exported/isolation_forest.onnx" <"$work/exported/isolation_forest.rows.jsonl" \
        >"$work/exported/isolation_forest.answers.jsonl"
    compare "$work/exported/isolation_forest"
    asked=yes
fi
if with PyTorch torch onnx onnxscript; then
    check export_pytorch.py lstm_autoencoder dense
    asked=yes
fi
if with Keras keras tensorflow tf2onnx; then
    check export_keras.py keras_dense keras_lstm
    asked=yes
fi
[[ -z $asked ]] || printf 'onnx exports: all answers are as expected\n'
