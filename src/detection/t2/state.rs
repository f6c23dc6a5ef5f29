//! What is kept of a device: six numbers a feature and a matrix. While it learns they are
//! sums; then the same words hold what was made of them.

use super::whitening::stride;
use crate::detection::block::{Word, floats, words_of_floats};

/// Six vectors: while it learns, the row before, the mean, the variance, the window's mean, its mean and its
/// variance; then the window's mean, 1 / deviation of a row, the mean that both are relative to, the centre,
/// the variance of the window's mean, and by how much that grows with each row.
pub const VECTORS: usize = 6;
/// Words in front of them.
const HEAD: usize = 2;

/// The words of a device as what they are.
pub struct View<'a> {
    /// Rows that were learnt from, up to the warm-up.
    pub rows: &'a mut f32,
    /// How many rows ago the centre was set, in effect.
    pub age: &'a mut f32,
    /// While it learns: the sum of the fourth powers of the differences' lengths, and of how many.
    pub fourth: &'a mut f32,
    pub fourths: &'a mut f32,
    pub vectors: [&'a mut [f32]; VECTORS],
    /// Row by row, each [`stride`] long.
    pub matrix: &'a mut [f32],
}

pub fn words(features: usize) -> usize {
    HEAD + words_of_floats(VECTORS * features + features * stride(features))
}

impl<'a> View<'a> {
    pub fn of(state: &'a mut [Word], features: usize) -> Self {
        let (head, numbers) = state.split_at_mut(HEAD);
        let (rows, head) = floats(head).split_at_mut(1);
        let (age, head) = head.split_at_mut(1);
        let (fourth, fourths) = head.split_at_mut(1);
        let (vectors, matrix) = floats(numbers).split_at_mut(VECTORS * features);
        let (a, vectors) = vectors.split_at_mut(features);
        let (b, vectors) = vectors.split_at_mut(features);
        let (c, vectors) = vectors.split_at_mut(features);
        let (d, vectors) = vectors.split_at_mut(features);
        let (e, f) = vectors.split_at_mut(features);
        Self {
            rows: &mut rows[0],
            age: &mut age[0],
            fourth: &mut fourth[0],
            fourths: &mut fourths[0],
            vectors: [a, b, c, d, e, f],
            matrix,
        }
    }
}
