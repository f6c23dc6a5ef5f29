//! A known factor and a known summand for each channel, which a node with known weights before may take into
//! them: a bias, a batch normalisation in evaluation.

use std::any::TypeId;
use std::sync::{Arc, Mutex, PoisonError};

use super::context::Prepared;
use super::operators::Arranged;
use super::tensor::Tensor;
use crate::model::kernel::line::Line;

/// What comes after a node: each number times its channel's factor, plus its channel's summand.
pub struct Affine<'a> {
    /// The axis of the channels; `None` where all numbers have the same line.
    pub axis: Option<usize>,
    /// Each channel's; a single one where there is no axis.
    pub lines: Vec<Line>,
    /// What the lines were made of.
    pub of: Vec<Arc<Tensor>>,
    /// The number of the node that it is, by which what is made with it is kept.
    pub number: usize,
    pub prepared: &'a Mutex<Prepared>,
}

impl Affine<'_> {
    /// The factor and the summand of each of `channels`, which lie along `axis`; `None` where it has other
    /// ones, or some that are not finite.
    pub fn of_channels(&self, axis: usize, channels: usize) -> Option<Vec<Line>> {
        let lines = match (self.axis, &self.lines[..]) {
            (None, &[line]) => vec![line; channels],
            (Some(own), lines) if own == axis && lines.len() == channels => lines.to_vec(),
            _ => return None,
        };
        lines.iter().all(|line| line.is_finite()).then_some(lines)
    }

    /// What `make` makes of weights that are arranged; made once for all plans and threads.
    pub fn taken_into<T: Send + Sync + 'static>(
        &self,
        weights: &Arc<Arranged<T>>,
        make: impl Fn(&T) -> Option<T>,
    ) -> Option<Arc<Arranged<T>>> {
        let of: Vec<_> = self.of.iter().cloned().map(Some).collect();
        let made = || Some(Arc::new(Arranged::new(of.clone(), make(weights)?)));
        let key = (self.number, TypeId::of::<Taken<T>>());
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = prepared.get(&key).cloned().and_then(|found| found.downcast::<Taken<T>>().ok());
        match found {
            // Constants that follow from the batch differ from plan to plan.
            Some(found) if Arc::ptr_eq(&found.before, weights) && found.after.is_of(&of) => {
                Some(Arc::clone(&found.after))
            }
            Some(_) => made(),
            None => {
                let after = made()?;
                let taken = Taken { before: Arc::clone(weights), after: Arc::clone(&after) };
                prepared.insert(key, Arc::new(taken));
                Some(after)
            }
        }
    }
}

/// Weights before and after.
struct Taken<T> {
    before: Arc<Arranged<T>>,
    after: Arc<Arranged<T>>,
}
