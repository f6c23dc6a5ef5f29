//! The values that go from node to node: numbers or words of one kind, in a shape.

use std::fmt;
use std::sync::Arc;

/// What a value is made of.
///
/// Files have more kinds than these. Half precision is computed as `F32`, integers that are not listed as
/// `I64`; a node `Cast` rounds as the kind that it names would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    F32,
    F64,
    I64,
    I32,
    I8,
    U8,
    Bool,
    Text,
}

impl Kind {
    /// The word for it in `config.json`, and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
            Self::Text => "string",
        }
    }

    /// What one element takes in memory.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::Text => size_of::<Arc<str>>(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value's kind and shape, which are known before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    pub kind: Kind,
    pub shape: Vec<usize>,
}

impl TensorType {
    pub fn new(kind: Kind, shape: impl Into<Vec<usize>>) -> Self {
        Self { kind, shape: shape.into() }
    }

    /// How many elements it has; `None` when that is more than can be counted.
    pub fn elements(&self) -> Option<usize> {
        elements(&self.shape)
    }
}

/// As `float32 [64, 3]`.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.shape)
    }
}

/// The product of `shape`; `None` when that is more than can be counted, even where another factor is 0.
pub fn elements(shape: &[usize]) -> Option<usize> {
    // A zero must not hide that the others overflow: strides are computed of them.
    let all = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { all })
}

/// The elements of a value, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
    Text(Vec<Arc<str>>),
}

/// Does the same with the vector inside, whatever its kind.
macro_rules! each_kind {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::model::graph::tensor::Data::F32($values) => $body,
            $crate::model::graph::tensor::Data::F64($values) => $body,
            $crate::model::graph::tensor::Data::I64($values) => $body,
            $crate::model::graph::tensor::Data::I32($values) => $body,
            $crate::model::graph::tensor::Data::I8($values) => $body,
            $crate::model::graph::tensor::Data::U8($values) => $body,
            $crate::model::graph::tensor::Data::Bool($values) => $body,
            $crate::model::graph::tensor::Data::Text($values) => $body,
        }
    };
}
#[allow(unused_imports, reason = "operators use it")]
pub(crate) use each_kind;

impl Data {
    /// `elements` zeros, or empty words.
    pub fn zeros(kind: Kind, elements: usize) -> Self {
        match kind {
            Kind::F32 => Self::F32(vec![0.0; elements]),
            Kind::F64 => Self::F64(vec![0.0; elements]),
            Kind::I64 => Self::I64(vec![0; elements]),
            Kind::I32 => Self::I32(vec![0; elements]),
            Kind::I8 => Self::I8(vec![0; elements]),
            Kind::U8 => Self::U8(vec![0; elements]),
            Kind::Bool => Self::Bool(vec![false; elements]),
            Kind::Text => Self::Text(vec![Arc::from(""); elements]),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::F32(_) => Kind::F32,
            Self::F64(_) => Kind::F64,
            Self::I64(_) => Kind::I64,
            Self::I32(_) => Kind::I32,
            Self::I8(_) => Kind::I8,
            Self::U8(_) => Kind::U8,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    pub fn len(&self) -> usize {
        each_kind!(self, values => values.len())
    }
}

impl Default for Data {
    /// Nothing, without an allocation.
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

/// What Rust's own types are among the kinds: kernels are written once for several.
pub trait Element: Clone + Send + Sync + 'static {
    const KIND: Kind;
    fn of(data: &Data) -> Option<&[Self]>;
    fn of_mut(data: &mut Data) -> Option<&mut [Self]>;
    fn wrap(values: Vec<Self>) -> Data;
}

macro_rules! elements {
    ($($type:ty => $Kind:ident,)+) => {
        $(impl Element for $type {
            const KIND: Kind = Kind::$Kind;

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

            fn wrap(values: Vec<Self>) -> Data {
                Data::$Kind(values)
            }
        })+
    };
}

elements! {
    f32 => F32,
    f64 => F64,
    i64 => I64,
    i32 => I32,
    i8 => I8,
    u8 => U8,
    bool => Bool,
    Arc<str> => Text,
}

/// A value that is known: a weight, an attribute, a constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Data,
}

impl Tensor {
    /// `values` in `shape`, whose product is their number.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, values: Vec<T>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(elements(&shape), Some(values.len()));
        Self { shape, data: T::wrap(values) }
    }

    pub fn tensor_type(&self) -> TensorType {
        TensorType { kind: self.data.kind(), shape: self.shape.clone() }
    }

    /// Its elements, where they are of the type `T`.
    pub fn values<T: Element>(&self) -> Option<&[T]> {
        T::of(&self.data)
    }
}
