//! What the leaves of rows add up to, a block of rows at a time.
//!
//! Each target of a row is added up tree after tree, in the order of the trees, whatever the number of rows:
//! a row has the same score alone and among others, to the bit.

use super::forest::{Forest, Leaves, Real};
use super::walk::{LANES, walk};
use crate::model::graph::operators::ml::BLOCK_ROWS;

/// How the leaves of several trees make one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    /// Every one with its name in files; the first is the default.
    pub const NAMES: &[(&str, Self)] =
        &[("SUM", Self::Sum), ("AVERAGE", Self::Average), ("MIN", Self::Min), ("MAX", Self::Max)];
}

/// How many scores a block may have, so that they stay in the cache.
const BLOCK_SCORES: usize = 8192;

/// How many rows are scored at a time.
pub fn block_rows(targets: usize) -> usize {
    (BLOCK_SCORES / targets.max(1)).clamp(1, BLOCK_ROWS)
}

/// The scores of a block of rows.
pub struct Scores<T> {
    block: usize,
    targets: usize,
    pub aggregate: Aggregate,
    values: Vec<T>,
    /// Which targets any leaf has named.
    is_named: Vec<bool>,
    /// How many rows there are now.
    rows: usize,
}

impl<T: Real> Scores<T> {
    pub fn new(block: usize, targets: usize, aggregate: Aggregate) -> Self {
        let scores = block * targets;
        Self {
            block,
            targets,
            aggregate,
            values: vec![T::default(); scores],
            is_named: vec![false; scores],
            rows: 0,
        }
    }

    /// How many rows it has room for.
    pub fn block(&self) -> usize {
        self.block
    }

    /// The scores of each row, and which of them any leaf has named.
    pub fn rows(&mut self) -> impl Iterator<Item = (&mut [T], &[bool])> {
        let all = self.rows * self.targets;
        let named = self.is_named[..all].chunks_exact(self.targets);
        self.values[..all].chunks_exact_mut(self.targets).zip(named)
    }

    /// Adds up what the leaves of `rows` say, which have `columns` numbers each.
    pub fn add_up(&mut self, forest: &Forest<T>, rows: &[T], columns: usize) {
        self.rows = rows.len() / columns;
        self.values[..self.rows * self.targets].fill(T::default());
        self.is_named[..self.rows * self.targets].fill(false);
        let grouped = self.rows / LANES * LANES;
        if grouped > 0 {
            // One tree after the other: it stays near while all rows walk through it.
            for tree in &forest.trees {
                for first in (0..grouped).step_by(LANES) {
                    let rows = &rows[first * columns..(first + LANES) * columns];
                    let mut at = [tree.root; LANES];
                    walk(forest, rows, columns, &mut at, tree.depth);
                    for (lane, &leaf) in at.iter().enumerate() {
                        self.add(&forest.leaves, first + lane, leaf);
                    }
                }
            }
        }
        for row in grouped..self.rows {
            self.single(forest, row, &rows[row * columns..][..columns]);
        }
    }

    /// A row for itself: it walks through several trees at a time.
    fn single(&mut self, forest: &Forest<T>, row: usize, values: &[T]) {
        for trees in forest.trees.chunks(LANES) {
            let mut at = [trees[0].root; LANES];
            let mut depth = 0;
            for (at, tree) in at.iter_mut().zip(trees) {
                *at = tree.root;
                depth = depth.max(tree.depth);
            }
            walk(forest, values, 0, &mut at, depth);
            for &leaf in at.iter().take(trees.len()) {
                self.add(&forest.leaves, row, leaf);
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, leaves: &Leaves<T>, row: usize, leaf: u32) {
        let leaf = leaf as usize;
        match leaves {
            Leaves::One(weights) => self.put(row * self.targets, weights[leaf]),
            Leaves::Many { starts, weights } => {
                for &(target, weight) in &weights[starts[leaf] as usize..starts[leaf + 1] as usize] {
                    self.put(row * self.targets + target as usize, weight);
                }
            }
        }
    }

    #[inline(always)]
    fn put(&mut self, at: usize, weight: T) {
        let value = &mut self.values[at];
        let is_named = &mut self.is_named[at];
        match self.aggregate {
            Aggregate::Sum | Aggregate::Average => *value += weight,
            Aggregate::Min => {
                if !*is_named || weight < *value {
                    *value = weight;
                }
            }
            Aggregate::Max => {
                if !*is_named || weight > *value {
                    *value = weight;
                }
            }
        }
        *is_named = true;
    }
}
