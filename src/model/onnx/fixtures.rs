//! The models of `tests/fixtures/onnx`: those that must be answered as recorded, those that must be refused,
//! and what becomes of a model when its bytes are changed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::model::graph::{Data, Graph, Kind, Plan, Rows, TensorType, Wanted};

/// What a hostile file may take, generously: the goal is two seconds of a release build on an idle machine.
const HOSTILE_TIME_MAX: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Manifest {
    models: Vec<Model>,
    hostile: Vec<Hostile>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    file: String,
    rows: usize,
    /// How many rows at a time, where that is fixed.
    batch: serde_json::Value,
    expect: String,
    inputs: Vec<Recorded>,
    outputs: Vec<Recorded>,
}

/// An input or an output, as it was recorded.
#[derive(Deserialize)]
struct Recorded {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    file: String,
    data_shape: Vec<usize>,
    #[serde(default)]
    atol: f64,
    #[serde(default)]
    rtol: f64,
    #[serde(default)]
    rows_alone_max_abs: f64,
}

#[derive(Deserialize)]
struct Hostile {
    name: String,
    file: String,
    expect: String,
    compressed: Option<String>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx")
}

fn bytes(file: &str) -> Vec<u8> {
    let path = directory().join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest() -> Manifest {
    serde_json::from_slice(&bytes("manifest.json")).unwrap()
}

fn graph(file: &str) -> Result<Graph, String> {
    let path = directory().join(file);
    super::read(&bytes(file), path.parent()).map_err(|error| error.to_string())
}

impl Recorded {
    fn data(&self) -> Data {
        let bytes = bytes(&self.file);
        match Path::new(&self.file).extension().unwrap().to_str().unwrap() {
            "f32" => Data::F32(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()),
            "f64" => Data::F64(bytes.as_chunks().0.iter().copied().map(f64::from_le_bytes).collect()),
            "i64" => Data::I64(bytes.as_chunks().0.iter().copied().map(i64::from_le_bytes).collect()),
            "json" => {
                let words: Vec<String> = serde_json::from_slice(&bytes).unwrap();
                Data::Text(words.iter().map(|word| Arc::from(word.as_str())).collect())
            }
            other => panic!("{}: {other}", self.name),
        }
    }

    /// What is wrong with `found`, when rows were asked alone or all at once.
    fn differs(&self, found: &Data, alone: bool) -> Option<String> {
        let expected = self.data();
        if found.kind() != expected.kind() || found.len() != expected.len() {
            let (found, expected) = ((found.kind(), found.len()), (expected.kind(), expected.len()));
            return Some(format!("output {} is {found:?}, expected {expected:?} ({})", self.name, self.kind));
        }
        let atol = self.atol + if alone { self.rows_alone_max_abs } else { 0.0 };
        let fits = |found: f64, expected: f64| {
            found == expected
                || found.is_nan() && expected.is_nan()
                || (found - expected).abs() <= atol + self.rtol * expected.abs()
        };
        let first = match (found, &expected) {
            (Data::F32(found), Data::F32(expected)) => found
                .iter()
                .zip(expected)
                .position(|(&found, &expected)| !fits(found.into(), expected.into())),
            (Data::F64(found), Data::F64(expected)) => {
                found.iter().zip(expected).position(|(&found, &expected)| !fits(found, expected))
            }
            (found, expected) => (found != expected).then_some(0),
        };
        first.map(|at| format!("output {}: element {at} is not as recorded", self.name))
    }
}

/// The inputs' types for `rows` rows, where the file leaves their number open.
fn types(graph: &Graph, shapes: &[Vec<usize>], rows: usize) -> Vec<(TensorType, Rows)> {
    let with_rows = |mut shape: Vec<usize>| {
        shape[0] = rows;
        shape
    };
    let inputs = graph.inputs.iter().zip(shapes);
    inputs
        .map(|(input, shape)| {
            (TensorType::new(input.kind, with_rows(shape.clone())), Rows::Axis { axis: 0, each: 1 })
        })
        .collect()
}

fn plan(graph: &Graph, shapes: &[Vec<usize>], rows: usize) -> Result<Plan, String> {
    let prepared = Mutex::default();
    let wanted = |rows| Wanted {
        graph,
        opsets: &graph.opsets,
        inputs: types(graph, shapes, rows),
        outer: Vec::new(),
        rows,
        singles: None,
        prepared: &prepared,
        first_node: 0,
    };
    let (plan, singles) = Plan::with_singles(&wanted(1)).map_err(|error| error.to_string())?;
    if rows == 1 {
        return Ok(plan);
    }
    let many = Wanted { singles: Some(&singles), ..wanted(rows) };
    Plan::new(&many).map_err(|error| error.to_string())
}

/// A part of `data`, or more of it at the end of `all`.
fn part(data: &Data, range: std::ops::Range<usize>) -> Data {
    let mut part = Data::zeros(data.kind(), 0);
    append(&mut part, data, range);
    part
}

fn append(all: &mut Data, data: &Data, range: std::ops::Range<usize>) {
    match (all, data) {
        (Data::F32(all), Data::F32(data)) => all.extend_from_slice(&data[range]),
        (Data::F64(all), Data::F64(data)) => all.extend_from_slice(&data[range]),
        (Data::I64(all), Data::I64(data)) => all.extend_from_slice(&data[range]),
        (Data::I32(all), Data::I32(data)) => all.extend_from_slice(&data[range]),
        (Data::I8(all), Data::I8(data)) => all.extend_from_slice(&data[range]),
        (Data::U8(all), Data::U8(data)) => all.extend_from_slice(&data[range]),
        (Data::Bool(all), Data::Bool(data)) => all.extend_from_slice(&data[range]),
        (Data::Text(all), Data::Text(data)) => all.extend_from_slice(&data[range]),
        (all, data) => panic!("{} after {}", data.kind(), all.kind()),
    }
}

impl Model {
    /// What the graph makes of the recorded rows, `at_once` at a time.
    fn answers(&self, graph: &Graph, at_once: usize) -> Result<Vec<Data>, String> {
        let shapes: Vec<_> = self.inputs.iter().map(|input| input.data_shape.clone()).collect();
        let inputs: Vec<_> = self.inputs.iter().map(Recorded::data).collect();
        let mut plan = plan(graph, &shapes, at_once)?;
        let mut answers: Vec<Data> = Vec::new();
        for row in (0..self.rows).step_by(at_once) {
            for (at, data) in inputs.iter().enumerate() {
                let each = data.len() / self.rows;
                *plan.input(at) = part(data, row * each..(row + at_once) * each);
            }
            plan.run().map_err(|(node, fault)| format!("node {node}: {}", fault.0))?;
            for at in 0..plan.outputs() {
                let output = plan.output(at);
                if answers.len() == at {
                    answers.push(Data::zeros(output.kind(), 0));
                }
                append(&mut answers[at], output, 0..output.len());
            }
        }
        Ok(answers)
    }

    /// Why the model is not answered as recorded.
    fn problem(&self) -> Option<String> {
        let graph = match graph(&self.file) {
            Ok(graph) => graph,
            Err(error) => return Some(error),
        };
        let batch = self.batch.as_u64().map_or(self.rows, |batch| batch as usize);
        [(1, true), (batch, false)].into_iter().find_map(|(at_once, alone)| {
            let answers = match self.answers(&graph, at_once) {
                Ok(answers) => answers,
                Err(_) if self.expect.contains("refusal") => return None,
                // Rows that would meet are run one by one.
                Err(_) if at_once > 1 => return None,
                Err(error) => return Some(error),
            };
            let mut pairs = self.outputs.iter().zip(&answers);
            pairs.find_map(|(output, found)| output.differs(found, alone))
        })
    }
}

#[test]
fn models_are_answered_as_recorded() {
    let models = manifest().models;
    let wrong = |model: &Model| model.problem().map(|problem| format!("{}: {problem}", model.name));
    let wrong: Vec<_> = models.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(models.len(), 179);
}

#[test]
fn hostile_files_are_refused_in_a_sentence() {
    for hostile in manifest().hostile {
        let Hostile { name, file, expect, compressed } = hostile;
        let path = directory().join(&file);
        let mut content = bytes(&file);
        if compressed.is_some() {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&content[..]).read_to_end(&mut unpacked).unwrap();
            content = unpacked;
        }
        let start = Instant::now();
        let answer = super::read(&content, path.parent())
            .map_err(|error| error.to_string())
            .and_then(|graph| once(&graph));
        assert!(start.elapsed() < HOSTILE_TIME_MAX, "{name} took {:?}", start.elapsed());
        match answer {
            Ok(()) => assert!(expect.contains("answer"), "{name} was answered"),
            Err(error) => {
                assert!(!error.is_empty() && !error.chars().any(char::is_control), "{name}: {error:?}");
            }
        }
    }
}

