//! What an ONNX file says of a graph's input: its name, kind and shape.

use super::error::{OnnxError, quoted};
use super::limits::AXES_MAX;
use super::tensor::kind;
use super::wire::Message;
use crate::model::graph::Input;
use crate::model::graph::tensor::Kind;

/// The sizes of a shape; nothing for one that is open.
type Sizes = Vec<Option<usize>>;

/// A `ValueInfoProto`, whose type has not been looked at.
pub struct ValueInfo<'a> {
    pub name: &'a str,
    value_type: Option<Message<'a>>,
}

impl<'a> ValueInfo<'a> {
    pub fn read(message: Message<'a>) -> Result<Self, OnnxError> {
        let mut info = Self { name: "", value_type: None };
        for field in message.fields() {
            let field = field?;
            match field.number {
                1 => info.name = field.name()?,
                2 => info.value_type = Some(field.message()?),
                _ => {}
            }
        }
        Ok(info)
    }

    /// It as an input of the model.
    pub fn input(&self) -> Result<Input, OnnxError> {
        let place = || format!("its input {}", quoted(self.name));
        let (kind, shape) = self.tensor_type().map_err(|error| error.within(place()))?;
        let shape = shape.ok_or_else(|| {
            OnnxError::from("it has no shape, expected one, in which only the batch may be open")
                .within(place())
        })?;
        Ok(Input { name: self.name.to_owned(), kind, shape })
    }

    /// It as an input of a body, of which the node around it knows better what comes in: nothing need be
    /// said.
    pub fn body_input(&self) -> Result<Input, OnnxError> {
        let (kind, shape) = match self.value_type {
            None => (Kind::F32, None),
            Some(_) => self
                .tensor_type()
                .map_err(|error| error.within(format_args!("its body's input {}", quoted(self.name))))?,
        };
        Ok(Input { name: self.name.to_owned(), kind, shape: shape.unwrap_or_default() })
    }

    fn tensor_type(&self) -> Result<(Kind, Option<Sizes>), OnnxError> {
        let value_type = self.value_type.ok_or("it has no type, expected a tensor")?;
        let mut tensor = None;
        for field in value_type.fields() {
            let field = field?;
            let what = match field.number {
                1 => {
                    tensor = Some(field.message()?);
                    continue;
                }
                4 => "a sequence",
                5 => "a map",
                7 => "of a type of its own",
                8 => "a sparse tensor",
                9 => "optional",
                _ => continue,
            };
            return Err(format!("it is {what}, which is not supported; expected a tensor").into());
        }
        let (mut number, mut shape) = (0, None);
        for field in tensor.ok_or("it has no type, expected a tensor")?.fields() {
            let field = field?;
            match field.number {
                1 => number = field.int()?,
                2 => shape = Some(sizes(field.message()?)?),
                _ => {}
            }
        }
        Ok((kind(number)?, shape))
    }
}

/// The sizes of a `TensorShapeProto`; nothing for those that are named or left out.
fn sizes(message: Message<'_>) -> Result<Sizes, OnnxError> {
    let mut sizes = Vec::new();
    for field in message.fields() {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        if sizes.len() == AXES_MAX {
            return Err(format!("it has more than {AXES_MAX} axes (axes_max)").into());
        }
        let mut size = None;
        for field in field.message()?.fields() {
            let field = field?;
            if field.number == 1 {
                // Some exporters write -1 where they mean that the size is open.
                size = match field.int()? {
                    -1 => None,
                    value => Some(
                        usize::try_from(value)
                            .map_err(|_| format!("it has an axis of the size {value}, expected 0 or more"))?,
                    ),
                };
            }
        }
        sizes.push(size);
    }
    Ok(sizes)
}
