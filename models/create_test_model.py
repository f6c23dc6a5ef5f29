#!/usr/bin/env python3
"""Trains the shipped anomaly detector on real bearings run to failure.

Only needed to regenerate what is committed:

    python3 models/create_test_model.py --data DIRECTORY --out models

DIRECTORY holds the `BearingC_N.csv` files described in models/README.md; they are not part of this repository.
Needs torch and numpy (made with torch 2.15, numpy 2). Writes OUT/anomaly_detector.pt (a state dict) and
OUT/anomaly_detector/{model.safetensors,config.json}, and prints the figures of models/README.md.
"""

import argparse
import hashlib
import json
import pathlib
import struct

import numpy as np
import torch
from torch import nn

TRAINING = ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2"]
LOOKING = ["1_3", "1_4", "2_3", "2_4", "3_3"]
INPUTS, HIDDEN = 32, 16
LOG_OFFSET, CLIP = 1e-6, 10.0
# Healthy is the first half of a bearing's life. A detector is judged on the last 5 %, but learns from the last 10 %: twice
# the examples, and the best mean AUC over held-out training bearings among 5, 10, 15, 20 and 30 %.
HEALTHY_UNTIL, LEARN_FROM, JUDGE_FROM = 0.5, 0.9, 0.95
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 600, 128, 3e-3, 0.1
# `nearfar replay` reports an alarm once this many rows in a row are at or above the threshold.
ALARM_ROWS = 3


class SimpleAnomalyDetector(nn.Module):
    """The replaced system's network. `logit` is what the weights give; the one sigmoid is in `forward`."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(INPUTS, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, 1)

    def logit(self, x):
        return self.fc2(torch.relu(self.fc1(x))).squeeze(-1)

    def forward(self, x):
        return torch.sigmoid(self.logit(x))


class Bearing:
    """The rows of one recording: log features and the fraction of life at each."""

    def __init__(self, path):
        with open(path) as file:
            self.names = file.readline().strip().split(",")[3:]
        rows = np.genfromtxt(path, delimiter=",", skip_header=1)
        self.life = rows[:, 2]
        self.log = np.log(np.abs(rows[:, 3:]) + LOG_OFFSET).astype(np.float32)
        self.healthy = np.flatnonzero(self.life <= HEALTHY_UNTIL)
        self.learned = np.flatnonzero(self.life > LEARN_FROM)
        self.failing = np.flatnonzero(self.life > JUDGE_FROM)


class Trained:
    """A network with the mean and standard deviation of the rows it learned from."""

    def __init__(self, bearings, seed):
        rows = np.concatenate([bearing.log for bearing in bearings])
        self.mean, self.std = rows.mean(0), rows.std(0)
        torch.manual_seed(seed)
        self.network = SimpleAnomalyDetector()
        self.fit(bearings, np.random.default_rng(seed))

    def inputs(self, log):
        return torch.tensor(np.clip((log - self.mean) / self.std, -CLIP, CLIP).astype(np.float32))

    def fit(self, bearings, random):
        network = self.network
        weights = [network.fc1.weight, network.fc2.weight]
        biases = [network.fc1.bias, network.fc2.bias]
        groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": biases, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS + 1)
        for _ in range(STEPS):
            # Every bearing weighs the same, however long it lived, and so do its healthy and its failing rows.
            chosen = random.integers(len(bearings), size=BATCH)
            rows = [bearings[i].log[random.choice(bearings[i].healthy)] for i in chosen]
            rows += [bearings[i].log[random.choice(bearings[i].learned)] for i in chosen]
            target = torch.cat([torch.zeros(BATCH), torch.ones(BATCH)])
            loss = nn.functional.binary_cross_entropy_with_logits(network.logit(self.inputs(np.stack(rows))), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def probabilities(self, bearing):
        with torch.no_grad():
            return self.network(self.inputs(bearing.log)).numpy()


def roc_auc(healthy, failing):
    """The probability that a failing row scores higher than a healthy one; ties count half (Mann-Whitney U)."""
    scores = np.concatenate([healthy, failing])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = len(failing)
    return (ranks[len(healthy):].sum() - n * (n + 1) / 2) / (n * len(healthy))


def auc_of(scores, bearing):
    return roc_auc(scores[bearing.healthy], scores[bearing.failing])


def choose_threshold(held_out):
    """Where Youden's J (failing rows found minus healthy rows that alarm), averaged over bearings, is largest.

    From scores of training bearings by networks that had not seen them; no other bearing is looked at.
    """

    def youden(threshold):
        found = [np.mean(scores[bearing.failing] >= threshold) for bearing, scores in held_out]
        alarms = [np.mean(scores[bearing.healthy] >= threshold) for bearing, scores in held_out]
        return np.mean(found) - np.mean(alarms)

    return round(float(max(np.arange(0.05, 1.0, 0.01), key=youden)), 2)


def first_lasting_alarm(scores, threshold):
    above = scores >= threshold
    run = np.convolve(above, np.ones(ALARM_ROWS, int), "valid") == ALARM_ROWS
    return int(np.argmax(run)) if run.any() else None


def report(title, scored, threshold):
    print(f"\n{title}\n| bearing | ROC AUC | healthy rows at or above | failing rows found | first lasting alarm, life |")
    print("|---|---|---|---|---|")
    for name, bearing, scores in scored:
        alarm = first_lasting_alarm(scores, threshold)
        at = "none" if alarm is None else f"{bearing.life[alarm]:.3f}"
        print(
            f"| {name} | {auc_of(scores, bearing):.3f} | {np.mean(scores[bearing.healthy] >= threshold):.4f} "
            f"| {np.mean(scores[bearing.failing] >= threshold):.3f} | {at} |"
        )
    print(f"mean ROC AUC {np.mean([auc_of(scores, bearing) for _, bearing, scores in scored]):.4f}")


def write_safetensors(tensors, path):
    """The format in full: a length, a JSON header, the bytes."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        blob = tensor.detach().contiguous().numpy().astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(blob)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += blob
    text = json.dumps(header, separators=(",", ":"), sort_keys=True)  # byte for byte what `nearfar convert` writes
    text += " " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unit(name):
    return "1" if any(part in name for part in ("kurtosis", "skewness", "crest", "shape")) else "g"


