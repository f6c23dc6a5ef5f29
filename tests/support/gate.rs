//! A model that does what the test lets it do, and when.

use std::sync::{Arc, Condvar, Mutex};

use nearfar::model::{Model, ModelError};

use super::PATIENCE;

/// Where the replicas of a model stop at each row until the test lets its value go.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    /// Values of the rows that the model has begun with, in order.
    begun: Vec<f32>,
    let_go: Vec<f32>,
    open: bool,
}

impl Gate {
    pub fn pass(&self, value: f32) {
        let mut state = self.state.lock().unwrap();
        state.begun.push(value);
        self.changed.notify_all();
        let shut = |state: &mut GateState| !state.open && !state.let_go.contains(&value);
        let waited = self.changed.wait_timeout_while(state, PATIENCE, shut).unwrap();
        assert!(!waited.1.timed_out(), "the test never let {value} go");
    }

    pub fn let_go(&self, value: f32) {
        self.state.lock().unwrap().let_go.push(value);
        self.changed.notify_all();
    }

    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }

    /// Waits until the model has begun with all of `values`.
    pub fn wait_until_begun(&self, values: &[f32]) {
        let state = self.state.lock().unwrap();
        let missing = |state: &mut GateState| values.iter().any(|value| !state.begun.contains(value));
        let waited = self.changed.wait_timeout_while(state, PATIENCE, missing).unwrap();
        assert!(!waited.1.timed_out(), "the model has begun with {:?} only", waited.0.begun);
    }

    pub fn begun(&self) -> Vec<f32> {
        self.state.lock().unwrap().begun.clone()
    }
}

/// Answers with its one input, once the gate lets it; below zero it panics.
pub struct Gated(Arc<Gate>);

impl Model for Gated {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for &row in rows {
            assert!(row >= 0.0, "the model was told to");
            self.0.pass(row);
            predictions.push(row);
        }
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }
}

pub fn gated() -> (Gated, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    (Gated(Arc::clone(&gate)), gate)
}
