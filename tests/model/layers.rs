//! Every layer beyond the plain ones, and networks as they were published: predictions equal those that
//! PyTorch recorded, and a batch gives each row what it has alone, to the bit.

use std::fs;
use std::path::PathBuf;

use nearfar::model::{Config, Detector};
use serde_json::{Value, json};

use crate::support::models::{ModelDirectory, assert_close, f32s, fixture, read};

/// All recorded models: the small ones of each layer, and the published ones.
fn recorded() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in ["layers", "published"] {
        let entries = fs::read_dir(fixture(folder)).unwrap();
        all.extend(entries.map(|entry| entry.unwrap().path()));
    }
    all.sort();
    assert!(all.len() >= 22, "{all:?}");
    all
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn predictions_equal_those_of_pytorch() {
    for path in recorded() {
        let name = path.display().to_string();
        let mut detector = Detector::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let (inputs, expected) = (read(&path.join("inputs.f32")), read(&path.join("outputs.f32")));
        let mut batched = Vec::new();
        detector.predict_batch(&inputs, &mut batched).unwrap();
        assert_close(&batched, &expected, &name);
    }
}

#[test]
fn batches_equal_single_rows_to_the_bit() {
    for path in recorded() {
        let mut detector = Detector::load(&path).unwrap();
        let inputs = read(&path.join("inputs.f32"));
        let width = detector.info().inputs;
        let single: Vec<_> = inputs.chunks(width).map(|row| detector.predict(row).unwrap().score()).collect();
        for rows in [1, 2, 5, 13, 60] {
            let many: Vec<_> = inputs.iter().copied().cycle().take(rows * width).collect();
            let mut batched = Vec::new();
            detector.predict_batch(&many, &mut batched).unwrap();
            let expected: Vec<_> = single.iter().copied().cycle().take(rows).collect();
            assert_eq!(bits(&batched), bits(&expected), "{} of {rows}", path.display());
        }
    }
}

#[test]
fn one_bad_row_does_not_spoil_its_batch() {
    for path in recorded() {
        let mut detector = Detector::load(&path).unwrap();
        let inputs = read(&path.join("inputs.f32"));
        let width = detector.info().inputs;
        let good = detector.predict(&inputs[..width]).unwrap().score();
        let mut rows = inputs[..width].repeat(3);
        rows[width + width / 2] = f32::NAN;
        let mut batched = Vec::new();
        detector.predict_batch(&rows, &mut batched).unwrap();
        assert!(batched[1].is_nan(), "{} {batched:?}", path.display());
        assert_eq!(bits(&[batched[0], batched[2]]), bits(&[good, good]), "{}", path.display());
    }
}

#[test]
fn descriptions_are_written_as_they_are_read() {
    for path in recorded() {
        let config = Detector::load(&path).unwrap().info().config.clone();
        let text = config.to_json();
        assert_eq!(Config::parse(&text, "config.json".as_ref()).unwrap(), *config, "{text}");
        // What is at its default is not written, so that an older program reads what it can.
        assert!(!text.contains("\"dilation\": 1,") && !text.contains("\"layers\": 1,"), "{text}");
    }
}

#[test]
fn layers_say_what_they_are() {
    let shown = |name: &str| -> Vec<String> {
        let detector = Detector::load(fixture(name)).unwrap();
        detector.info().layers.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        shown("layers/lstm_projected")[0],
        "lstm lstm (4 to 17, projected to 6, 2 layers, both directions, final)"
    );
    assert_eq!(
        shown("layers/conv_paddings")[..2],
        [
            "conv1d a (4 to 6, kernel 5, stride 1, dilation 2, padding 4 reflect)",
            "conv1d b (6 to 6, kernel 3, stride 1, 6 groups, padding 1 replicate)"
        ]
    );
    assert_eq!(
        shown("layers/tcn")[0],
        "residual (conv1d first.conv1 (3 to 8, kernel 3, stride 1, padding causal), relu, \
         conv1d first.conv2 (8 to 8, kernel 3, stride 1, padding causal), relu; \
         shortcut conv1d first.down (3 to 8, kernel 1, stride 1, padding 0))"
    );
    let parameters = Detector::load(fixture("layers/attention")).unwrap().info().parameters();
    assert_eq!(parameters, 4 * 10 * 10 + 371);
}

