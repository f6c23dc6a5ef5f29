//! Convolutional networks and LSTMs: predictions equal those that PyTorch recorded,
//! batched equals single, and whatever does not fit is refused with its line and key.

use std::path::PathBuf;

use nearfar::model::{Detector, Layout, ModelError, Order};
use serde_json::{Value, json};

use crate::support::models::{ModelDirectory, assert_close, f32s, fixture, read};

const RECORDED: [&str; 5] =
    ["cnn", "cnn_flatten", "lstm_autoencoder", "lstm_autoencoder_odd", "lstm_classifier"];

fn recorded(name: &str) -> PathBuf {
    fixture(&format!("sequences/{name}"))
}

#[test]
fn predictions_equal_those_of_pytorch() {
    for name in RECORDED {
        let mut detector = Detector::load(recorded(name)).unwrap();
        let inputs = read(&recorded(name).join("inputs.f32"));
        let expected = read(&recorded(name).join("outputs.f32"));
        let mut batched = Vec::new();
        detector.predict_batch(&inputs, &mut batched).unwrap();
        assert_close(&batched, &expected, name);
        for (row, expected) in inputs.chunks(detector.info().inputs).zip(expected) {
            assert_close(&[detector.predict(row).unwrap().score()], &[expected], name);
        }
    }
}

#[test]
fn batches_beyond_a_block_equal_single_rows() {
    for name in RECORDED {
        let mut detector = Detector::load(recorded(name)).unwrap();
        let inputs = detector.info().inputs;
        for batch in [2, 9, 70] {
            let rows = f32s(batch as u64, batch * inputs);
            let mut batched = Vec::new();
            detector.predict_batch(&rows, &mut batched).unwrap();
            let single: Vec<_> =
                rows.chunks(inputs).map(|row| detector.predict(row).unwrap().score()).collect();
            assert_close(&batched, &single, name);
        }
    }
}

#[test]
fn one_bad_row_does_not_spoil_its_batch() {
    for name in RECORDED {
        let mut detector = Detector::load(recorded(name)).unwrap();
        let inputs = detector.info().inputs;
        for bad in [f32::NAN, f32::INFINITY] {
            let mut rows = f32s(7, 3 * inputs);
            let good = detector.predict(&rows[..inputs]).unwrap().score();
            rows[inputs + inputs / 2] = bad;
            let mut predictions = Vec::new();
            detector.predict_batch(&rows, &mut predictions).unwrap();
            assert_close(&predictions[..1], &[good], name);
            assert!(predictions[2].is_finite(), "{name}");
            // An infinite feature saturates a gate, as in PyTorch; in a reconstruction it is an
            // infinite error.
            if bad.is_nan() || name.starts_with("lstm_autoencoder") {
                assert!(predictions[1].is_nan(), "{name} {bad}");
                assert!(matches!(
                    detector.predict(&rows[inputs..2 * inputs]),
                    Err(ModelError::NotFinite { .. })
                ));
            }
        }
    }
}

#[test]
fn the_layout_and_the_parameters_are_known() {
    let cnn = Detector::load(recorded("cnn")).unwrap();
    let layout = Layout { order: Order::ChannelsSamples, channels: 8, samples: 37 };
    assert_eq!(cnn.info().layout, Some(layout));
    assert_eq!(cnn.info().parameters(), 8 * 6 * 5 + 6 + 6 * 33 * 4 + 33 + 1);
    let lstm = Detector::load(recorded("lstm_autoencoder")).unwrap();
    assert_eq!(lstm.info().parameters(), 4 * 16 * (8 + 16 + 2) + 4 * 16 * (16 + 16 + 2) + 16 * 8 + 8);
    let layers: Vec<_> = lstm.info().layers.iter().map(ToString::to_string).collect();
    assert_eq!(layers[..2], ["lstm encoder (8 to 16, last)", "repeat (64 samples)"]);
    assert_eq!(lstm.info().output.to_string(), "reconstruction (midpoint 1.25, scale 0.5)");
}

/// The largest inputs that the shapes of ordinary sensors need.
#[test]
fn a_cnn_over_a_second_of_samples_loads() {
    let config = json!({
        "inputs": 65_536, "output": "logit",
        "layout": {"order": "channels_samples", "channels": 8, "samples": 8_192},
        "layers": [
            {"type": "conv1d", "name": "conv", "in": 8, "out": 4, "kernel": 64, "stride": 32},
            {"type": "global_average_pool"},
            {"type": "linear", "name": "head", "in": 4, "out": 1},
        ],
    });
    let tensors = [
        ("conv.weight".to_owned(), vec![4, 8, 64]),
        ("conv.bias".to_owned(), vec![4]),
        ("head.weight".to_owned(), vec![1, 4]),
        ("head.bias".to_owned(), vec![1]),
    ];
    let model = ModelDirectory::random_weights(config, &tensors, 5);
    let mut detector = Detector::load(model.path()).unwrap();
    assert!(detector.predict(&f32s(6, 65_536)).is_ok());
}

