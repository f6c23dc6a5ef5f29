#!/usr/bin/env python3
"""PyTorch to ONNX: an LSTM autoencoder, whose error is the score, and a dense network that gives a logit.

    pip install torch onnx onnxscript
    python examples/python/export_pytorch.py exported

Prints the two commands from each file to an answer over MQTT.
"""

import logging
import warnings

import numpy as np
import torch
from torch import nn

import exported

SAMPLES, SENSORS = 16, 3


class Autoencoder(nn.Module):
    """A window of samples to eight numbers, and back."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(SENSORS, 8, batch_first=True)
        self.decoder = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, SENSORS)

    def forward(self, x):
        _, (state, _) = self.encoder(x)
        decoded, _ = self.decoder(state[-1].unsqueeze(1).repeat(1, SAMPLES, 1))
        return self.head(decoded)


class Scaled(nn.Module):
    """A network with its normalisation in it, so that raw numbers may be sent."""

    def __init__(self, mean, std, network):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.network = network

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


def train(model, rows, targets, loss):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss(model(rows), targets).backward()
        optimizer.step()
    # Dropout and batch norm otherwise as in evaluation, not as in training.
    return model.eval()


def export(model, row, path):
    # The first axis is left open: otherwise rows are run one by one. Two rows, for of one the exporter may take the size as fixed.
    rows = torch.cat([row, row])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (rows,), path, dynamo=True, external_data=False, verbose=False,
                          input_names=["x"], output_names=["y"], dynamic_shapes=({0: torch.export.Dim("rows")},))


def autoencoder(folder):
    time = torch.arange(SAMPLES) / SAMPLES
    phase = torch.rand(200, 1, 1) * 6.28
    healthy = torch.sin(6.28 * time.view(1, -1, 1) + phase + torch.arange(SENSORS)) + 0.05 * torch.randn(200, SAMPLES, SENSORS)
    failing = healthy[:20] + 0.8 * torch.randn(20, SAMPLES, SENSORS)
    model = train(Autoencoder(), healthy, healthy, nn.MSELoss())
    path = folder / "lstm_autoencoder.onnx"
    export(model, healthy[:1], path)

    def errors(rows):
        with torch.no_grad():
            return ((model(rows) - rows) ** 2).double().flatten(1).mean(1).numpy()

    # What is healthy tells where an anomaly begins, and how far from there it is certain.
    midpoint, scale = round(float(np.percentile(errors(healthy), 99)), 4), round(float(errors(healthy).std()), 4)
    asked = torch.cat([healthy[:20], failing])
    exported.write(path, asked, exported.sigmoid((errors(asked) - midpoint) / scale),
                   f"--output reconstruction --midpoint {midpoint} --scale {scale}")


def dense(folder):
    rows = torch.tensor([600.0, 40.0]) + torch.randn(400, 2) * torch.tensor([200.0, 20.0])
    truth = (rows[:, :1] / 200 + rows[:, 1:] / 20 > 5.5).float()
    network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 1))
    model = train(Scaled(rows.mean(0), rows.std(0), network), rows, truth, nn.BCEWithLogitsLoss())
    path = folder / "dense.onnx"
    export(model, rows[:1], path)
    with torch.no_grad():
        exported.write(path, rows[:40], exported.sigmoid(model(rows[:40]).numpy()), "--output logit")


def main():
    torch.manual_seed(7)
    # Of torchvision, which nobody needs here.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    folder = exported.folder()
    autoencoder(folder)
    dense(folder)


if __name__ == "__main__":
    main()