/// The error of a copy of the model `name` with `change` made to its configuration, without the file's name.
fn error_of(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let model = ModelDirectory::with(fixture(name));
    model.edit(change);
    let error = Detector::load(model.path()).unwrap_err().to_string();
    let prefix = format!("{}:", model.path().join("config.json").display());
    error.strip_prefix(&prefix).unwrap_or(&error).to_owned()
}

#[test]
fn layers_that_do_not_fit_are_refused_with_their_key() {
    for (name, pointer, value, expected) in [
        (
            "lstm_stacked",
            "/layers/0/layers",
            json!(65),
            "layers[0].layers: found 65, expected 1 to 64 (stacked_layers_max)",
        ),
        (
            "lstm_projected",
            "/layers/0/proj_size",
            json!(17),
            "layers[0].proj_size: found 17, expected fewer than 17",
        ),
        ("gru_stacked", "/layers/0/proj_size", json!(2), "layers[0].proj_size: a gru layer takes"),
        (
            "conv_paddings",
            "/layers/0/padding",
            json!("full"),
            "layers[0].padding: found \"full\", expected one of same, causal",
        ),
        ("conv_paddings", "/layers/0/padding", json!(9), "layers[0].padding: found 9, expected at most 8"),
        ("conv_paddings", "/layers/0/dilation", json!(1_000_000), "layers[0].dilation: found 1000000"),
        (
            "conv_paddings",
            "/layers/0",
            json!({"type": "conv1d", "name": "a", "in": 4, "out": 6, "kernel": 5, "padding": 20, "dilation": 9, "padding_mode": "reflect"}),
            "layers[0].padding: found 20, expected at most 18: no more are in the sequence",
        ),
        (
            "conv_paddings",
            "/layers/1/groups",
            json!(4),
            "layers[1].groups: found 4, expected a divisor of 6, as in says",
        ),
        (
            "conv_paddings",
            "/layers/4/stride",
            json!(2),
            "layers[4].padding: found same, expected a number where stride is not 1",
        ),
        ("norms", "/layers/1/groups", json!(5), "layers[1].groups: found 5, expected a divisor of 12"),
        ("norms", "/layers/4/features", json!(7), "layers[4].features: found 7, expected 12"),
        ("tcn", "/layers/0/layers", json!([]), "layers[0].layers: found 0, expected 1 to 1024 layers"),
        (
            "tcn",
            "/layers/0/layers/0/in",
            json!(2),
            "layers[0].layers[0].in: found 2, expected 3, as the layers before it give",
        ),
        (
            "tcn",
            "/layers/2/layers/0/name",
            json!("first.conv1"),
            "layers[2].layers[0].name: an earlier layer has this name",
        ),
        (
            "tcn",
            "/layers/0/shortcut/0/out",
            json!(7),
            "layers[0].layers: they give a sequence of 21 samples of 8 channels, and",
        ),
        (
            "tcn",
            "/layers/0",
            json!({"type": "residual"}),
            "layers[0].layers: missing: a residual layer needs it",
        ),
        (
            "transformer",
            "/layers/1/length",
            json!(9),
            "layers[1].type: the layers before it give 10 samples, expected at most 9, as length says",
        ),
        ("transformer", "/layers/2/heads", json!(5), "layers[2].heads: found 5, expected a divisor of 12"),
        ("transformer", "/layers/2/features", json!(9), "layers[2].features: found 9, expected 12"),
        (
            "embedding",
            "/layers/0/column",
            json!(4),
            "layers[0].column: found 4, expected at most 3: the last that comes",
        ),
        ("embedding", "/layers/0/column", json!(-1), "layers[0].column: found -1, expected"),
        ("embedding", "/layers/0/count", json!(11), "site.weight is (12, 2) in the file, expected (11, 2)"),
    ] {
        let error = error_of(&format!("layers/{name}"), |config| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match config.pointer_mut(parent).unwrap() {
                Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
                other => other[key] = value,
            }
        });
        assert!(error.contains(expected), "{expected:?} not in {error}");
    }
}

