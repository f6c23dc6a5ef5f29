//! A node that is ready to be run: its shapes, weights and settings are known, only its inputs' elements are
//! not.

use super::affine::Affine;
use super::tensor::{Data, Element, Kind, Tensor, TensorType};
use crate::model::kernel::line::Line;

/// What a node does with its inputs' elements, again and again. Each plan has its own; weights are shared.
pub trait Kernel: Send {
    /// Computes the outputs, each of which has the length and the kind that were promised when it was built,
    /// and holds whatever was there before. Nothing is allocated: what is needed on the way is kept in
    /// `self`.
    ///
    /// # Errors
    /// [`Fault`], where the elements themselves are at fault.
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault>;

    /// The multiplications and additions of a run; `None`, the default, for one to an element of the first
    /// output.
    fn multiply_adds(&self) -> Option<u64> {
        None
    }

    /// Takes over the function that comes next, if it can apply it while it writes, or with other weights.
    /// False, the default, where it cannot.
    fn fuse(&mut self, _then: Then<'_>) -> bool {
        false
    }

    /// What each channel, one at each place of axis 1, is multiplied with, and what is added then, where that
    /// is all that is done and known. None is the default.
    fn lines(&self) -> Option<Vec<Line>> {
        None
    }
}

/// A function of each number that a kernel may apply while it writes, or with other weights.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    Relu,
    /// A factor and a summand for each channel. What comes after a `Relu` is not taken over.
    Affine(&'a Affine<'a>),
}

/// Why a run failed: the row's own elements, such as an index outside a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

/// Where an input's elements are when a plan runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Left out.
    Absent,
    /// A buffer of the plan.
    Buffer(usize),
    /// One of the constants of the plan.
    Constant(usize),
}

/// The inputs of a run, by their place.
pub struct Inputs<'a> {
    pub(crate) sources: &'a [Source],
    pub(crate) buffers: &'a [Data],
    pub(crate) constants: &'a [std::sync::Arc<Tensor>],
}

impl<'a> Inputs<'a> {
    /// The elements of input `at`, which the kernel was built for and is there.
    ///
    /// # Errors
    /// A fault that would be ours: it is absent.
    pub fn data(&self, at: usize) -> Result<&'a Data, Fault> {
        match self.sources.get(at) {
            Some(&Source::Buffer(place)) => Ok(&self.buffers[place]),
            Some(&Source::Constant(place)) => Ok(&self.constants[place].data),
            Some(Source::Absent) | None => Err(Fault(format!("input {at} is missing"))),
        }
    }

    /// The elements of input `at`, of the type that the kernel was built for.
    ///
    /// # Errors
    /// A fault that would be ours: it is absent, or of another type.
    pub fn values<T: Element>(&self, at: usize) -> Result<&'a [T], Fault> {
        let data = self.data(at)?;
        T::of(data).ok_or_else(|| unexpected(at, data.kind(), T::KIND))
    }
}

/// The elements of an output, of the type that was promised.
///
/// # Errors
/// A fault that would be ours: it is of another type.
pub fn output<T: Element>(outputs: &mut [Data], at: usize) -> Result<&mut [T], Fault> {
    let data = outputs.get_mut(at).ok_or_else(|| Fault(format!("output {at} is missing")))?;
    let found = data.kind();
    T::of_mut(data).ok_or_else(|| unexpected(at, found, T::KIND))
}

fn unexpected(at: usize, found: Kind, expected: Kind) -> Fault {
    Fault(format!("value {at} is {found}, expected {expected}"))
}

/// What an operator makes of a node, when its inputs' kinds and shapes are known.
pub enum Built {
    /// Work to do.
    Kernel { outputs: Vec<TensorType>, kernel: Box<dyn Kernel> },
    /// The elements of its input number `of`, in another shape: nothing to do.
    View { of: usize, shape: Vec<usize> },
    /// Values that follow from shapes and attributes alone.
    Constants(Vec<Tensor>),
}

impl Built {
    /// A kernel with one output.
    pub fn kernel(output: TensorType, kernel: impl Kernel + 'static) -> Self {
        Self::Kernel { outputs: vec![output], kernel: Box::new(kernel) }
    }
}
