//! `config.json`: each mistake is named with its file, line and key, what was found, what was expected; and
//! what is written reads as the same model.

use std::fs;
use std::path::{Path, PathBuf};

use nearfar::model::layers::{
    BatchNorm, Conv1d, Flatten, GlobalAveragePool, Linear, Lstm, MaxPool1d, Repeat, Returns,
};
use nearfar::model::{
    Activation, Config, Detector, Feature, Golden, Layer, Layout, Log, Normalisation, Order, Output,
    WeightsFile,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::models::{ModelDirectory, net};

/// The error of a copy of the recorded network `plain` with `change` made to its configuration's text.
fn error_of(change: impl FnOnce(String) -> String) -> String {
    let model = ModelDirectory::with(net("plain"));
    let path = model.path().join("config.json");
    let text = change(fs::read_to_string(&path).unwrap());
    fs::write(&path, text).unwrap();
    let error = Detector::load(model.path()).unwrap_err().to_string();
    let prefix = format!("{}:", path.display());
    error.strip_prefix(&prefix).unwrap_or_else(|| panic!("no file in {error}")).to_owned()
}

fn replaced(from: &str, to: &str) -> String {
    error_of(|text| {
        assert!(text.contains(from), "{from:?}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn misspelt_keys_are_refused_with_a_suggestion() {
    let error = replaced("\"inputs\"", "\"input\"");
    assert!(error.starts_with("9: input: unknown key, expected one of format, name"), "{error}");
    assert!(error.ends_with("did you mean `inputs`?"), "{error}");
    let error = replaced("\"relu\"", "\"rellu\"");
    assert!(
        error.contains("layers[1].type: found \"rellu\", expected one of linear")
            && error.ends_with("did you mean `relu`?"),
        "{error}"
    );
}

#[test]
fn the_line_of_a_mistake_is_named() {
    let error = error_of(|_| {
        "{\n\"format\": 1,\n\"name\": \"m\",\n\"weights\": {\"file\": \"w\", \"sha256\": \"00\"},\n\
         \"inputs\": 2,\n\"layers\": [],\n\"output\": \"logit\"\n}"
            .to_owned()
    });
    assert!(error.starts_with("4: weights.sha256: found \"00\", expected 64 hexadecimal digits"), "{error}");
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    for (from, to, expected) in [
        ("\"in\": 32", "\"in\": 31", "layers[0].in: found 31, expected 32, as inputs says"),
        ("\"in\": 16", "\"in\": 17", "layers[2].in: found 17, expected 16, as the layers before it give"),
        ("\"out\": 1\n", "\"out\": 2\n", "layers: expected the last layer to give 1 number, it gives 2"),
        (
            "\"type\": \"relu\"",
            "\"type\": \"relu\", \"alpha\": 1",
            "layers[1].alpha: a relu layer takes name only",
        ),
        ("\"name\": \"fc2\"", "\"name\": \"fc1\"", "layers[2].name: an earlier layer has this name"),
        ("\"out\": 16", "\"features\": 16", "layers[0].out: missing: a linear layer needs it"),
    ] {
        let error = replaced(from, to);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_second_sigmoid_is_refused() {
    let error = error_of(|text| {
        text.replacen("\n ],\n \"output\"", ",\n  {\"type\": \"sigmoid\"}\n ],\n \"output\"", 1)
    });
    assert!(error.contains("output: found \"logit\" after a final sigmoid layer"), "{error}");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let normalisation =
        |value: &str| replaced("\"normalisation\": null", &format!("\"normalisation\": {value}"));
    let zeros = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    for (error, expected) in [
        (
            normalisation(&format!("{{\"mean\": {}}}", zeros(31))),
            "normalisation.mean: found 31, expected 32 numbers",
        ),
        (
            normalisation(&format!("{{\"std\": {}}}", zeros(32))),
            "normalisation.std[0]: found 0, expected more than 0",
        ),
        (normalisation("{\"clip\": -1}"), "normalisation.clip: found -1, expected more than 0"),
        (
            normalisation("{\"log\": {\"offset\": -1}}"),
            "normalisation.log.offset: found -1, expected 0 or more",
        ),
        (replaced("\"format\": 1", "\"format\": 4"), "format: found 4, expected 1, 2 or 3"),
        (replaced("\"inputs\": 32", "\"inputs\": 0"), "inputs: found 0, expected 1 to 65536 (inputs_max)"),
        (
            replaced("\"inputs\": 32", "\"inputs\": 32, \"threshold\": 1.5"),
            "threshold: found 1.5, expected a probability",
        ),
        (
            replaced("\"inputs\": 32", "\"inputs\": 32, \"features\": []"),
            "features: found 0, expected 32 features",
        ),
        (
            replaced("\"inputs\": 32", "\"inputs\": \"32\""),
            "inputs: found \"32\", expected 1 to 65536 (inputs_max)",
        ),
        (
            replaced("\"file\": \"", "\"file\": \"../"),
            "weights.file: found \"../model.safetensors\", expected the name of a file beside",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn misspelt_members_are_refused_before_what_follows_from_them() {
    for (from, to, expected) in [
        ("\"inputs\": 32", "\"inputs\": 32, \"layuot\": {}", "layuot: unknown key, expected one of format"),
        ("\"inputs\": 32", "\"inputs\": 32, \"layuot\": {}", "did you mean `layout`?"),
        ("\"in\": 32", "\"inn\": 32", "layers[0].inn: a linear layer does not take it; did you mean `in`?"),
        (
            "\"in\": 32",
            "\"in\": 32, \"bais\": true",
            "layers[0].bais: a linear layer takes name, in, out, bias only; did you mean `bias`?",
        ),
        ("\"type\": \"relu\"", "\"typ\": \"relu\"", "layers[1].typ: unknown key, expected"),
        ("\"sha256\"", "\"sha265\"", "weights.sha265: unknown key, expected one of file, sha256"),
    ] {
        let error = replaced(from, to);
        assert!(error.contains(expected), "{expected:?} not in {error}");
        assert!(error.starts_with(|first: char| first.is_ascii_digit()), "no line in {error}");
    }
}

#[test]
fn values_of_another_kind_are_refused() {
    for (from, to, expected) in [
        (
            "\"in\": 32",
            "\"in\": \"32\"",
            "layers[0].in: found \"32\", expected 1 to 1048576 (layer_features_max)",
        ),
        ("\"in\": 32", "\"in\": -1", "layers[0].in: found -1, expected 1 to 1048576"),
        ("\"in\": 32", "\"in\": 0", "layers[0].in: found 0, expected 1 to 1048576 (layer_features_max)"),
        ("\"in\": 32", "\"in\": 32, \"bias\": 1", "layers[0].bias: found 1, expected true or false"),
        ("\"type\": \"relu\"", "\"type\": 7", "layers[1].type: found 7, expected text: one of linear"),
        (
            "\"type\": \"relu\"",
            "\"type\": \"elu\", \"alpha\": 0",
            "layers[1].alpha: found 0, expected a number of more than 0",
        ),
        (
            "\"output\": \"logit\"",
            "\"output\": \"logits\"",
            "output: found \"logits\", expected one of probability",
        ),
        ("\"inputs\": 32", "\"inputs\": 32, \"labels\": [\"ok\"]", "labels: found 1, expected two words"),
        (
            "\"inputs\": 32",
            "\"inputs\": 32, \"source\": \"a\", \"origin\": \"b\"",
            "origin: it is another word for source",
        ),
        ("\"inputs\": 32", "\"inputs\": 32, \"layout\": {}", "layout.order: is missing"),
        ("\"inputs\": 32", "\"inputs\": 32, \"inputs\": 32", "the key `inputs` is there already, on line"),
        ("\"inputs\": 32", "\"inputs\": 1e999", "number out of range"),
    ] {
        let error = replaced(from, to);
        assert!(error.contains(expected), "{expected:?} not in {error}");
        assert!(error.starts_with(|first: char| first.is_ascii_digit()), "no line in {error}");
    }
    let error = error_of(|_| "{\"format\": 1,\n}".to_owned());
    assert!(error.starts_with("2: this is no JSON"), "{error}");
    let error = replaced("\"name\": \"plain\",", "");
    assert_eq!(error, "1: name: is missing");
}

/// Every `config.json` below `directory`.
fn configs(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            configs(&path, found);
        } else if path.ends_with("config.json") {
            found.push(path);
        }
    }
}

/// `config`, written and read.
fn again(config: &Config) -> Config {
    Config::parse(&config.to_json(), Path::new("written.json")).unwrap()
}

#[test]
fn what_is_written_reads_as_the_same_model() {
    let mut paths = Vec::new();
    for directory in ["models", "tests/fixtures", "examples"] {
        configs(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut paths);
    }
    assert!(paths.len() >= 10, "{paths:?}");
    for path in paths {
        let config = Config::parse(&fs::read_to_string(&path).unwrap(), &path).unwrap();
        assert_eq!(again(&config), config, "{}", path.display());
    }
}

#[test]
fn a_written_description_loads_with_the_weights_that_it_was_read_with() {
    let model = ModelDirectory::with(net("normalised"));
    let mut before = Detector::load(model.path()).unwrap();
    fs::write(model.path().join("config.json"), before.info().config.to_json()).unwrap();
    let mut after = Detector::load(model.path()).unwrap();
    assert_eq!(after.info(), before.info());
    let row = [0.25, -1.5, 3.0, 0.0, 1e-3];
    let bits = |model: &mut Detector| model.predict(&row).unwrap().score().to_bits();
    assert_eq!(bits(&mut after), bits(&mut before));
}

#[test]
fn layers_that_were_guessed_can_be_written_down() {
    let model = ModelDirectory::with(net("plain"));
    let described = fs::read(model.path().join("config.json")).unwrap();
    fs::remove_file(model.path().join("config.json")).unwrap();
    let guessed = Detector::load(model.path()).unwrap();
    assert!(guessed.info().origin.is_inferred());
    fs::write(model.path().join("config.json"), guessed.info().config.to_json()).unwrap();
    let read = Detector::load(model.path()).unwrap();
    assert!(!read.info().origin.is_inferred());
    assert_eq!(read.info().config, guessed.info().config);
    let author = Config::parse(&String::from_utf8(described).unwrap(), Path::new("config.json")).unwrap();
    assert_eq!(read.info().layers, author.layers);
}

/// A finite number as a network has them.
fn number() -> impl Strategy<Value = f32> {
    prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO
}

fn positive() -> impl Strategy<Value = f32> {
    prop::num::f32::NORMAL | prop::num::f32::POSITIVE | prop::num::f32::SUBNORMAL
}

fn wide_positive() -> impl Strategy<Value = f64> {
    (positive(), 0.5_f64..1.0)
        .prop_map(|(narrow, part)| f64::from(narrow.abs()) * part)
        .prop_filter("in f32", |wide| (*wide as f32) > 0.0)
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        select(vec![
            Activation::Relu,
            Activation::Tanh,
            Activation::Sigmoid,
            Activation::Gelu,
            Activation::Silu,
        ]),
        prop::num::f64::NORMAL.prop_map(|negative_slope| Activation::LeakyRelu { negative_slope }),
        wide_positive().prop_map(|alpha| Activation::Elu { alpha }),
    ]
}

/// What a layer may be that keeps the number of samples and takes `width` numbers of each.
#[derive(Debug, Clone)]
struct Drawn {
    kind: usize,
    outputs: usize,
    kernel: usize,
    padding: usize,
    flag: bool,
    eps: f64,
    activation: Activation,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let sizes = (0_usize..6, 1_usize..40, 1_usize..4, 0_usize..2);
    (sizes, any::<bool>(), wide_positive(), activation()).prop_map(
        |((kind, outputs, kernel, padding), flag, eps, activation)| {
            let padding = padding.min(kernel / 2);
            Drawn { kind, outputs, kernel, padding, flag, eps, activation }
        },
    )
}

/// The layers that were drawn, made to fit to one another, with one number at the end: over a sequence of
/// `samples` samples of `width` channels where there are any, else over `width` features.
fn chain(drawn: &[Drawn], mut width: usize, mut samples: Option<usize>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (at, one) in drawn.iter().enumerate() {
        let name = format!("layer{at}");
        let Drawn { outputs, kernel, padding, flag, eps, .. } = *one;
        let windows = |samples: usize| (samples + 2 * padding).checked_sub(kernel).map(|room| room + 1);
        match (one.kind, samples) {
            (0, _) => {
                let inputs = std::mem::replace(&mut width, outputs);
                layers.push(Layer::Linear(Linear { name, inputs, outputs, bias: flag }));
            }
            (1, _) => layers.push(Layer::BatchNorm(BatchNorm { name, features: width, eps, affine: flag })),
            (2, Some(now)) if windows(now).is_some() => {
                let inputs = std::mem::replace(&mut width, outputs);
                samples = windows(now);
                let stride = 1;
                layers.push(Layer::Conv1d(Conv1d {
                    stride,
                    padding: padding.into(),
                    bias: flag,
                    ..Conv1d::new(name, inputs, outputs, kernel)
                }));
            }
            (3, Some(now)) if windows(now).is_some() => {
                samples = windows(now);
                layers.push(Layer::MaxPool1d(MaxPool1d { kernel, stride: 1, padding }));
            }
            (4, Some(_)) => {
                let inputs = std::mem::replace(&mut width, outputs);
                let returns = if flag { Returns::Last } else { Returns::Sequence };
                if flag {
                    samples = None;
                }
                layers.push(Layer::Lstm(Lstm { bias: !flag, returns, ..Lstm::new(name, inputs, outputs) }));
            }
            (4, None) => {
                samples = Some(kernel);
                layers.push(Layer::Repeat(Repeat { samples: kernel }));
            }
            _ => layers.push(Layer::Activation(one.activation)),
        }
    }
    match samples {
        Some(samples) if samples.is_multiple_of(2) => {
            width *= samples;
            layers.push(Layer::Flatten(Flatten::default()));
        }
        Some(_) => layers.push(Layer::GlobalAveragePool(GlobalAveragePool {})),
        None => {}
    }
    layers.push(Layer::Linear(Linear { name: "last".to_owned(), inputs: width, outputs: 1, bias: true }));
    layers
}

fn normalisation(inputs: usize) -> impl Strategy<Value = Normalisation> {
    let log = prop::option::of(
        (any::<bool>(), positive()).prop_map(|(abs, offset)| Log { abs, offset: offset.abs() }),
    );
    let mean = prop::option::of(prop::collection::vec(number(), inputs));
    let std = prop::option::of(prop::collection::vec(positive().prop_map(f32::abs), inputs));
    let clip = prop::option::of(positive().prop_map(f32::abs));
    (log, mean, std, clip).prop_map(|(log, mean, std, clip)| Normalisation { log, mean, std, clip })
}

fn golden(inputs: usize) -> impl Strategy<Value = Golden> {
    let tolerance = (1e-30_f32..0.999).boxed();
    (prop::collection::vec(number(), inputs), 0.0_f32..=1.0, tolerance)
        .prop_map(|(input, output, tolerance)| Golden { input, output, tolerance })
}

fn config() -> impl Strategy<Value = Config> {
    let order = select(vec![Order::ChannelsSamples, Order::SamplesChannels]);
    let layout = (order, 1_usize..5, 1_usize..20);
    let layout = layout.prop_map(|(order, channels, samples)| Layout { order, channels, samples });
    let rows = (1_usize..20, prop::option::of(layout), prop::collection::vec(drawn(), 0..8));
    let texts = (".{1,12}", prop::option::of(".{0,12}"), prop::option::of(".{0,40}"), any::<bool>());
    (rows, texts, 0.0_f32..=1.0).prop_flat_map(|((features, layout, drawn), texts, threshold)| {
        let inputs = layout.map_or(features, |layout| layout.channels * layout.samples);
        let (name, version, text, are_named) = texts;
        let mut config = Config::new(name, inputs);
        config.layers = match layout {
            Some(layout) => chain(&drawn, layout.channels, Some(layout.samples)),
            None => chain(&drawn, features, None),
        };
        (config.version, config.description, config.source) = (version, text.clone(), text);
        (config.layout, config.threshold) = (layout, threshold);
        config.weights = WeightsFile { file: "model.safetensors".to_owned(), sha256: "ab".repeat(32) };
        if are_named {
            let unit = |at: usize| at.is_multiple_of(2).then(|| "m/s\u{b2}".to_owned());
            let feature = |at| Feature { name: format!("feature \"{at}\""), unit: unit(at) };
            config.features = (0..inputs).map(feature).collect();
            config.labels = ["healthy".to_owned(), "\u{1f525}".to_owned()];
            config.output = Output::Logit;
        }
        let optional = (prop::option::of(normalisation(inputs)), prop::option::of(golden(inputs)));
        optional.prop_map(move |(normalisation, golden)| {
            let mut config = config.clone();
            (config.normalisation, config.golden) = (normalisation, golden);
            config
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_model_that_is_written_reads_as_itself(config in config()) {
        prop_assert_eq!(again(&config), config);
    }

    #[test]
    fn any_reconstruction_that_is_written_reads_as_itself(midpoint in wide_positive(), scale in wide_positive()) {
        let mut config = Config::new("autoencoder", 3);
        config.weights = WeightsFile { file: "w.pt".to_owned(), sha256: "00".repeat(32) };
        config.layers = vec![Layer::Linear(Linear { name: "all".to_owned(), inputs: 3, outputs: 3, bias: false })];
        config.output = Output::Reconstruction { midpoint, scale };
        prop_assert_eq!(again(&config), config);
    }
}