def config(model, names, threshold, sha256):
    # Made up, near the middle of the range: not a row of the data.
    golden = [round(float(np.exp(mean + 0.25 * (-1) ** at * std)), 5) for at, (mean, std) in enumerate(zip(model.mean, model.std))]
    log = np.log(np.abs(np.array(golden, np.float32)) + np.float32(LOG_OFFSET)).astype(np.float32)
    with torch.no_grad():
        output = float(model.network(model.inputs(log[None]))[0])
    return {
        "format": 1,
        "name": "anomaly_detector",
        "version": "1.0.0",
        "description": "Probability that a rolling bearing is failing, from 32 features of 0.1 s of vibration on two axes",
        "source": "models/create_test_model.py, trained on FEMTO-ST PRONOSTIA bearings (IEEE PHM 2012 prognostic challenge)",
        "weights": {"file": "model.safetensors", "sha256": sha256},
        "inputs": INPUTS,
        "features": [{"name": name, "unit": unit(name)} for name in names],
        "normalisation": {
            "log": {"abs": True, "offset": LOG_OFFSET},
            "mean": [float(f"{value:.8g}") for value in model.mean],
            "std": [float(f"{value:.8g}") for value in model.std],
            "clip": CLIP,
        },
        "layers": [
            {"type": "linear", "name": "fc1", "in": INPUTS, "out": HIDDEN},
            {"type": "relu"},
            {"type": "linear", "name": "fc2", "in": HIDDEN, "out": 1},
        ],
        "output": "logit",
        "threshold": threshold,
        "labels": ["healthy", "failing"],
        "golden": {"input": golden, "output": output, "tolerance": 1e-6},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="directory with BearingC_N.csv")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("models"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    bearings = {name: Bearing(args.data / f"Bearing{name}.csv") for name in TRAINING + LOOKING}

    held_out = []
    for name in TRAINING:
        others = [bearings[other] for other in TRAINING if other != name]
        held_out.append((name, bearings[name], Trained(others, args.seed).probabilities(bearings[name])))
    threshold = choose_threshold([(bearing, scores) for _, bearing, scores in held_out])
    print(f"threshold {threshold}")
    report("Training bearings, each scored by a network that had not seen it", held_out, threshold)

    model = Trained([bearings[name] for name in TRAINING], args.seed)
    scored = lambda names: [(name, bearings[name], model.probabilities(bearings[name])) for name in names]
    report("Training bearings, scored by the shipped network", scored(TRAINING), threshold)
    report("Bearings for looking, scored by the shipped network", scored(LOOKING), threshold)

    directory = args.out / "anomaly_detector"
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(model.network.state_dict(), args.out / "anomaly_detector.pt")
    sha256 = write_safetensors(model.network.state_dict(), directory / "model.safetensors")
    described = config(model, bearings["1_1"].names, threshold, sha256)
    (directory / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    print(f"\n{directory / 'model.safetensors'} sha256 {sha256}")


if __name__ == "__main__":
    main()
