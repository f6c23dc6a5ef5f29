//! Dense networks: predictions equal those that PyTorch recorded, batched equals
//! single, and whatever does not fit is refused.

use std::fs;
use std::path::PathBuf;

use nearfar::model::{Detector, LoadError, Model, ModelError, ModelInfo};
use proptest::prelude::*;

use crate::support::models::{ModelDirectory, TOLERANCE, assert_close, f32s, fixture, net, read};

#[test]
fn predictions_equal_those_of_pytorch() {
    for name in ["plain", "batch_norm", "deep", "normalised"] {
        let directory = fixture(&format!("pt/nets/{name}"));
        let mut detector = Detector::load(&directory).unwrap();
        let inputs = read(&directory.join("inputs.f32"));
        let expected = read(&directory.join("outputs.f32"));
        let mut batched = Vec::new();
        detector.predict_batch(&inputs, &mut batched).unwrap();
        assert_close(&batched, &expected, name);
        for (row, expected) in inputs.chunks(detector.info().inputs).zip(expected) {
            assert_close(&[detector.predict(row).unwrap().score()], &[expected], name);
        }
        assert!(!detector.info().origin.is_inferred());
    }
}

/// The example of docs/models.md, whose numbers stand in its script.
#[test]
fn the_documented_network_answers_what_is_said_of_it() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/models.md")).unwrap();
    let (_, section) = docs.split_once("## A dense network").unwrap();
    let block =
        |language: &str| section.split_once(language).unwrap().1.split_once("```").unwrap().0.to_owned();
    let (config, script) = (serde_json::from_str(&block("```json\n")).unwrap(), block("```python\n"));
    for numbers in ["[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]", "[[1.0, 1.0, 2.0]]", "[-3.0]"] {
        assert!(script.contains(numbers), "{script}");
    }
    let tensors = [
        ("0.weight", vec![3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]),
        ("0.bias", vec![3], vec![0.0; 3]),
        ("2.weight", vec![1, 3], vec![1.0, 1.0, 2.0]),
        ("2.bias", vec![1], vec![-3.0]),
    ];
    let model = ModelDirectory::of(&config, &tensors);
    let mut pump = Detector::load(model.path()).unwrap();
    let probability = pump.predict(&[1_000.0, 80.0]).unwrap().score();
    assert!(section.contains(&format!("\"prediction\":{probability},")), "{probability}");
    // Weights as `x @ W` has them.
    let [weight, bias, mut transposed, last] = tensors;
    transposed.1 = vec![3, 1];
    let model = ModelDirectory::of(&config, &[weight, bias, transposed, last]);
    let refused = Detector::load(model.path()).unwrap_err().to_string();
    assert!(refused.contains("2.weight is (3, 1) in the file, expected (1, 3)"), "{refused}");
}

#[test]
fn without_a_config_a_dense_chain_is_inferred() {
    let mut detector = Detector::load(fixture("pt/reference.safetensors")).unwrap();
    assert!(detector.info().origin.is_inferred());
    assert_eq!((detector.info().inputs, detector.info().parameters()), (32, 545));
    assert_eq!(detector.info().name, "reference");
    let mut batched = Vec::new();
    detector.predict_batch(&read(&fixture("pt/inputs_32x32.f32")), &mut batched).unwrap();
    assert_close(&batched, &read(&fixture("pt/outputs_32x1.f32")), "reference");
}

#[test]
fn a_config_beside_a_file_is_used_when_it_names_it() {
    let beside = Detector::load(fixture("pt/nets/deep/model.safetensors")).unwrap();
    assert_eq!(beside.info().name, "deep");
    assert!(!beside.info().origin.is_inferred());

    let model = ModelDirectory::with(net("plain"));
    let other = model.path().join("other.safetensors");
    fs::copy(model.path().join("model.safetensors"), &other).unwrap();
    let unnamed = Detector::load(&other).unwrap();
    assert!(unnamed.info().origin.is_inferred(), "config.json names another file");
}

#[test]
fn a_directory_with_weights_alone_is_a_model() {
    let model = ModelDirectory::with(net("plain"));
    fs::remove_file(model.path().join("config.json")).unwrap();
    let detector = Detector::load(model.path()).unwrap();
    assert!(detector.info().origin.is_inferred());
    assert_eq!(detector.info().name, model.path().file_name().unwrap().to_str().unwrap());
}

