//! Named tensors as a file holds them: a dtype, a shape, little-endian bytes. Plain data, no arithmetic.

use std::fmt;

use half::{bf16, f16};

/// The type of a tensor's elements, named as safetensors names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the name of the type it stands for")]
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Every dtype that files of ours may hold.
    pub const ALL: [Self; 10] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The name in a safetensors header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The dtype of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the elements are floating point numbers: only these are weights.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of a tensor without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, such as `fc1.weight`.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// The product of the dimensions.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, Shape(&self.shape), self.dtype)
    }
}

/// A shape as people write it: `(16, 32)`.
pub struct Shape<'a>(pub &'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (at, dimension) in self.0.iter().enumerate() {
            write!(f, "{}{dimension}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

/// A tensor with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Name, dtype, shape.
    pub info: TensorInfo,
    /// The elements, row-major, little-endian: exactly `elements * dtype.bytes()` bytes.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// The values as f32, rounded to nearest where they were wider.
    pub fn to_f32(&self) -> Vec<f32> {
        let bytes = &self.bytes;
        match self.info.dtype {
            Dtype::F64 => words(bytes).map(|word| f64::from_le_bytes(word) as f32).collect(),
            Dtype::F32 => words(bytes).map(f32::from_le_bytes).collect(),
            Dtype::F16 => words(bytes).map(|word| f16::from_le_bytes(word).to_f32()).collect(),
            Dtype::Bf16 => words(bytes).map(|word| bf16::from_le_bytes(word).to_f32()).collect(),
            Dtype::I64 => words(bytes).map(|word| i64::from_le_bytes(word) as f32).collect(),
            Dtype::I32 => words(bytes).map(|word| i32::from_le_bytes(word) as f32).collect(),
            Dtype::I16 => words(bytes).map(|word| f32::from(i16::from_le_bytes(word))).collect(),
            Dtype::I8 => words(bytes).map(|word| f32::from(i8::from_le_bytes(word))).collect(),
            Dtype::U8 | Dtype::Bool => bytes.iter().map(|&byte| f32::from(byte)).collect(),
        }
    }
}

impl RawTensor {
    /// The values as f64, all of which hold what is rounded nowhere but in large whole numbers.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.info.dtype {
            Dtype::F64 => words(&self.bytes).map(f64::from_le_bytes).collect(),
            _ => self.to_f32().into_iter().map(f64::from).collect(),
        }
    }

    /// The first element that was finite, and is not among `narrowed`, its values as f32.
    pub fn first_overflow(&self, narrowed: &[f32]) -> Option<usize> {
        let wide = words(&self.bytes).map(f64::from_le_bytes);
        wide.zip(narrowed).position(|(wide, narrow)| wide.is_finite() && !narrow.is_finite())
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_is_read_as_f32() {
        let cases: [(Dtype, Vec<u8>, f32); 10] = [
            (Dtype::F64, 1.5f64.to_le_bytes().to_vec(), 1.5),
            (Dtype::F32, (-2.25f32).to_le_bytes().to_vec(), -2.25),
            (Dtype::F16, f16::from_f32(0.5).to_le_bytes().to_vec(), 0.5),
            (Dtype::Bf16, bf16::from_f32(-4.0).to_le_bytes().to_vec(), -4.0),
            (Dtype::I64, (-7i64).to_le_bytes().to_vec(), -7.0),
            (Dtype::I32, 70_000i32.to_le_bytes().to_vec(), 70_000.0),
            (Dtype::I16, (-300i16).to_le_bytes().to_vec(), -300.0),
            (Dtype::I8, vec![0xff], -1.0),
            (Dtype::U8, vec![200], 200.0),
            (Dtype::Bool, vec![1], 1.0),
        ];
        for (dtype, bytes, value) in cases {
            assert_eq!(bytes.len(), dtype.bytes());
            let info = TensorInfo { name: "x".into(), dtype, shape: vec![] };
            assert_eq!(RawTensor { info, bytes }.to_f32(), [value], "{dtype}");
            assert_eq!(Dtype::from_name(&dtype.as_str().to_lowercase()), Some(dtype));
        }
    }
}
