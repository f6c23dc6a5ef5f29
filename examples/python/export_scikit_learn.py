#!/usr/bin/env python3
"""scikit-learn to ONNX: an IsolationForest, a OneClassSVM, and a pipeline of StandardScaler and LogisticRegression.

    pip install scikit-learn skl2onnx
    python examples/python/export_scikit_learn.py exported

Prints the two commands from each file to an answer over MQTT.
"""

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

import exported

FEATURES = 6
# Models of newer opsets are read too; this one every skl2onnx of the last years writes.
OPSET = {"": 17, "ai.onnx.ml": 3}


def export(model, rows, path, **options):
    # float32, as features are: with a row of float64 the graph would compute in doubles.
    path.write_bytes(to_onnx(model, rows[:1], target_opset=OPSET, **options).SerializeToString())


def main():
    folder = exported.folder()
    random = np.random.default_rng(7)
    normal = random.normal(0.0, 1.0, (400, FEATURES)).astype(np.float32)
    failing = random.normal(1.5, 2.0, (100, FEATURES)).astype(np.float32)
    asked = np.concatenate([normal[:30], failing[:30]])

    # Its two outputs, a label and "scores", leave no doubt: the score is 0 at the threshold, lower for anomalies.
    forest = IsolationForest(n_estimators=50, random_state=7).fit(normal)
    path = folder / "isolation_forest.onnx"
    export(forest, normal, path)
    exported.write(path, asked, exported.sigmoid(-forest.decision_function(asked) / 0.1))

    # The same outputs, but its scores grow with the number of rows that it was trained with, so that the scale is stated.
    svm = OneClassSVM(nu=0.05, gamma="scale").fit(normal)
    path = folder / "one_class_svm.onnx"
    export(svm, normal, path)
    scale = round(float(svm.decision_function(normal).std()), 3)
    options = f"--output score --lower-is-anomalous --midpoint 0 --scale {scale} --value scores"
    exported.write(path, asked, exported.sigmoid(-svm.decision_function(asked) / scale), options)

    # A label and two probabilities: the second is that of class 1. Without "zipmap" they are a plain array.
    rows, truth = np.concatenate([normal, failing]), np.repeat([0, 1], [len(normal), len(failing)])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, truth)
    path = folder / "pipeline.onnx"
    export(pipeline, rows, path, options={"zipmap": False})
    exported.write(path, asked, pipeline.predict_proba(asked)[:, 1])


if __name__ == "__main__":
    main()