#[test]
fn rows_of_another_length_are_refused() {
    let mut detector = Detector::load(fixture("pt/nets/plain")).unwrap();
    let short = detector.predict(&[0.0; 31]).unwrap_err();
    assert_eq!(short.to_string(), "expected 32 features, got 31");
    let ragged = detector.predict_batch(&[0.0; 33], &mut Vec::new()).unwrap_err();
    assert!(matches!(ragged, ModelError::Shape { inputs: 32, values: 33 }));
    let mut none = vec![1.0];
    detector.predict_batch(&[], &mut none).unwrap();
    assert!(none.is_empty());
}

#[test]
fn one_bad_row_does_not_spoil_its_batch() {
    let mut detector = Detector::load(fixture("pt/nets/plain")).unwrap();
    let good = detector.predict(&[0.5; 32]).unwrap().score();
    let mut rows = [0.5; 96];
    rows[40] = f32::NAN;
    let mut predictions = Vec::new();
    detector.predict_batch(&rows, &mut predictions).unwrap();
    assert!(predictions[1].is_nan());
    assert_close(&[predictions[0], predictions[2]], &[good, good], "neighbours");
    assert!(matches!(detector.predict(&rows[32..64]), Err(ModelError::NotFinite { .. })));
}

#[test]
fn an_output_outside_zero_to_one_is_no_probability() {
    let model = said_to_be_probable(0.25, Some(0.75));
    let mut detector = Detector::load(model.path()).unwrap();
    let mut predictions = Vec::new();
    detector.predict_batch(&[0.5, -6.0, 0.75, 0.8], &mut predictions).unwrap();
    assert_eq!((predictions[0], predictions[2]), (0.75, 1.0));
    assert!(predictions[1].is_nan() && predictions[3].is_nan(), "{predictions:?}");
}

/// A model that says it gives a probability and gives its only feature plus `bias`.
fn said_to_be_probable(bias: f32, golden: Option<f32>) -> ModelDirectory {
    let model = ModelDirectory::random(&[1], 3);
    let path = model.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let data = bytes.len() - 8;
    bytes[data..].copy_from_slice(&[1.0f32.to_le_bytes(), bias.to_le_bytes()].concat());
    fs::write(path, bytes).unwrap();
    model.edit(|config| {
        config["output"] = "probability".into();
        if let Some(output) = golden {
            config["golden"] = serde_json::json!({"input": [0.5], "output": output});
        }
    });
    model.seal();
    model
}

#[test]
fn a_logit_that_is_called_a_probability_is_told_when_the_model_is_loaded_and_at_a_row() {
    let told = |model: ModelDirectory| Detector::load(model.path()).unwrap_err().to_string();
    let logit = told(said_to_be_probable(-5.6, None));
    for part in
        ["config.json: output: 32 of 32 inputs", "outside [0, 1]: is it a logit?", "\"output\": \"logit\""]
    {
        assert!(logit.contains(part), "{logit}");
    }
    let golden = told(said_to_be_probable(-5.5, Some(0.25)));
    assert!(
        golden.contains("the golden input") && golden.contains("output is -5, outside [0, 1]"),
        "{golden}"
    );
    // What its author has tried with success may be a probability.
    let model = said_to_be_probable(0.25, Some(0.75));
    let refused = Detector::load(model.path()).unwrap().predict(&[-6.0]).unwrap_err();
    assert!(matches!(refused, ModelError::Outside { found } if found == -5.75), "{refused}");
    assert!(refused.to_string().contains("is it a logit?"), "{refused}");
}

#[test]
fn damaged_weights_are_refused_with_both_hashes() {
    let model = ModelDirectory::with(net("plain"));
    let weights = model.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let error = Detector::load(model.path()).unwrap_err();
    let LoadError::Hash { expected, found, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(expected) && error.to_string().contains(found));
    assert_ne!(expected, found);
}

#[test]
fn a_wrong_golden_vector_is_refused() {
    let model = ModelDirectory::with(net("plain"));
    model.edit(|config| config["golden"]["output"] = 0.123.into());
    let error = Detector::load(model.path()).unwrap_err().to_string();
    assert!(error.contains("expected 0.123") && error.contains("the model answers"), "{error}");
}

