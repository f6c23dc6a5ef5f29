//! Kernels that move elements without looking at what they are.
//!
//! Elements of one size are moved as the same type, and the type is chosen when the kernel runs: a kernel of
//! its own for each [`Kind`] would be most of what the program is.

use std::sync::Arc;

use pulp::bytemuck::{cast_slice, cast_slice_mut};

use super::kernel::{Built, Fault, Inputs, Kernel};
use super::tensor::{Data, Kind, TensorType};

/// What elements are moved as.
pub trait Bits: Clone + 'static {
    fn of(data: &Data) -> Option<&[Self]>;
    fn of_mut(data: &mut Data) -> Option<&mut [Self]>;
}

macro_rules! bits {
    ($($type:ty => $First:ident, $Second:ident;)+) => {
        $(impl Bits for $type {
            fn of(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$First(values) => Some(cast_slice(values)),
                    Data::$Second(values) => Some(cast_slice(values)),
                    _ => None,
                }
            }

            fn of_mut(data: &mut Data) -> Option<&mut [Self]> {
                match data {
                    Data::$First(values) => Some(cast_slice_mut(values)),
                    Data::$Second(values) => Some(cast_slice_mut(values)),
                    _ => None,
                }
            }
        })+
    };
    // What is not any bits.
    ($($type:ty => $Kind:ident;)+) => {
        $(impl Bits for $type {
            fn of(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$Kind(values) => Some(values),
                    _ => None,
                }
            }

            fn of_mut(data: &mut Data) -> Option<&mut [Self]> {
                match data {
                    Data::$Kind(values) => Some(values),
                    _ => None,
                }
            }
        })+
    };
}

bits! {
    u64 => F64, I64;
    u32 => F32, I32;
    u8 => I8, U8;
}

bits! {
    bool => Bool;
    Arc<str> => Text;
}

/// Does the same for each type that elements are moved as.
macro_rules! each_size {
    ($kind:expr, $type:ident => $body:expr) => {
        match $kind {
            $crate::model::graph::tensor::Kind::F64 | $crate::model::graph::tensor::Kind::I64 => {
                type $type = u64;
                $body
            }
            $crate::model::graph::tensor::Kind::F32 | $crate::model::graph::tensor::Kind::I32 => {
                type $type = u32;
                $body
            }
            $crate::model::graph::tensor::Kind::I8 | $crate::model::graph::tensor::Kind::U8 => {
                type $type = u8;
                $body
            }
            $crate::model::graph::tensor::Kind::Bool => {
                type $type = bool;
                $body
            }
            $crate::model::graph::tensor::Kind::Text => {
                type $type = std::sync::Arc<str>;
                $body
            }
        }
    };
}
pub(crate) use each_size;

/// What moves elements of its inputs to its outputs, all of which are of the first output's kind.
pub trait Mover: Send {
    /// As [`Kernel::run`], for elements that are moved as `T`.
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault>;
}

/// The kernel of what moves elements.
pub struct Moves<M>(pub M);

impl<M: Mover> Kernel for Moves<M> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let kind = outputs.first().map(Data::kind).ok_or_else(|| Fault("output 0 is missing".to_owned()))?;
        each_size!(kind, T => self.0.run::<T>(inputs, outputs))
    }
}

/// What a node is built as whose only output is moved there.
pub fn moving(output: TensorType, mover: impl Mover + 'static) -> Built {
    Built::kernel(output, Moves(mover))
}

/// The elements of input `at`, to be moved as `T`.
///
/// # Errors
/// A fault that would be ours: it is absent, or of another size.
pub fn input_bits<'a, T: Bits>(inputs: &Inputs<'a>, at: usize) -> Result<&'a [T], Fault> {
    let data = inputs.data(at)?;
    T::of(data).ok_or_else(|| unexpected(at, data.kind()))
}

/// The elements of an output, to be moved as `T`.
///
/// # Errors
/// A fault that would be ours: it is absent, or of another size.
pub fn output_bits<T: Bits>(outputs: &mut [Data], at: usize) -> Result<&mut [T], Fault> {
    let data = outputs.get_mut(at).ok_or_else(|| Fault(format!("output {at} is missing")))?;
    let found = data.kind();
    T::of_mut(data).ok_or_else(|| unexpected(at, found))
}

fn unexpected(at: usize, found: Kind) -> Fault {
    Fault(format!("value {at} is {found}, expected the kind that is moved"))
}