/// The error of a copy of the model `name` with `change` made to its configuration, without the file's name.
fn error_of(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let model = ModelDirectory::with(recorded(name));
    model.edit(change);
    let error = Detector::load(model.path()).unwrap_err().to_string();
    let prefix = format!("{}:", model.path().join("config.json").display());
    error.strip_prefix(&prefix).unwrap_or(&error).to_owned()
}

#[test]
fn sequences_that_do_not_fit_are_refused() {
    let set = |pointer: &'static str, value: Value| {
        move |config: &mut Value| *config.pointer_mut(pointer).unwrap() = value
    };
    for (name, pointer, value, expected) in [
        (
            "cnn",
            "/layout/samples",
            json!(36),
            "layout: found 8 channels x 36 samples, expected 296 inputs, as inputs says",
        ),
        (
            "cnn",
            "/layout/order",
            json!("samples"),
            "layout.order: found \"samples\", expected one of channels_samples, samples_channels",
        ),
        ("cnn", "/layers/0/in", json!(7), "layers[0].in: found 7, expected 8, as inputs says"),
        ("cnn", "/layers/0/kernel", json!(0), "layers[0].kernel: found 0, expected 1 to 1048576"),
        (
            "cnn",
            "/layers/0/kernel",
            json!(600_000),
            "layers[0].kernel: found 600000 samples x 8 channels, expected at most 4194304 numbers in a window",
        ),
        (
            "cnn",
            "/layers/0/padding",
            json!(5),
            "layers[0].padding: found 5, expected at most 4, or same, or causal",
        ),
        (
            "cnn",
            "/layers/3/kernel",
            json!(19),
            "layers[3].kernel: found 19, expected at most 18 samples with padding",
        ),
        ("cnn", "/layers/3/stride", json!(0), "layers[3].stride: found 0, expected 1 to 1048576"),
        (
            "cnn",
            "/layers/2",
            json!({"type": "max_pool1d"}),
            "layers[2].kernel: missing: a max_pool1d layer needs it",
        ),
        (
            "cnn",
            "/layers/5",
            json!({"type": "relu"}),
            "layers: expected the last layer to give 1 number, it gives a sequence of 5 samples of 1 channels",
        ),
        (
            "cnn_flatten",
            "/layers/6",
            json!({"type": "global_average_pool", "kernel": 2}),
            "layers[6].kernel: a global_average_pool layer takes name only",
        ),
        (
            "lstm_autoencoder",
            "/layers/0/returns",
            json!("all"),
            "layers[0].returns: found \"all\", expected one of sequence, last, final",
        ),
        (
            "lstm_autoencoder",
            "/layers/0/returns",
            json!("sequence"),
            "layers[1].type: a repeat layer needs plain features, the layers before it give a sequence of 64 samples",
        ),
        (
            "lstm_autoencoder",
            "/layers/1/samples",
            json!(63),
            "layers: expected the last layer to give a sequence of 64 samples of 8 channels, it gives a sequence of 63",
        ),
        (
            "lstm_autoencoder",
            "/layers/1/samples",
            json!(1_000_000),
            "layers[1].type: found a sequence of 1000000 samples of 16 channels, expected at most 4194304 numbers",
        ),
        (
            "lstm_autoencoder",
            "/reconstruction/scale",
            json!(0),
            "reconstruction.scale: found 0, expected more than 0",
        ),
        (
            "lstm_autoencoder",
            "/reconstruction/midpoint",
            json!(-1),
            "reconstruction.midpoint: found -1, expected 0 or more",
        ),
        ("lstm_autoencoder", "/output", json!("logit"), "reconstruction: only an output \"reconstruction\""),
        (
            "lstm_autoencoder",
            "/layers/0",
            json!({"type": "lstm", "name": "encoder", "in": 8}),
            "layers[0].hidden: missing: a lstm layer needs it",
        ),
    ] {
        let error = error_of(name, set(pointer, value));
        assert!(error.contains(expected), "{expected:?} not in {error}");
        assert!(error.starts_with(|first: char| first.is_ascii_digit()), "no line in {error}");
    }
    let error = error_of("cnn", |config| drop(config.as_object_mut().unwrap().remove("layout")));
    assert!(
        error.contains("layers[0].type: a conv1d layer needs a sequence, inputs and layout say 296 numbers"),
        "{error}"
    );
    let error =
        error_of("lstm_autoencoder", |config| drop(config.as_object_mut().unwrap().remove("reconstruction")));
    assert!(error.contains("output: \"reconstruction\" needs a member reconstruction"), "{error}");
}

#[test]
fn tensors_of_another_shape_are_named_on_both_sides() {
    let error = error_of("lstm_autoencoder", |config| {
        config["layers"][0]["hidden"] = 15.into();
        config["layers"][2]["in"] = 15.into();
    });
    for part in [
        "encoder.weight_ih_l0 is (64, 8) in the file, expected (60, 8)",
        "encoder.bias_hh_l0 is (64) in the file, expected (60)",
        "decoder.weight_ih_l0 is (64, 16) in the file, expected (64, 15)",
    ] {
        assert!(error.contains(part), "{part:?} not in {error}");
    }
    let error = error_of("cnn", |config| config["layers"][0]["bias"] = false.into());
    assert!(error.contains("conv1.bias (6) is in the file and not used"), "{error}");
}
