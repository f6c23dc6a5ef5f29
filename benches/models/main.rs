//! What a call of each kind of model costs, on one thread: `cargo bench --bench models`.
//!
//! Prints `model batch microseconds` in lines, the least of many rounds: what the
//! machine's other work leaves undisturbed. `benches/peers/peers.py` measures the
//! same models in PyTorch and ONNX Runtime, and the ratios.

#[path = "../../tests/support/models.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "helpers of the tests, of which a part is used here")]
mod models;

use std::hint::black_box;
use std::time::{Duration, Instant};

use nearfar::Detector;
use serde_json::{Value, json};

use self::models::{ModelDirectory, f32s};

const BATCHES: [usize; 5] = [1, 8, 32, 128, 1024];
/// Short, so that some rounds fit between two turns of other programs.
const ROUND: Duration = Duration::from_millis(1);
/// For each model and batch.
const MEASURED: Duration = Duration::from_millis(1_500);

type Tensors = Vec<(String, Vec<usize>)>;

fn main() {
    for (name, model) in [
        ("dense_32_16_1", ModelDirectory::random(&[32, 16], 1)),
        ("dense_32_256_256_1", ModelDirectory::random(&[32, 256, 256], 2)),
        ("cnn_8x128", described(cnn())),
        ("lstm_8x64", described(lstm_autoencoder())),
    ] {
        let mut detector = Detector::load(model.path()).expect("the model was made to load");
        for batch in BATCHES {
            println!("{name} {batch} {:.3}", microseconds_a_call(&mut detector, batch));
        }
    }
}

fn microseconds_a_call(detector: &mut Detector, batch: usize) -> f64 {
    let rows = f32s(9, batch * detector.info().inputs);
    let mut predictions = Vec::new();
    let mut time = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            detector.predict_batch(black_box(&rows), &mut predictions).expect("the rows are whole");
            black_box(&predictions);
        }
        start.elapsed()
    };
    time(3);
    let once = time(1).max(Duration::from_nanos(100));
    let calls = (ROUND.as_nanos() / once.as_nanos()).clamp(1, 1_000_000) as u32;
    let start = Instant::now();
    let mut least = time(calls);
    while start.elapsed() < MEASURED {
        least = least.min(time(calls));
    }
    least.as_secs_f64() * 1e6 / f64::from(calls)
}

fn described((config, tensors): (Value, Tensors)) -> ModelDirectory {
    ModelDirectory::random_weights(config, &tensors, 3)
}

fn with_bias(tensors: &mut Tensors, name: &str, shape: &[usize]) {
    tensors.push((format!("{name}.weight"), shape.to_vec()));
    tensors.push((format!("{name}.bias"), shape[..1].to_vec()));
}

/// Two convolutions with ReLU, a pooling between them, the mean over time, one linear layer.
fn cnn() -> (Value, Tensors) {
    let mut tensors = Tensors::new();
    with_bias(&mut tensors, "conv1", &[16, 8, 5]);
    with_bias(&mut tensors, "conv2", &[32, 16, 5]);
    with_bias(&mut tensors, "head", &[1, 32]);
    let config = json!({
        "inputs": 8 * 128, "output": "logit",
        "layout": {"order": "channels_samples", "channels": 8, "samples": 128},
        "layers": [
            {"type": "conv1d", "name": "conv1", "in": 8, "out": 16, "kernel": 5, "padding": 2},
            {"type": "relu"},
            {"type": "max_pool1d", "kernel": 2},
            {"type": "conv1d", "name": "conv2", "in": 16, "out": 32, "kernel": 5, "padding": 2},
            {"type": "relu"},
            {"type": "global_average_pool"},
            {"type": "linear", "name": "head", "in": 32, "out": 1},
        ],
    });
    (config, tensors)
}

/// An encoder and a decoder of 32 hidden numbers each.
fn lstm_autoencoder() -> (Value, Tensors) {
    const HIDDEN: usize = 32;
    let mut tensors = Tensors::new();
    for (name, inputs) in [("encoder", 8), ("decoder", HIDDEN)] {
        tensors.push((format!("{name}.weight_ih_l0"), vec![4 * HIDDEN, inputs]));
        tensors.push((format!("{name}.weight_hh_l0"), vec![4 * HIDDEN, HIDDEN]));
        tensors.push((format!("{name}.bias_ih_l0"), vec![4 * HIDDEN]));
        tensors.push((format!("{name}.bias_hh_l0"), vec![4 * HIDDEN]));
    }
    with_bias(&mut tensors, "head", &[8, HIDDEN]);
    let config = json!({
        "inputs": 64 * 8, "output": "reconstruction", "reconstruction": {"midpoint": 1.0, "scale": 1.0},
        "layout": {"order": "samples_channels", "channels": 8, "samples": 64},
        "layers": [
            {"type": "lstm", "name": "encoder", "in": 8, "hidden": HIDDEN, "returns": "last"},
            {"type": "repeat", "samples": 64},
            {"type": "lstm", "name": "decoder", "in": HIDDEN, "hidden": HIDDEN},
            {"type": "linear", "name": "head", "in": HIDDEN, "out": 8},
        ],
    });
    (config, tensors)
}
