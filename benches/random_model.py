#!/usr/bin/env python3
"""Writes a dense network with random weights, for benchmarks: random_model.py FILE.safetensors WIDTH WIDTH [WIDTH...]

Widths are those of the layers, inputs first, as in 4096 16 1. Needs nothing but Python. The weights are the same every time.
"""

import array
import json
import random
import sys


def main():
    path, widths = sys.argv[1], [int(width) for width in sys.argv[2:]]
    rng = random.Random(1)
    header, data = {}, array.array("f")
    for number, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        # Named as torch.nn.Sequential(Linear, ReLU, Linear, ...) names them.
        for name, shape in (("weight", [outputs, inputs]), ("bias", [outputs])):
            count = outputs * (inputs if name == "weight" else 1)
            begin = 4 * len(data)
            data.extend(rng.gauss(0, inputs**-0.5) for _ in range(count))
            offsets = [begin, 4 * len(data)]
            header[f"{2 * number}.{name}"] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    if sys.byteorder == "big":
        data.byteswap()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data.tobytes())


main()
