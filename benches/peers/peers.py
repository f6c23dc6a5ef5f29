"""The models of `cargo bench --bench models` in PyTorch and ONNX Runtime, each on one thread, and the ratios.

    cargo bench --bench models | tee ours.txt
    python benches/peers/peers.py ours.txt          # needs torch, onnx, onnxruntime, numpy

Prints a table: microseconds a call, the least of many rounds, and our time over that of the better peer. Without a file it
prints the peers alone. On a machine that does other work, run both in turn and read the ratios.
"""

import io
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy
import onnxruntime
import torch
from torch import nn

BATCHES = [1, 8, 32, 128, 1024]
# Short rounds, so that some fit between two turns of other programs.
ROUND_S = 0.001
MEASURED_S = 1.5


class Autoencoder(nn.Module):
    """The reconstruction error as a probability, with the last output of the encoder repeated for the decoder."""

    def __init__(self, channels=8, hidden=32, samples=64):
        super().__init__()
        self.samples = samples
        self.encoder = nn.LSTM(channels, hidden, batch_first=True)
        self.decoder = nn.LSTM(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, channels)

    def forward(self, x):
        _, (last, _) = self.encoder(x)
        decoded, _ = self.decoder(last[-1].unsqueeze(1).repeat(1, self.samples, 1))
        return torch.sigmoid(((self.head(decoded) - x) ** 2).mean((1, 2)) - 1.0)


def models():
    torch.manual_seed(0)
    yield "dense_32_16_1", (32,), nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
    yield "dense_32_256_256_1", (32,), nn.Sequential(
        nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1), nn.Sigmoid()
    )
    yield "cnn_8x128", (8, 128), nn.Sequential(
        nn.Conv1d(8, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 1),
        nn.Sigmoid(),
    )
    yield "lstm_8x64", (64, 8), Autoencoder()


def microseconds(call):
    """The least time of one call, over rounds of equal length."""
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    calls = max(1, int(ROUND_S / max(time.perf_counter() - start, 1e-7)))
    least = float("inf")
    end = time.perf_counter() + MEASURED_S
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        least = min(least, time.perf_counter() - start)
    return least / calls * 1e6


def onnx_session(model, shape):
    """The model in ONNX Runtime, with any batch."""
    file = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.randn(2, *shape),),
        file,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])


def main():
    torch.set_num_threads(1)
    ours = {}
    if len(sys.argv) > 1:
        for line in open(sys.argv[1], encoding="utf-8"):
            parts = line.split()
            if len(parts) == 3 and parts[1].isdigit():
                ours[parts[0], int(parts[1])] = float(parts[2])
    print("| model | batch | nearfar | PyTorch | ONNX Runtime | ratio |\n|---|---|---|---|---|---|")
    for name, shape, model in models():
        model.eval()
        session = onnx_session(model, shape)
        for batch in BATCHES:
            x = torch.randn(batch, *shape)
            with torch.inference_mode():
                eager = microseconds(lambda: model(x))
            row = x.numpy()
            expected = model(x).detach().numpy()
            numpy.testing.assert_allclose(session.run(None, {"x": row})[0], expected, atol=1e-5)
            runtime = microseconds(lambda: session.run(None, {"x": row}))
            mine = ours.get((name, batch))
            ratio = f"{mine / min(eager, runtime):.2f}" if mine else ""
            print(f"| {name} | {batch} | {mine or ''} | {eager:.1f} | {runtime:.1f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