#[test]
fn lists_in_lists_end_somewhere() {
    let nested = |depth: usize| {
        let mut layer = json!({"type": "relu"});
        for _ in 0..depth {
            layer = json!({"type": "residual", "layers": [layer]});
        }
        move |config: &mut Value| config["layers"].as_array_mut().unwrap().insert(0, layer)
    };
    let error = error_of("layers/embedding", nested(9));
    assert!(
        error.contains("layers: found a list 9 deep, expected at most 8 (layers_nesting_max)"),
        "{error}"
    );
    let model = ModelDirectory::with(fixture("layers/attention"));
    model.edit(nested(8));
    model.edit(|config| drop(config.as_object_mut().unwrap().remove("golden")));
    Detector::load(model.path()).unwrap();
}

#[test]
fn attention_over_too_many_samples_is_refused() {
    let config = json!({
        "inputs": 16_384, "output": "logit",
        "layout": {"order": "samples_channels", "channels": 2, "samples": 8_192},
        "layers": [
            {"type": "self_attention", "name": "a", "features": 2, "heads": 2},
            {"type": "flatten"},
            {"type": "linear", "name": "head", "in": 16_384, "out": 1},
        ],
    });
    let model = ModelDirectory::random_weights(config, &[("head.weight".to_owned(), vec![1, 16_384])], 1);
    let error = Detector::load(model.path()).unwrap_err().to_string();
    assert!(
        error.contains("layers[0].type: inputs and layout say 8192 samples, expected at most 4096"),
        "{error}"
    );
    assert!(error.contains("scores_max"), "{error}");
}

#[test]
fn a_number_that_no_embedding_has_is_refused_alone() {
    let path = fixture("layers/embedding");
    let mut detector = Detector::load(&path).unwrap();
    let row = read(&path.join("inputs.f32"))[..4].to_vec();
    for bad in [-1.0, 5.0, 1.5, 1e30, f32::INFINITY] {
        let mut rows = row.repeat(2);
        rows[2] = bad;
        let mut predictions = Vec::new();
        detector.predict_batch(&rows, &mut predictions).unwrap();
        assert!(predictions[0].is_nan() && predictions[1].is_finite(), "{bad}");
    }
}

/// What training leaves beside the weights.
#[test]
fn a_tensor_that_no_layer_uses_is_allowed_when_it_is_said() {
    let layer = json!([{"type": "linear", "name": "module.0", "in": 2, "out": 1}]);
    let config = json!({"inputs": 2, "layers": layer, "output": "logit"});
    let tensors = [
        ("n_averaged".to_owned(), vec![]),
        ("module.0.weight".to_owned(), vec![1, 2]),
        ("module.0.bias".to_owned(), vec![1]),
        ("module.total_ops".to_owned(), vec![1]),
    ];
    let model = ModelDirectory::random_weights(config, &tensors, 1);
    let error = Detector::load(model.path()).unwrap_err().to_string();
    for part in [
        "n_averaged () is in the file and not used",
        "where no layer is missing for what is not used, config.json may say \"ignore\": [\"n_averaged\", \"module.total_ops\"]",
    ] {
        assert!(error.contains(part), "{part:?} not in {error}");
    }
    model.edit(|config| config["ignore"] = json!(["n_averaged", "*.total_ops"]));
    let mut detector = Detector::load(model.path()).unwrap();
    assert_eq!(detector.info().parameters(), 3);
    assert!(detector.predict(&f32s(1, 2)).unwrap().score().is_finite());
    model.edit(|config| config["ignore"] = json!(["n_averaged", 7]));
    let error = Detector::load(model.path()).unwrap_err().to_string();
    assert!(error.contains("ignore[1]: found 7, expected the name of a tensor"), "{error}");
}
