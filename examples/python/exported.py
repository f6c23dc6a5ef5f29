"""What the export_*.py write beside each .onnx: rows, the answers to expect, and how `nearfar convert` is told what the output means.

    NAME.onnx            the model
    NAME.rows.jsonl      rows of features, one a line, as `nearfar infer` reads them
    NAME.expected.csv    for each row the probability that the model's own library gives
    NAME.options         flags for `nearfar convert`; empty where the file leaves no doubt
"""

import json
import pathlib
import sys

import numpy as np


def folder():
    """The directory to write to: the first argument, or `exported`."""
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "exported")
    path.mkdir(parents=True, exist_ok=True)
    return path


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def write(path, rows, probabilities, options=""):
    """`path` is that of the .onnx. Rows are of 32 bits, as requests are: the library must have been asked with the same."""
    rows = np.asarray(rows, np.float32).reshape(len(rows), -1)
    lines = [json.dumps([float(number) for number in row]) for row in rows]
    path.with_suffix(".rows.jsonl").write_text("\n".join(lines) + "\n")
    np.savetxt(path.with_suffix(".expected.csv"), np.asarray(probabilities, np.float64).reshape(-1), fmt="%.9g")
    path.with_suffix(".options").write_text(options + "\n")
    print(f"nearfar convert {path} {path.with_suffix('')} {options}".rstrip())
    print(f"nearfar serve {path.with_suffix('')}")
