//! A forward pass of a graph allocates nothing: its buffers are there when it is loaded.

use nearfar::model::{Detector, OnnxOptions, Output, convert_onnx};

use crate::support::models::{f32s, fixture};
use crate::{ALLOCATED, alone};

/// Networks of every kind whose first output is one number for a row.
const MODELS: &[&str] = &[
    "mlp_batchnorm_ts13",
    "mlp_gelu_ts13",
    "cnn_se_block_ts13",
    "tcn_ts13",
    "lstm_last_ts11",
    "gru_last_ts13",
    "transformer_block_ts17",
    "gradient_boosting_regressor",
    "random_forest_regressor",
    "svr_rbf",
];
/// So many that blocks of several sizes are run.
const ROWS: usize = 75;
/// What other threads of the harness allocate beside a call they do not allocate beside each.
const CALLS: usize = 100;

#[test]
fn a_graph_that_has_been_called_allocates_nothing_when_it_is_called_again() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let score = Output::Score { higher_is_anomalous: true, midpoint: 0.0, scale: 1.0 };
    for name in MODELS {
        let target = directory.path().join(name);
        let options = OnnxOptions { output: Some(score.clone()), ..OnnxOptions::default() };
        convert_onnx(&fixture(&format!("onnx/good/{name}.onnx")), &target, &options).unwrap();
        let mut detector = Detector::load(&target).unwrap();
        let rows = f32s(7, ROWS * detector.info().inputs);
        let mut predictions = Vec::new();
        let mut allocated = || {
            let before = ALLOCATED.total_allocated();
            detector.predict_batch(&rows, &mut predictions).unwrap();
            ALLOCATED.total_allocated() - before
        };
        assert!(allocated() > 0, "{name}: the predictions have no place yet");
        assert_eq!((0..CALLS).map(|_| allocated()).find(|&bytes| bytes == 0), Some(0), "{name}");
        assert_eq!(predictions.len(), ROWS);
    }
}
