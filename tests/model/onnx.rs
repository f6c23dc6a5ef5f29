//! ONNX files as models: read as they are, written as directories, and what they do not say.

use std::fs;
use std::path::Path;

use nearfar::model::{Detector, Label, OnnxOptions, Output, convert_onnx, inspect};
use serde_json::Value;

use crate::support::models::{assert_close, fixture, read};

/// A score that is handed on as the logistic function of itself.
const SCORE: Output = Output::Score { higher_is_anomalous: true, midpoint: 0.0, scale: 1.0 };

fn onnx(name: &str) -> std::path::PathBuf {
    fixture(&format!("onnx/good/{name}.onnx"))
}

fn recorded() -> Vec<Value> {
    let manifest = fs::read(fixture("onnx/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["models"].as_array().unwrap().clone()
}

fn file(name: &Value) -> Vec<f32> {
    read(&fixture(&format!("onnx/{}", name["file"].as_str().unwrap())))
}

/// The rows of a model whose inputs are all single precision, one input after the other.
fn rows(model: &Value) -> Option<Vec<f32>> {
    let inputs = model["inputs"].as_array().unwrap();
    if inputs.iter().any(|input| input["type"] != "float32") {
        return None;
    }
    let rows = model["rows"].as_u64().unwrap() as usize;
    let files: Vec<_> = inputs.iter().map(file).collect();
    let row = |row: usize| {
        files.iter().flat_map(move |file| {
            let each = file.len() / rows;
            file[row * each..(row + 1) * each].to_vec()
        })
    };
    Some((0..rows).flat_map(row).collect())
}

/// The first output that has one number of single precision for a row.
fn score(model: &Value) -> Option<&Value> {
    let outputs = model["outputs"].as_array().unwrap();
    outputs.iter().find(|output| {
        let numbers: u64 =
            output["data_shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).product();
        output["type"] == "float32" && Some(numbers) == model["rows"].as_u64()
    })
}

#[test]
fn a_directory_that_was_written_answers_as_the_file_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let mut judged = 0;
    for model in recorded() {
        let (Some(rows), Some(score)) = (rows(&model), score(&model)) else { continue };
        let name = model["name"].as_str().unwrap();
        let target = directory.path().join(name);
        let value = score["name"].as_str().unwrap().to_owned();
        let options = OnnxOptions { output: Some(SCORE), value: Some(value), ..OnnxOptions::default() };
        convert_onnx(&onnx(name), &target, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut detector = Detector::load(&target).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut found = Vec::new();
        detector.predict_batch(&rows, &mut found).unwrap();
        let expected = file(score);
        let (atol, rtol) = (score["atol"].as_f64().unwrap(), score["rtol"].as_f64().unwrap());
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let expected = f64::from(*expected);
            // The logistic function brings numbers closer together, by a factor of four at least.
            let probability = 1.0 / (1.0 + (-expected).exp());
            let tolerance = atol + rtol * expected.abs() + 1e-6;
            let near = (f64::from(*found) - probability).abs() <= tolerance
                || !expected.is_finite() && found.is_nan();
            assert!(near, "{name}, row {at}: {found}, expected {probability}");
        }
        judged += 1;
    }
    assert_eq!(judged, 76);
}

#[test]
fn an_isolation_forest_answers_as_it_is() {
    let mut forest = Detector::load(onnx("isolation_forest")).unwrap();
    assert_eq!(forest.info().inputs, 12);
    assert!(matches!(forest.info().output, Output::Score { higher_is_anomalous: false, .. }));
    let model = recorded().into_iter().find(|model| model["name"] == "isolation_forest").unwrap();
    let scores = file(&model["outputs"][1]);
    let mut anomalies = 0;
    for (row, score) in rows(&model).unwrap().chunks_exact(12).zip(scores) {
        let probability = forest.predict(row).unwrap().score();
        // Below 0 scikit-learn calls it an outlier.
        assert_eq!(forest.info().is_anomaly(probability), score <= 0.0, "{probability} of {score}");
        anomalies += usize::from(score < 0.0);
    }
    assert!(anomalies > 0);
}

#[test]
fn the_network_of_the_checkpoints_answers_alike_as_the_replaced_system_exports_it() {
    let mut detector = Detector::load(fixture("onnx/replaced_system.onnx")).unwrap();
    assert_eq!(
        (&detector.info().output, detector.info().name.as_str()),
        (&Output::Probability, "replaced_system")
    );
    let mut found = Vec::new();
    detector.predict_batch(&read(&fixture("pt/inputs_32x32.f32")), &mut found).unwrap();
    assert_close(&found, &read(&fixture("pt/outputs_32x1.f32")), "replaced_system.onnx");
}

#[test]
fn what_a_file_does_not_say_is_asked_for() {
    let refused = |name: &str| Detector::load(onnx(name)).unwrap_err().to_string();
    for (name, parts) in [
        ("mlp_relu_ts9", &["does not say what its outputs mean", "\"y\" (1 float32)", "--output"][..]),
        ("ae_mse_two_outputs_ts17", &["does not say", "(32 float32)", "(1 float32)"]),
        ("scaler_logistic_3class_strings", &["does not say", "(1 string)", "(3 float32)"]),
    ] {
        let found = refused(name);
        assert!(parts.iter().all(|part| found.contains(part)), "{name}: {found}");
    }
    let directory = tempfile::tempdir().unwrap();
    let tried = |name: &str, options: OnnxOptions| {
        convert_onnx(&onnx(name), &directory.path().join("tried"), &options)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let output = |output| OnnxOptions { output: Some(output), ..OnnxOptions::default() };
    for (name, options, part) in [
        ("mlp_softmax_ts13", output(Output::Probability), "it gives 5 numbers for a row, expected 1 number"),
        ("mlp_softmax_ts13", output(Output::Class { index: 5 }), "expected more than 5"),
        ("mlp_relu_ts9", output(Output::Reconstruction { midpoint: 1.0, scale: 1.0 }), "expected 32"),
        (
            "mlp_relu_ts9",
            OnnxOptions { value: Some("z".into()), ..output(Output::Logit) },
            "it has no output \"z\"; there are \"y\"",
        ),
        (
            "mlp_relu_ts9",
            OnnxOptions { also: vec!["w".into()], ..output(Output::Logit) },
            "it has no output \"w\"",
        ),
        ("mlp_relu_ts9", output(Output::Probability), "is it a logit?"),
    ] {
        let found = tried(name, options).unwrap_err();
        assert!(found.contains(part), "{name}: {found}");
        assert!(!directory.path().join("tried").exists(), "{name} was written all the same");
    }
}

#[test]
fn what_no_row_could_have_an_answer_of_is_not_written() {
    let manifest: Value = serde_json::from_slice(&fs::read(fixture("onnx/manifest.json")).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for hostile in manifest["hostile"].as_array().unwrap() {
        let (name, file) = (hostile["name"].as_str().unwrap(), hostile["file"].as_str().unwrap());
        if hostile["expect"].as_str().unwrap().contains("answer") || file.ends_with(".gz") {
            continue;
        }
        let target = directory.path().join(name);
        let options = OnnxOptions { output: Some(Output::Class { index: 0 }), ..OnnxOptions::default() };
        let refused = convert_onnx(&fixture(&format!("onnx/{file}")), &target, &options);
        let problem = refused.expect_err(name).to_string();
        assert!(!problem.contains(char::is_control) && !target.exists(), "{name}: {problem:?}");
    }
}

#[test]
fn predictions_carry_what_is_asked_for_beside_the_score() {
    let directory = tempfile::tempdir().unwrap();
    let options = OnnxOptions {
        output: Some(Output::Label { anomaly: Label::Number(-1) }),
        value: Some("label".into()),
        also: vec!["scores".into()],
        ..OnnxOptions::default()
    };
    convert_onnx(&onnx("isolation_forest"), directory.path(), &options).unwrap();
    let mut forest = Detector::load(directory.path()).unwrap();
    assert_eq!(forest.outputs(), 2);
    let model = recorded().into_iter().find(|model| model["name"] == "isolation_forest").unwrap();
    let (rows, scores) = (rows(&model).unwrap(), file(&model["outputs"][1]));
    let mut found = Vec::new();
    forest.predict_batch(&rows, &mut found).unwrap();
    for (found, score) in found.chunks_exact(2).zip(&scores) {
        assert_eq!(found[0], f32::from(u8::from(*score < 0.0)));
        assert!((found[1] - score).abs() < 1e-4);
    }
}

#[test]
fn a_config_beside_the_file_says_what_it_means() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = fs::read(onnx("mlp_relu_ts9")).unwrap();
    fs::write(directory.path().join("net.onnx"), &bytes).unwrap();
    let written = convert_onnx(
        &directory.path().join("net.onnx"),
        &directory.path().join("converted"),
        &OnnxOptions { output: Some(Output::Logit), ..OnnxOptions::default() },
    )
    .unwrap();
    let sha256 = written.config.source.unwrap();
    let sha256 = sha256.rsplit(' ').next().unwrap();
    let config = format!(
        "{{\"format\": 2, \"name\": \"net\", \"inputs\": 32, \"output\": \"logit\", \"threshold\": 0.7, \
         \"weights\": {{\"file\": \"net.onnx\", \"sha256\": \"{sha256}\"}}}}"
    );
    fs::write(directory.path().join("config.json"), config).unwrap();
    let mut described = Detector::load(directory.path()).unwrap();
    let mut converted = Detector::load(directory.path().join("converted")).unwrap();
    assert_eq!(described.info().threshold, 0.7);
    let row = [0.25; 32];
    assert_eq!(described.predict(&row).unwrap(), converted.predict(&row).unwrap());
}

#[test]
fn integers_are_whole_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let options = OnnxOptions { output: Some(Output::Class { index: 0 }), ..OnnxOptions::default() };
    convert_onnx(&onnx("embedding_ts13"), directory.path(), &options).unwrap();
    let mut detector = Detector::load(directory.path()).unwrap();
    let mut row = vec![0.5; 9];
    let refused = detector.predict(&row).unwrap_err().to_string();
    assert!(refused.contains("found the feature 0.5, expected a whole number"), "{refused}");
    row[8] = 1e6;
    let refused = detector.predict(&row).unwrap_err().to_string();
    assert!(refused.contains("Gather"), "{refused}");
    // The row before and the row behind have the answers that they have alone.
    let mut rows = [[0.5; 9]; 3];
    (rows[0][8], rows[2][8]) = (1.0, 2.0);
    let mut found = Vec::new();
    detector.predict_batch(rows.as_flattened(), &mut found).unwrap();
    let alone = rows.map(|row| detector.predict(&row).map_or(f32::NAN, |prediction| prediction.score()));
    let same = |(found, alone): (&f32, &f32)| found == alone || found.is_nan() && alone.is_nan();
    assert!(found[1].is_nan() && found.iter().zip(&alone).all(same), "{found:?}, alone {alone:?}");
}

#[test]
fn a_graph_is_described_with_its_nodes() {
    let inspection = inspect(onnx("cnn_bn_kept_ts13")).unwrap();
    let text = inspection.to_string();
    for part in ["Conv", "ONNX", "does not load"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let graph = inspection.graph.unwrap();
    assert!(graph.nodes.iter().all(|node| node.multiply_adds > 0));
    assert!(graph.dot.starts_with("digraph"));
    assert!(inspect(Path::new("/nowhere.onnx")).is_err());
}
