"""The figures of `nearfar judge` as the Python packages that define them compute them.

    pip install scikit-learn pandas tqdm
    pip install --no-deps vus==0.0.6     # without its detectors, which want tensorflow
    python benches/peers/judge_metrics.py

Makes the series of src/statistics/recorded.rs by the same formula, and prints the values that are recorded there:
average precision by scikit-learn, the volumes under the surface by `vus` (`get_metrics`' default version, `opt`) and
affiliation by the authors' code, of which `vus` carries a copy (it is on PyPI under no name of its own).

    python benches/peers/judge_metrics.py scores.csv [WIDTH]

reads rows of `score,alarm,truth` and prints the figures of those.
"""

import sys
import time

import numpy
from sklearn import metrics
from vus.affiliation.generics import convert_vector_to_events
from vus.affiliation.metrics import pr_from_events
from vus.utils.metrics import metricor

# Rows, events, levels of noise, how much higher events are, seed, threshold of alarms, widths.
SERIES = [
    ("apart", 400, [(60, 80), (200, 215), (330, 360)], 48, 1.5, 7, 3.0, (0, 10, 40)),
    ("close and at both ends", 300, [(0, 6), (90, 100), (104, 110), (118, 119), (280, 300)], 48, 1.0, 11, 2.75, (1, 9, 33)),
    ("few levels", 257, [(40, 50), (120, 160)], 5, 0.125, 3, 0.25, (0, 16, 25)),
    ("longer than the thresholds", 1500, [(300, 420), (700, 701), (1300, 1400)], 64, 2.0, 5, 4.5, (2, 50, 101)),
    ("upside down", 120, [(100, 120)], 32, -1.0, 13, 1.0, (0, 8, 12)),
]


def series(rows, events, levels, lift, seed):
    state = seed
    scores = numpy.zeros(rows)
    truth = numpy.zeros(rows, dtype=int)
    for first, last in events:
        truth[first:last] = 1
    for row in range(rows):
        state = (state * 1103515245 + 12345) % 2147483648
        near = any(first + 2 <= row < last + 3 for first, last in events)
        scores[row] = (state // 65536 % levels) / 16 + (lift if near else 0.0)
    return scores, truth


def affiliation(alarms, truth):
    found = pr_from_events(
        convert_vector_to_events(alarms), convert_vector_to_events(truth), (0, len(truth))
    )
    return found["Affiliation_Precision"], found["Affiliation_Recall"]


def volumes(scores, truth, width):
    """What `get_metrics(scores, truth, metric="vus", slidingWindow=width)` gives; its module imports the detectors."""
    *_, roc, pr = metricor().RangeAUC_volume_opt(truth, scores, width, 250)
    return roc, pr


def recorded():
    for name, rows, events, levels, lift, seed, threshold, widths in SERIES:
        scores, truth = series(rows, events, levels, lift, seed)
        precision, recall = affiliation((scores >= threshold).astype(int), truth)
        print(f"{name}:")
        print(f"    average precision {metrics.average_precision_score(truth, scores):.12f}")
        print(f"    ROC AUC           {metrics.roc_auc_score(truth, scores):.12f}")
        print(f"    affiliation       {precision:.12f}, {recall:.12f}")
        for width in widths:
            roc, pr = volumes(scores, truth, width)
            print(f"    volumes           {width}, {roc:.12f}, {pr:.12f}")


def of_file(path, width):
    table = numpy.loadtxt(path, delimiter=",", skiprows=1)
    scores, alarms, truth = table[:, 0], table[:, 1].astype(int), table[:, 2].astype(int)
    print(f"average precision {metrics.average_precision_score(truth, scores):.12f}")
    print(f"ROC AUC           {metrics.roc_auc_score(truth, scores):.12f}")
    print("affiliation       {:.12f}, {:.12f}".format(*affiliation(alarms, truth)))
    start = time.perf_counter()
    print("volumes           {:.12f}, {:.12f}".format(*volumes(scores, truth, width)))
    print(f"({time.perf_counter() - start:.1f} s for the volumes)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        of_file(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100)
    else:
        recorded()