/// Plans and runs `graph` for one row of zeros, and for two.
fn once(graph: &Graph) -> Result<(), String> {
    let sizes = |shape: &[Option<usize>]| shape.iter().map(|size| size.unwrap_or(1)).collect::<Vec<_>>();
    let shapes: Vec<_> = graph.inputs.iter().map(|input| sizes(&input.shape)).collect();
    if shapes.iter().any(Vec::is_empty) || graph.inputs.iter().any(|input| input.kind == Kind::Text) {
        return Err("its inputs are no rows of numbers".to_owned());
    }
    for rows in [1, 2] {
        plan(graph, &shapes, rows)?.run().map_err(|(node, fault)| format!("node {node}: {}", fault.0))?;
    }
    Ok(())
}

/// Small models of every exporter, with functions, bodies, words, quantised weights and older formats.
const MUTATED: [&str; 8] = [
    "local_function",
    "mlp_relu_ts9",
    "zipmap_of_softmax",
    "label_encoder_int_to_float",
    "array_feature_extractor",
    "broadcasting",
    "qdq_static_mlp",
    "standard_scaler",
];
/// Of longer files the bytes that are changed are further apart: structure is at the beginning and the end.
const PLACES_MAX: usize = 1_500;

fn mutated(change: impl Fn(&[u8], usize) -> Vec<u8>) {
    for name in MUTATED {
        let original = bytes(&format!("good/{name}.onnx"));
        for at in (0..original.len()).step_by(original.len().div_ceil(PLACES_MAX)) {
            let start = Instant::now();
            let changed = change(&original, at);
            if let Ok(graph) = super::read(&changed, None) {
                // Whether it can be run is not the question: that nothing panics is.
                let _ = once(&graph);
            }
            assert!(start.elapsed() < HOSTILE_TIME_MAX, "{name}, byte {at}, took {:?}", start.elapsed());
        }
    }
}

#[test]
fn a_model_that_was_cut_off_anywhere_does_no_harm() {
    mutated(|original, at| original[..at].to_vec());
}

#[test]
fn a_model_with_any_byte_changed_does_no_harm() {
    for flip in [0x01, 0x80, 0xff] {
        mutated(|original, at| {
            let mut changed = original.to_vec();
            changed[at] ^= flip;
            changed
        });
    }
}
