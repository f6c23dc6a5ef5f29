//! `config.json`: each mistake is named with its file, line and key, what was found, what was expected.

use std::fs;

use nearfar::model::Detector;

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
        (replaced("\"format\": 1", "\"format\": 2"), "format: found 2, expected 1"),
        (replaced("\"inputs\": 32", "\"inputs\": 0"), "inputs: found 0, expected 1 to 65536 (inputs_max)"),
        (
            replaced("\"inputs\": 32", "\"inputs\": 32, \"threshold\": 1.5"),
            "threshold: found 1.5, expected a probability",
        ),
        (
            replaced("\"inputs\": 32", "\"inputs\": 32, \"features\": []"),
            "features: found 0, expected 32 features",
        ),
        (replaced("\"inputs\": 32", "\"inputs\": \"32\""), "inputs: found \"32\", expected a whole number"),
        (
            replaced("\"file\": \"", "\"file\": \"../"),
            "weights.file: found \"../model.safetensors\", expected the name of a file beside",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}
