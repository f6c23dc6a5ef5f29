//! What every type of layer answers about itself.

use std::fmt;

use super::layer_table::LayerTable;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::Step;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The `eps` of PyTorch's normalisations, used when a layer does not state one.
pub const NORM_EPS_DEFAULT: f64 = 1e-5;

/// One type of layer: what `config.json` says of it, what it needs, what it makes of a row, how it is run.
pub trait LayerType: fmt::Display {
    /// The words for it in `config.json`: one, unless the file has a family of types.
    fn types() -> &'static [&'static str]
    where
        Self: Sized;

    /// Reads what `table`, of one of its [`types`](Self::types), says.
    ///
    /// # Errors
    /// When a member is missing or out of its range. Members that nobody asks for are refused afterwards.
    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError>
    where
        Self: Sized;

    /// The tensors that it needs, in the order in which PyTorch saves them; none by default.
    fn tensors(&self) -> Vec<Expected> {
        Vec::new()
    }

    /// What it makes of a row.
    ///
    /// # Errors
    /// When it cannot take such a row.
    fn shape(&self, input: Shape) -> Result<Shape, Misfit>;

    /// The most numbers of a row that it works on at a time, with those that it keeps to itself.
    fn widest(&self, input: Shape) -> usize {
        input.values()
    }

    /// Makes it ready to be run, from its tensors.
    ///
    /// # Errors
    /// When one of them is missing, which the check of tensors rules out.
    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError>;

    /// How many multiplications a row takes, of a layer that sees all of it at once; by default it does not.
    fn products(&self) -> Option<usize> {
        None
    }
}

/// A tensor that a layer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name, such as `fc1.weight`.
    pub name: String,
    /// The shape that the tensor must have.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Whether dimensions of 1 do not count.
    pub squeezed: bool,
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Trained: it counts among the model's parameters.
    Parameter,
    /// Gathered while training.
    Statistic,
    /// Saved by PyTorch and not read in evaluation: it may be there.
    Unused,
}

impl Expected {
    /// The tensor `prefix.part`.
    pub fn new(prefix: &str, part: &str, shape: &[usize], role: Role) -> Self {
        Self { name: format!("{prefix}.{part}"), shape: shape.to_vec(), role, squeezed: false }
    }

    /// Parameters `prefix.weight` of this shape and, with `bias`, `prefix.bias`, one for each output.
    pub fn weight_and_bias(prefix: &str, weight: &[usize], bias: bool) -> Vec<Self> {
        let mut tensors = vec![Self::new(prefix, "weight", weight, Role::Parameter)];
        if bias {
            tensors.push(Self::new(prefix, "bias", &weight[..1], Role::Parameter));
        }
        tensors
    }
}

/// Whether a member of `config.json` has its default, and need not be written.
pub fn is_one(number: &usize) -> bool {
    *number == 1
}

/// As [`is_one`].
pub fn is_false(flag: &bool) -> bool {
    !flag
}

/// As [`is_one`].
pub fn is_true(flag: &bool) -> bool {
    *flag
}
