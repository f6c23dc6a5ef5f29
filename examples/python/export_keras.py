#!/usr/bin/env python3
"""Keras to ONNX: a dense classifier, and an LSTM that looks at a window of samples.

    pip install tensorflow-cpu tf2onnx
    python examples/python/export_keras.py exported

Prints the two commands from each file to an answer over MQTT.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import exported

SAMPLES, SENSORS = 16, 3


def export(model, path, rows):
    # A model must have been called before it is exported. The number of rows stays open.
    model(rows[:1])
    model.export(path, format="onnx", opset_version=17, verbose=False)


def train(model, rows, truth):
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    model.fit(rows, truth, epochs=10, batch_size=64, verbose=0)
    return model


def main():
    keras.utils.set_random_seed(7)
    folder = exported.folder()
    random = np.random.default_rng(7)

    # The scaling is a layer of the model: raw numbers may be sent. A Normalization layer would do, but its numbers become
    # inputs of the graph. The last activation is a sigmoid: the output is a probability.
    rows = (random.normal(0.0, 1.0, (400, 2)) * [200.0, 20.0] + [600.0, 40.0]).astype(np.float32)
    truth = (rows[:, 0] / 200 + rows[:, 1] / 20 > 5.5).astype(np.float32)
    mean, std = rows.mean(0), rows.std(0)
    scaling = keras.layers.Rescaling(scale=(1 / std).tolist(), offset=(-mean / std).tolist())
    dense = train(keras.Sequential([
        keras.Input((2,)), scaling, keras.layers.Dense(16, "relu"), keras.layers.Dense(1, "sigmoid"),
    ]), rows, truth)
    path = folder / "keras_dense.onnx"
    export(dense, path, rows)
    exported.write(path, rows[:40], dense.predict(rows[:40], verbose=0), "--output probability")

    # Unrolled: a loop would have its rows run one by one. Two probabilities by softmax: the second is that of an anomaly.
    windows = random.normal(0.0, 1.0, (300, SAMPLES, SENSORS)).astype(np.float32)
    windows[200:] *= 2.0
    truth = keras.utils.to_categorical(np.repeat([0, 1], [200, 100]))
    lstm = train(keras.Sequential([
        keras.Input((SAMPLES, SENSORS)), keras.layers.LSTM(8, unroll=True), keras.layers.Dense(2, "softmax"),
    ]), windows, truth)
    path = folder / "keras_lstm.onnx"
    export(lstm, path, windows)
    exported.write(path, windows[180:220], lstm.predict(windows[180:220], verbose=0)[:, 1], "--output class --class 1")


if __name__ == "__main__":
    main()
