//! A tensor of an ONNX file: its kind, its shape, and its elements in one of several places.

use std::sync::Arc;

use half::{bf16, f16};

use super::error::{OnnxError, count, quoted};
use super::external::{External, Location};
use super::limits::{AXES_MAX, WORDS_MAX};
use super::wire::Message;
use crate::model::graph::tensor::{Data, Kind, Tensor, elements};

/// How ONNX numbers the kinds of elements (`TensorProto.DataType`), and what those become that are read.
const KINDS: &[(&str, Option<Kind>)] = &[
    ("undefined", None),
    ("float32", Some(Kind::F32)),
    ("uint8", Some(Kind::U8)),
    ("int8", Some(Kind::I8)),
    ("uint16", Some(Kind::I64)),
    ("int16", Some(Kind::I64)),
    ("int32", Some(Kind::I32)),
    ("int64", Some(Kind::I64)),
    ("string", Some(Kind::Text)),
    ("bool", Some(Kind::Bool)),
    ("float16", Some(Kind::F32)),
    ("float64", Some(Kind::F64)),
    ("uint32", Some(Kind::I64)),
    ("uint64", Some(Kind::I64)),
    ("complex64", None),
    ("complex128", None),
    ("bfloat16", Some(Kind::F32)),
    ("float8e4m3fn", None),
    ("float8e4m3fnuz", None),
    ("float8e5m2", None),
    ("float8e5m2fnuz", None),
    ("uint4", Some(Kind::U8)),
    ("int4", Some(Kind::I8)),
    ("float4e2m1", None),
    ("float8e8m0", None),
    ("uint2", None),
    ("int2", None),
];

/// What elements of ONNX's kind `number` become here.
pub fn kind(number: i64) -> Result<Kind, OnnxError> {
    let line = usize::try_from(number).ok().and_then(|number| KINDS.get(number));
    match line {
        Some((_, Some(kind))) => Ok(*kind),
        Some((name, None)) => {
            Err(format!("its elements are {name}, which is not supported; expected {}", names()).into())
        }
        None => Err(format!("its elements are of the kind {number}, which ONNX does not have").into()),
    }
}

fn names() -> String {
    let names: Vec<_> = KINDS.iter().filter(|(_, kind)| kind.is_some()).map(|(name, _)| *name).collect();
    names.join(", ")
}

/// A tensor as it stands in the file.
#[derive(Default)]
pub struct TensorProto<'a> {
    pub name: &'a str,
    dims: Vec<i64>,
    kind: i64,
    floats: Vec<f32>,
    int32s: Vec<i32>,
    int64s: Vec<i64>,
    uint64s: Vec<u64>,
    doubles: Vec<f64>,
    words: Vec<&'a str>,
    raw: Option<&'a [u8]>,
    is_external: bool,
    location: Location<'a>,
}

impl<'a> TensorProto<'a> {
    /// Takes it apart; `words` counts those of the whole file.
    pub fn read(message: Message<'a>, words: &mut usize) -> Result<Self, OnnxError> {
        let mut proto = Self::default();
        for field in message.fields() {
            let field = field?;
            match field.number {
                1 => field.ints(&mut proto.dims, u64::cast_signed)?,
                2 => proto.kind = field.int()?,
                3 => return Err("it is a segment of a tensor, which is not supported".into()),
                4 => field.floats(&mut proto.floats)?,
                // An int32 stands there in 64 bits, its sign extended.
                5 => field.ints(&mut proto.int32s, |value| value as i32)?,
                6 => {
                    count(words, WORDS_MAX, "words", "words_max")?;
                    proto.words.push(field.text()?);
                }
                7 => field.ints(&mut proto.int64s, u64::cast_signed)?,
                8 => proto.name = field.name()?,
                // Some writers leave it there empty beside the field for the kind.
                9 => proto.raw = Some(field.message()?.bytes).filter(|raw| !raw.is_empty()),
                10 => field.doubles(&mut proto.doubles)?,
                11 => field.ints(&mut proto.uint64s, |value| value)?,
                13 => proto.location.read(field.message()?)?,
                14 => proto.is_external = field.int()? == 1,
                _ => {}
            }
        }
        Ok(proto)
    }

    /// Its elements, from the file itself or from the one beside it.
    pub fn tensor(self, external: &mut External<'_>) -> Result<Tensor, OnnxError> {
        let kind = kind(self.kind)?;
        let shape = self.shape()?;
        let expected = elements(&shape)
            .ok_or_else(|| format!("its shape is {shape:?}, which is more elements than can be counted"))?;
        let outside = match (self.is_external, kind) {
            (false, _) => None,
            (true, Kind::Text) => {
                return Err("its words are in another file, which ONNX does not allow".into());
            }
            (true, _) => Some(external.read(&self.location)?),
        };
        let raw = outside.as_deref().or(self.raw);
        let data = self.data(raw, expected)?;
        if data.len() != expected {
            return Err(format!(
                "its shape is {shape:?}, which is {expected} elements, and {} are there",
                data.len()
            )
            .into());
        }
        Ok(Tensor { shape, data })
    }

