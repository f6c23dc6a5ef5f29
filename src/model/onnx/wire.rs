//! The wire format of protocol buffers: a message is a row of numbered fields.
//!
//! Nothing is copied and nothing is allocated here: a field is a part of the file, and whoever makes
//! something of it counts. What a length in the file says is compared with what is there before anything is
//! made of it. Groups, which nobody writes any more, are refused. See [the
//! format](https://protobuf.dev/programming-guides/encoding/).
//!
//! Why no library: of 8 MB of empty nodes `prost` 0.14 and `rten-onnx` 0.27 make 570 MB and offer no way to
//! stop them. `rten-onnx` also never returns from an integer of twelve bytes, overflows the stack where
//! graphs are nested, takes the end of the file for the end of packed numbers, and reads neither functions
//! nor words in tensors.

use super::error::OnnxError;
use super::limits::NAME_BYTES_MAX;

/// The longest variable-length integer: 64 bits, 7 to a byte.
const VARINT_BYTES_MAX: usize = 10;

/// Bytes that hold a message, a word, or packed numbers, and where they stand in the file.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub bytes: &'a [u8],
    at: usize,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub number: u64,
    value: Value<'a>,
    at: usize,
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Message<'a>),
    Fixed32([u8; 4]),
}

impl<'a> Message<'a> {
    /// A whole file.
    pub fn file(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Its fields, in the order in which they stand. After an error there are no more.
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self }
    }

    /// It as a word.
    pub fn text(self) -> Result<&'a str, OnnxError> {
        std::str::from_utf8(self.bytes).map_err(|_| {
            let shown = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(64)]);
            format!("the word at byte {} is not UTF-8: \"{}\"", self.at, shown.escape_debug()).into()
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        *self = Self { bytes: rest, at: self.at + 1 };
        Some(first)
    }

    fn varint(&mut self) -> Result<u64, OnnxError> {
        let start = self.at;
        let mut value = 0_u64;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.byte().ok_or_else(|| ends(start, "a number"))?;
            let bits = u64::from(byte & 0x7f);
            if place == VARINT_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(format!("the number at byte {start} has more than 64 bits").into())
    }

    fn take(&mut self, length: u64, what: &str) -> Result<Self, OnnxError> {
        let split = usize::try_from(length).ok().and_then(|length| self.bytes.split_at_checked(length));
        let Some((taken, rest)) = split else {
            let there = self.bytes.len();
            return Err(
                format!("{what} at byte {} has {length} bytes, and {there} are left there: the file was cut off or is damaged", self.at)
                    .into(),
            );
        };
        let taken = Self { bytes: taken, at: self.at };
        *self = Self { bytes: rest, at: self.at + taken.bytes.len() };
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OnnxError> {
        let start = self.at;
        let (array, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(|| ends(start, "a number"))?;
        *self = Self { bytes: rest, at: start + N };
        Ok(*array)
    }
}

fn ends(at: usize, what: &str) -> OnnxError {
    format!("{what} at byte {at} has no end: the file was cut off or is damaged").into()
}

/// The fields of a message.
pub struct Fields<'a> {
    rest: Message<'a>,
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, OnnxError> {
        let rest = &mut self.rest;
        let at = rest.at;
        let key = rest.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(rest.varint()?),
            1 => Value::Fixed64(rest.array()?),
            2 => {
                let length = rest.varint()?;
                Value::Bytes(rest.take(length, "a field")?)
            }
            5 => Value::Fixed32(rest.array()?),
            kind => {
                return Err(format!(
                    "byte {at} begins a field of the kind {kind}, which a model does not have"
                )
                .into());
            }
        };
        match key >> 3 {
            0 => Err(format!("byte {at} begins a field with the number 0, which no message has").into()),
            number => Ok(Field { number, value, at }),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.bytes.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest.bytes = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    fn unexpected(&self, expected: &str) -> OnnxError {
        let found = match self.value {
            Value::Varint(_) => "an integer",
            Value::Fixed64(_) => "8 bytes",
            Value::Bytes(_) => "a message or word",
            Value::Fixed32(_) => "4 bytes",
        };
        format!("field {} at byte {} is {found}, expected {expected}", self.number, self.at).into()
    }

    pub fn message(&self) -> Result<Message<'a>, OnnxError> {
        match self.value {
            Value::Bytes(message) => Ok(message),
            _ => Err(self.unexpected("a message or word")),
        }
    }

    pub fn text(&self) -> Result<&'a str, OnnxError> {
        self.message()?.text()
    }

    /// A word that is a name, and so is not long.
    pub fn name(&self) -> Result<&'a str, OnnxError> {
        let message = self.message()?;
        match message.bytes.len() {
            0..=NAME_BYTES_MAX => message.text(),
            bytes => Err(format!(
                "the name at byte {} has {bytes} bytes, more than {NAME_BYTES_MAX} (name_bytes_max)",
                message.at
            )
            .into()),
        }
    }

    pub fn int(&self) -> Result<i64, OnnxError> {
        match self.value {
            Value::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.unexpected("an integer")),
        }
    }

    pub fn float(&self) -> Result<f32, OnnxError> {
        match self.value {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(self.unexpected("4 bytes")),
        }
    }

    /// Integers, one or several at once.
    pub fn ints<T>(&self, all: &mut Vec<T>, convert: impl Fn(u64) -> T) -> Result<(), OnnxError> {
        match self.value {
            Value::Varint(value) => all.push(convert(value)),
            Value::Bytes(mut packed) => {
                while !packed.bytes.is_empty() {
                    all.push(convert(packed.varint()?));
                }
            }
            _ => return Err(self.unexpected("integers")),
        }
        Ok(())
    }

    /// Numbers of 4 bytes, one or several at once.
    pub fn floats(&self, all: &mut Vec<f32>) -> Result<(), OnnxError> {
        match self.value {
            Value::Fixed32(bytes) => all.push(f32::from_le_bytes(bytes)),
            Value::Bytes(packed) => fixed(packed, all, f32::from_le_bytes)?,
            _ => return Err(self.unexpected("numbers of 4 bytes")),
        }
        Ok(())
    }

    /// Numbers of 8 bytes, one or several at once.
    pub fn doubles(&self, all: &mut Vec<f64>) -> Result<(), OnnxError> {
        match self.value {
            Value::Fixed64(bytes) => all.push(f64::from_le_bytes(bytes)),
            Value::Bytes(packed) => fixed(packed, all, f64::from_le_bytes)?,
            _ => return Err(self.unexpected("numbers of 8 bytes")),
        }
        Ok(())
    }
}

fn fixed<T, const N: usize>(
    packed: Message<'_>,
    all: &mut Vec<T>,
    convert: impl Fn([u8; N]) -> T,
) -> Result<(), OnnxError> {
    let (numbers, rest) = packed.bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(ends(packed.at + numbers.len() * N, "a number"));
    }
    all.extend(numbers.iter().map(|&bytes| convert(bytes)));
    Ok(())
}
