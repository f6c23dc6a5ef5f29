//! A model that remembers: a network, if there is one, and behind it a detection that learns of each device.

use std::sync::Arc;

use super::normalise::Normalisation;
use super::{Model, ModelError};
use crate::detection::{Memory, Row, Seen};
use crate::inference::Provenance;

/// A detection as a model. Copies share what they learn.
pub struct DetectingModel {
    inputs: usize,
    network: Option<Box<dyn Model>>,
    normalisation: Option<Arc<Normalisation>>,
    memory: Memory,
    /// Kept between calls, so that a batch allocates only when it is larger than any before.
    normalised: Vec<f32>,
    said: Vec<f32>,
}

impl DetectingModel {
    pub fn new(
        inputs: usize,
        network: Option<Box<dyn Model>>,
        normalisation: Option<Arc<Normalisation>>,
        memory: Memory,
    ) -> Self {
        Self { inputs, network, normalisation, memory, normalised: Vec::new(), said: Vec::new() }
    }

    /// A copy with this memory.
    fn with(&self, memory: Memory) -> Option<Box<dyn Model>> {
        let network = match &self.network {
            Some(network) => Some(network.replica()?),
            None => None,
        };
        Some(Box::new(Self::new(self.inputs, network, self.normalisation.clone(), memory)))
    }
}

impl Model for DetectingModel {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn outputs(&self) -> usize {
        Seen::NUMBERS
    }

    /// Rows of nobody in particular, one after another.
    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        self.predict_of(rows, &[], predictions)
    }

    fn predict_of(
        &mut self,
        rows: &[f32],
        provenance: &[Provenance],
        predictions: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let Self { inputs, network, normalisation, memory, normalised, said } = self;
        if !rows.len().is_multiple_of(*inputs) {
            return Err(ModelError::Shape { inputs: *inputs, values: rows.len() });
        }
        said.clear();
        // Before any device is touched: where the network fails, the rows may be tried again.
        let outputs = match network {
            Some(network) => network.predict(rows, said).map(|()| network.outputs())?,
            None => 0,
        };
        let features = match normalisation {
            Some(normalisation) => {
                normalisation.apply(rows, *inputs, normalised);
                normalised.as_slice()
            }
            None => rows,
        };
        memory.with(|see| {
            for (at, features) in features.chunks_exact(*inputs).enumerate() {
                let network = said.get(at * outputs).copied().filter(|_| outputs > 0);
                let is_answer = network.is_none_or(f32::is_finite) && features.iter().all(|x| x.is_finite());
                if !is_answer {
                    // Refused alone, and nobody has learnt from it.
                    predictions.extend([f32::NAN; Seen::NUMBERS]);
                    continue;
                }
                let of = provenance.get(at);
                let timestamp_us = of.and_then(|of| of.timestamp_us);
                let row = Row { features, network, timestamp_us };
                let seen = see(of.and_then(|of| of.device.as_ref()), &row);
                predictions.extend(seen.numbers());
            }
        });
        Ok(())
    }

    fn outside(&self, row: usize) -> Option<f32> {
        self.network.as_ref()?.outside(row)
    }

    fn refused(&self, row: usize) -> Option<String> {
        self.network.as_ref()?.refused(row)
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.memory)
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        self.with(self.memory.clone())
    }

    fn apart(&self) -> Option<Box<dyn Model>> {
        self.with(self.memory.apart())
    }

    fn is_prompt(&self) -> bool {
        self.network.as_ref().is_none_or(|network| network.is_prompt())
    }
}
