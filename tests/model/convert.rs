//! Conversion of files that hold more than one network's weights: sets are joined, tensors left out and
//! renamed.

use std::fs;
use std::path::Path;

use nearfar::model::{ConvertOptions, Converted, Detector, convert};
use serde_json::json;
use tempfile::TempDir;

use crate::support::models::{ModelDirectory, assert_close, f32s, fixture, read};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Options with these keys, patterns to drop, and renames.
fn options(keys: &[&str], drop: &[&str], renames: &[&str]) -> ConvertOptions {
    let renames = renames.iter().map(|rename| rename.parse().unwrap()).collect();
    ConvertOptions { keys: texts(keys), drop: texts(drop), renames, ..ConvertOptions::default() }
}

/// `pt/more/usad.pt`, three state dicts in one file, converted into `directory`.
fn usad(directory: &Path, options: &ConvertOptions) -> Result<Converted, String> {
    let (source, target) = (fixture("pt/more/usad.pt"), directory.join("model.safetensors"));
    convert(&source, &target, options)
        .map_err(|error| error.to_string().replace(&source.display().to_string(), "usad.pt"))
}

fn names(converted: &Converted) -> Vec<&str> {
    converted.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

#[test]
fn sets_are_joined_under_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let joined = usad(directory.path(), &options(&["encoder", "decoder1"], &[], &[])).unwrap();
    assert!(joined.format.ends_with("state dict at encoder, state dict at decoder1"), "{}", joined.format);
    assert_eq!(names(&joined)[..2], ["encoder.linear1.weight", "encoder.linear1.bias"]);
    assert_eq!(names(&joined)[6], "decoder1.linear1.weight");
    assert_eq!(joined.tensors.len(), 12);
    let alone = usad(directory.path(), &options(&["decoder1"], &[], &[])).unwrap();
    assert_eq!(names(&alone)[0], "linear1.weight");
}

#[test]
fn tensors_are_left_out_and_renamed() {
    let directory = tempfile::tempdir().unwrap();
    let changes = options(&["encoder", "decoder1"], &["encoder.*", "*.bias"], &["decoder1.linear*=d.fc*"]);
    let converted = usad(directory.path(), &changes).unwrap();
    assert_eq!(names(&converted), ["d.fc1.weight", "d.fc2.weight", "d.fc3.weight"]);
}

#[test]
fn slips_are_told() {
    let directory = tempfile::tempdir().unwrap();
    for (keys, drop, renames, expected) in [
        (&[][..], &[][..], &[][..], "or join some (--key KEY --key KEY)"),
        (&["encoder", "decoder"], &[], &[], "no set of tensors at key \"decoder\": the file holds"),
        (&["encoder", "encoder"], &[], &[], "--key encoder stands there twice"),
        (&["encoder"], &["rnn.*"], &[], "usad.pt: --drop rnn.*: no tensor matches"),
        (&["encoder"], &[], &["rnn.*=lstm.*"], "usad.pt: --rename rnn.*: no tensor matches"),
        (&["encoder", "decoder1"], &[], &["*.linear1.weight=w"], "usad.pt: two tensors would be called w"),
    ] {
        let error = usad(directory.path(), &options(keys, drop, renames)).unwrap_err();
        assert!(error.contains(expected), "{expected:?} not in {error}");
    }
    assert!(!directory.path().join("model.safetensors").exists());
}

/// A directory with the description of the published USAD, whose hash is still to be filled in.
fn described() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("published/usad/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["weights"]["sha256"] = json!("...");
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    directory
}

#[test]
fn what_the_layers_do_not_use_is_listed_and_left_out_when_that_is_allowed() {
    let directory = described();
    let keys = ["encoder", "decoder1", "decoder2"];
    let error = usad(directory.path(), &options(&keys, &[], &[])).unwrap_err();
    let expected =
        "its layers do not use decoder2.linear1.weight, decoder2.linear1.bias, decoder2.linear2.weight";
    assert!(error.contains(expected) && error.contains("--allow-unused, or --drop"), "{error}");
    let allowed = ConvertOptions { allow_unused: true, ..options(&keys, &[], &[]) };
    let converted = usad(directory.path(), &allowed).unwrap();
    assert_eq!((converted.tensors.len(), converted.unused.len()), (12, 6));
    let config = fs::read_to_string(directory.path().join("config.json")).unwrap();
    fs::write(directory.path().join("config.json"), config.replace("...", &converted.sha256)).unwrap();
    let mut detector = Detector::load(directory.path()).unwrap();
    let mut predictions = Vec::new();
    detector.predict_batch(&read(&fixture("published/usad/inputs.f32")), &mut predictions).unwrap();
    assert_close(&predictions, &read(&fixture("published/usad/outputs.f32")), "usad");
}

#[test]
fn without_a_description_nothing_is_unused() {
    let directory = tempfile::tempdir().unwrap();
    let allowed = ConvertOptions { allow_unused: true, ..options(&["encoder"], &[], &[]) };
    let error = usad(directory.path(), &allowed).unwrap_err();
    assert!(error.contains("leave tensors out by their names (--drop)"), "{error}");
    // A description with a mistake is told when it is needed, and is no reason to write no weights otherwise.
    fs::write(directory.path().join("config.json"), "{\"weights\": {\"file\": \"model.safetensors\"}}")
        .unwrap();
    assert!(usad(directory.path(), &allowed).unwrap_err().contains("config.json:1: format: is missing"));
    assert!(usad(directory.path(), &options(&["encoder"], &[], &[])).is_ok());
}

/// TorchScript's code is not read; its tensors are, which is enough where layers can describe the network.
#[test]
fn a_torchscript_archive_comes_with_the_way_to_export_it() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    let source = fixture("pt/more/torchscript_script.pt");
    let advice = convert(&source, &target, &ConvertOptions::default()).unwrap().advice.unwrap();
    assert!(advice.contains("torch.onnx.export(torch.jit.load("), "{advice}");
    let error = Detector::load(&source).unwrap_err().to_string();
    assert!(error.contains("; or it is a TorchScript archive"), "{error}");
    assert!(error.contains("`nearfar convert model.onnx DIR`"), "{error}");
}

/// Weights kept in parts are put together wherever a file is read.
#[test]
fn folded_weights_are_converted_folded() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    for (name, said) in [
        ("normed_weight_old", "weight norm of 6 folded"),
        ("normed_weight_new", "weight norm of 6 folded"),
        ("normed_spectral_old", "spectral norm of 2 folded"),
        ("normed_spectral_new", "spectral norm of 2 folded"),
        ("normed_recurrent", "weight norm of 1 folded"),
    ] {
        let source = fixture(&format!("layers/{name}"));
        let converted =
            convert(&source.join("model.safetensors"), &target, &ConvertOptions::default()).unwrap();
        assert!(converted.format.ends_with(said), "{}", converted.format);
        let model = ModelDirectory::with(source.clone());
        fs::copy(&target, model.path().join("model.safetensors")).unwrap();
        model.seal();
        let (mut folded, mut original) =
            (Detector::load(model.path()).unwrap(), Detector::load(&source).unwrap());
        let row = f32s(3, folded.info().inputs);
        assert_eq!(folded.predict(&row).unwrap(), original.predict(&row).unwrap(), "{name}");
    }
}