#[test]
fn tensors_that_do_not_fit_are_named_on_both_sides() {
    let model = ModelDirectory::with(net("plain"));
    model.edit(|config| {
        config["layers"][0]["out"] = 8.into();
        config["layers"][2]["in"] = 8.into();
        config["layers"][2]["name"] = "head".into();
    });
    let error = Detector::load(model.path()).unwrap_err().to_string();
    for part in [
        "fc1.weight is (16, 32) in the file, expected (8, 32)",
        "head.weight (1, 8) is missing",
        "fc2.weight (1, 16) is in the file and not used",
        "expected fc1.weight (8, 32), fc1.bias (8), head.weight (1, 8), head.bias (1)",
        "the file holds",
    ] {
        assert!(error.contains(part), "{part:?} not in {error}");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let model = ModelDirectory::with(net("plain"));
    let weights = model.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    model.seal();
    let error = Detector::load(model.path()).unwrap_err().to_string();
    assert!(error.contains("NaN at element"), "{error}");
}

#[test]
fn paths_without_a_model_are_refused_in_words() {
    let empty = tempfile::tempdir().unwrap();
    let cases: [(PathBuf, &str); 3] = [
        (empty.path().to_owned(), "found neither"),
        (empty.path().join("absent"), "cannot read"),
        (fixture("make_pt.py"), "ends in .safetensors, .onnx, .pt"),
    ];
    for (path, part) in cases {
        let error = Detector::load(path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_config_may_name_a_checkpoint() {
    let model = ModelDirectory::with(net("plain"));
    let bytes = fs::read(fixture("pt/good/e_legacy.pt")).unwrap();
    fs::write(model.path().join("model.safetensors"), &bytes).unwrap();
    fs::write(model.path().join("legacy.pt"), bytes).unwrap();
    model.seal();
    model.edit(|config| {
        config["weights"]["file"] = "legacy.pt".into();
        config.as_object_mut().unwrap().remove("golden");
    });
    let mut detector = Detector::load(model.path()).unwrap();
    assert!(!detector.info().origin.is_inferred());
    let mut batched = Vec::new();
    detector.predict_batch(&read(&fixture("pt/inputs_32x32.f32")), &mut batched).unwrap();
    assert_close(&batched, &read(&fixture("pt/outputs_32x1.f32")), "legacy");
}

#[test]
fn a_file_beyond_its_bound_is_refused_unread() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    // Sparse: it takes no room on the disk.
    fs::File::create(&path).unwrap().set_len((2 << 30) + 1).unwrap();
    let error = Detector::load(&path).unwrap_err().to_string();
    assert!(error.contains("has 2147483649 bytes, more than 2147483648 (weights_bytes_max)"), "{error}");
}

#[test]
fn a_model_of_ones_own_makes_a_detector() {
    struct Mean;
    impl Model for Mean {
        fn inputs(&self) -> usize {
            2
        }
        fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
            predictions.extend(rows.chunks(2).map(|row| (row[0] + row[1]) / 2.0));
            Ok(())
        }
    }
    let mut detector = Detector::from_parts(ModelInfo::new("mean", 2), Box::new(Mean));
    assert_eq!(detector.predict(&[0.25, 0.75]).unwrap().score(), 0.5);
    assert!(detector.info().is_anomaly(0.5) && !detector.info().is_anomaly(0.49));
    assert_eq!(detector.info().label(0.9), "anomaly");
    assert_eq!(detector.into_parts().1.inputs(), 2);
}

#[test]
fn a_replica_answers_alike_on_another_thread_when_the_first_is_gone() {
    let model = ModelDirectory::random(&[8, 300, 900, 1], 3);
    let (_, mut first) = Detector::load(model.path()).unwrap().into_parts();
    let rows = f32s(4, 8 * 40);
    let (mut expected, mut predictions) = (Vec::new(), Vec::new());
    first.predict(&rows, &mut expected).unwrap();
    let mut replica = first.replica().expect("a dense network can be copied");
    drop(first);
    let predictions = std::thread::spawn(move || {
        replica.predict(&rows, &mut predictions).unwrap();
        predictions
    });
    assert_eq!(predictions.join().unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn batched_equals_single(
        widths in prop::collection::vec(1usize..40, 1..5),
        batch in 1usize..130,
        seed in any::<u64>(),
    ) {
        let model = ModelDirectory::random(&widths, seed);
        let mut detector = Detector::load(model.path()).unwrap();
        let rows = f32s(seed ^ 1, batch * widths[0]);
        let mut batched = Vec::new();
        detector.predict_batch(&rows, &mut batched).unwrap();
        for (row, batched) in rows.chunks(widths[0]).zip(&batched) {
            let single = detector.predict(row).unwrap().score();
            prop_assert!((single - batched).abs() <= TOLERANCE, "{single} {batched}");
        }
    }
}