    fn shape(&self) -> Result<Vec<usize>, OnnxError> {
        if self.dims.len() > AXES_MAX {
            return Err(format!("it has {} axes, more than {AXES_MAX} (axes_max)", self.dims.len()).into());
        }
        let sizes = self.dims.iter().map(|&size| usize::try_from(size));
        sizes
            .collect::<Result<_, _>>()
            .map_err(|_| format!("its shape is {:?}, expected sizes of 0 or more", self.dims).into())
    }

    fn data(&self, raw: Option<&[u8]>, expected: usize) -> Result<Data, OnnxError> {
        let int32s = &self.int32s;
        let nibbles = |convert: fn(u8) -> u8| nibbles(raw, int32s, expected, convert);
        Ok(match self.kind {
            1 => Data::F32(numbers(raw, f32::from_le_bytes, &self.floats, same)?),
            2 => Data::U8(numbers(raw, u8::from_le_bytes, int32s, |value| u8::try_from(value).ok())?),
            3 => Data::I8(numbers(raw, i8::from_le_bytes, int32s, |value| i8::try_from(value).ok())?),
            4 => Data::I64(numbers(
                raw,
                |bytes| i64::from(u16::from_le_bytes(bytes)),
                int32s,
                |value| u16::try_from(value).ok().map(i64::from),
            )?),
            5 => Data::I64(numbers(
                raw,
                |bytes| i64::from(i16::from_le_bytes(bytes)),
                int32s,
                |value| i16::try_from(value).ok().map(i64::from),
            )?),
            6 => Data::I32(numbers(raw, i32::from_le_bytes, int32s, same)?),
            7 => Data::I64(numbers(raw, i64::from_le_bytes, &self.int64s, same)?),
            8 => Data::Text(self.words.iter().map(|&word| Arc::from(word)).collect()),
            9 => Data::Bool(numbers(raw, |[byte]: [u8; 1]| byte != 0, int32s, |value| Some(value != 0))?),
            10 => Data::F32(halves(raw, int32s, |bits| f16::from_bits(bits).to_f32())?),
            11 => Data::F64(numbers(raw, f64::from_le_bytes, &self.doubles, same)?),
            12 => Data::I64(numbers(
                raw,
                |bytes| i64::from(u32::from_le_bytes(bytes)),
                &self.uint64s,
                |value| u32::try_from(value).ok().map(i64::from),
            )?),
            13 => {
                let values = numbers(raw, u64::from_le_bytes, &self.uint64s, same)?;
                let signed = values.into_iter().map(i64::try_from).collect::<Result<_, _>>();
                Data::I64(signed.map_err(|_| "an element does not fit int64, as which uint64 is computed")?)
            }
            16 => Data::F32(halves(raw, int32s, |bits| bf16::from_bits(bits).to_f32())?),
            21 => Data::U8(nibbles(|nibble| nibble)?),
            // The sign is the nibble's highest bit.
            22 => Data::I8(
                nibbles(|nibble| nibble)?
                    .into_iter()
                    .map(|nibble| (nibble << 4).cast_signed() >> 4)
                    .collect(),
            ),
            other => {
                return Err(
                    kind(other).map_or_else(|error| error, |kind| format!("{kind} is not read").into())
                );
            }
        })
    }
}

fn same<T>(value: T) -> Option<T> {
    Some(value)
}

/// Elements of `raw`, or of the field for their kind.
fn numbers<T, S: Copy, const N: usize>(
    raw: Option<&[u8]>,
    of_bytes: impl Fn([u8; N]) -> T,
    typed: &[S],
    of_typed: impl Fn(S) -> Option<T>,
) -> Result<Vec<T>, OnnxError> {
    match raw {
        Some(raw) => {
            let (numbers, rest) = raw.as_chunks::<N>();
            if !rest.is_empty() {
                return Err(format!("it has {} bytes, expected {N} for each element", raw.len()).into());
            }
            Ok(numbers.iter().map(|&bytes| of_bytes(bytes)).collect())
        }
        None => {
            let converted: Option<_> = typed.iter().map(|&value| of_typed(value)).collect();
            converted.ok_or_else(|| "an element does not fit the kind that the tensor has".into())
        }
    }
}

/// Elements of 2 bytes, which the field for integers holds too.
fn halves(raw: Option<&[u8]>, typed: &[i32], of_bits: fn(u16) -> f32) -> Result<Vec<f32>, OnnxError> {
    let of_bytes = |bytes| of_bits(u16::from_le_bytes(bytes));
    numbers(raw, of_bytes, typed, |value| u16::try_from(value).ok().map(of_bits))
}

/// Two elements of 4 bits to a byte, the first one in the lower bits; the last half byte may be unused.
fn nibbles(
    raw: Option<&[u8]>,
    typed: &[i32],
    expected: usize,
    convert: impl Fn(u8) -> u8,
) -> Result<Vec<u8>, OnnxError> {
    let bytes = numbers(raw, u8::from_le_bytes, typed, |value| u8::try_from(value & 0xff).ok())?;
    let mut all: Vec<u8> = bytes.iter().flat_map(|&byte| [convert(byte & 0xf), convert(byte >> 4)]).collect();
    if all.len() == expected + 1 {
        all.pop();
    }
    Ok(all)
}

/// A tensor's name for messages.
pub fn described(name: &str) -> String {
    if name.is_empty() {
        "a weight without a name".to_owned()
    } else {
        format!("the weight {}", quoted(name))
    }
}
