//! What the kinds of numbers have in common, for kernels that are written once for several.

use crate::model::graph::tensor::Element;

/// A kind of integers. Arithmetic is done with 64 bits and cut off, which wraps as the kind itself would.
pub trait Integer: Element + Copy + PartialEq {
    fn wide(self) -> i64;
    fn narrow(value: i64) -> Self;
}

macro_rules! integers {
    ($($type:ty)+) => {
        $(impl Integer for $type {
            fn wide(self) -> i64 {
                i64::from(self)
            }

            fn narrow(value: i64) -> Self {
                value as Self
            }
        })+
    };
}

integers!(i64 i32 i8 u8);

/// A kind of numbers with a point.
pub trait Real: Element + Copy + PartialEq {
    fn double(self) -> f64;
    fn rounded(value: f64) -> Self;
}

impl Real for f32 {
    fn double(self) -> f64 {
        f64::from(self)
    }

    fn rounded(value: f64) -> Self {
        value as Self
    }
}

impl Real for f64 {
    fn double(self) -> f64 {
        self
    }

    fn rounded(value: f64) -> Self {
        value
    }
}

/// The integer that x86 makes of a number: without its fraction, and the smallest there is where it does not
/// fit, as ONNX Runtime has it.
pub fn integer(value: f64) -> i64 {
    // 2^63, the first that does not fit.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// Does the same for each kind of integers; anything else is the other branch.
macro_rules! each_integer {
    ($kind:expr, $type:ident => $body:expr, $other:expr) => {
        match $kind {
            $crate::model::graph::tensor::Kind::I64 => {
                type $type = i64;
                $body
            }
            $crate::model::graph::tensor::Kind::I32 => {
                type $type = i32;
                $body
            }
            $crate::model::graph::tensor::Kind::I8 => {
                type $type = i8;
                $body
            }
            $crate::model::graph::tensor::Kind::U8 => {
                type $type = u8;
                $body
            }
            _ => $other,
        }
    };
}
pub(crate) use each_integer;

/// Does the same for each kind, which `type` is then.
macro_rules! each_element {
    ($kind:expr, $type:ident => $body:expr) => {
        match $kind {
            $crate::model::graph::tensor::Kind::F32 => {
                type $type = f32;
                $body
            }
            $crate::model::graph::tensor::Kind::F64 => {
                type $type = f64;
                $body
            }
            $crate::model::graph::tensor::Kind::I64 => {
                type $type = i64;
                $body
            }
            $crate::model::graph::tensor::Kind::I32 => {
                type $type = i32;
                $body
            }
            $crate::model::graph::tensor::Kind::I8 => {
                type $type = i8;
                $body
            }
            $crate::model::graph::tensor::Kind::U8 => {
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
pub(crate) use each_element;
