//! Operators that look each element up in a table: `LabelEncoder`, `CategoryMapper`.

use std::sync::Arc;

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel};
use crate::model::graph::moves::{Bits, each_size, output_bits};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Element, Kind, Tensor, TensorType, each_kind};

pub const OPERATORS: &[Operator] = &[
    Operator::ml("LabelEncoder", 1, 1..=1, label_encoder),
    Operator::ml("CategoryMapper", 1, 1..=1, category_mapper),
];

/// What stands for a word that is in no table.
const UNKNOWN_TEXT: &str = "_Unused";

/// Where each key of a table is, sorted by the key.
#[derive(Debug)]
pub enum Codes {
    /// Numbers, by their bits.
    Numbers(Vec<(u64, usize)>),
    Texts(Vec<(Arc<str>, usize)>),
}

impl Codes {
    /// A table of numbers. Of equal keys the last one counts where `is_last` says so, else the first.
    pub fn of_numbers(keys: impl Iterator<Item = u64>, is_last: bool) -> Self {
        Self::Numbers(sorted(keys, is_last))
    }

    /// A table of words; of equal keys as in [`Codes::of_numbers`].
    pub fn of_texts<'a>(keys: impl Iterator<Item = &'a str>, is_last: bool) -> Self {
        Self::Texts(sorted(keys.map(Arc::from), is_last))
    }

    pub fn number(&self, key: u64) -> Option<usize> {
        let Self::Numbers(codes) = self else { return None };
        let at = codes.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(codes[at].1)
    }

    pub fn text(&self, key: &str) -> Option<usize> {
        let Self::Texts(codes) = self else { return None };
        let at = codes.binary_search_by(|(code, _)| (**code).cmp(key)).ok()?;
        Some(codes[at].1)
    }
}

fn sorted<K: Ord>(keys: impl Iterator<Item = K>, is_last: bool) -> Vec<(K, usize)> {
    let mut codes: Vec<_> = keys.enumerate().map(|(at, key)| (key, at)).collect();
    codes.sort_by(|(a, at), (b, bt)| a.cmp(b).then(if is_last { bt.cmp(at) } else { at.cmp(bt) }));
    codes.dedup_by(|(a, _), (b, _)| a == b);
    codes
}

/// The whole number that a category is compared as; what fits none becomes the least one, as processors have
/// it.
pub fn code_of(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// The bits that stand for a number in a table: one zero, and one NaN.
fn bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// Puts a value in the place of each key.
struct Encoder {
    codes: Arc<Codes>,
    /// The values, the one for unknown keys at the end.
    values: Data,
    /// Whether NaN is a key like others.
    finds_nan: bool,
}

/// What a `LabelEncoder` of any version says.
struct Stated {
    keys: Data,
    values: Data,
    default: Data,
    is_last: bool,
}

/// The attribute named `keys_` or `values_`, a list of any type or, from version 4 on, a tensor.
fn list(context: &Context<'_>, what: &str, opset: i64) -> Result<Option<Data>, Problem> {
    let mut found = Vec::new();
    if let Some(ints) = context.ints(&format!("{what}_int64s"))?.filter(|ints| !ints.is_empty()) {
        found.push(Data::I64(ints.to_vec()));
    }
    if let Some(floats) = context.floats(&format!("{what}_floats"))?.filter(|floats| !floats.is_empty()) {
        found.push(Data::F32(floats.to_vec()));
    }
    if let Some(texts) = context.texts(&format!("{what}_strings"))?.filter(|texts| !texts.is_empty()) {
        found.push(Data::Text(texts.iter().map(|text| Arc::from(text.as_str())).collect()));
    }
    if opset >= 4
        && let Some(tensor) = context.tensor(&format!("{what}_tensor"))?
    {
        found.push(tensor.data.clone());
    }
    if found.len() > 1 {
        return Err(format!("its {what} are there {} times, expected one list", found.len()).into());
    }
    Ok(found.pop())
}

/// The value for unknown keys, of the kind of `values`.
fn default(context: &Context<'_>, values: &Data, opset: i64) -> Result<Data, Problem> {
    let int = context.int_or("default_int64", -1)?;
    let float = context.float_or("default_float", -0.0)?;
    let text = context.text("default_string")?.unwrap_or(UNKNOWN_TEXT);
    let tensor: Option<&Arc<Tensor>> = if opset >= 4 { context.tensor("default_tensor")? } else { None };
    if let Some(tensor) = tensor {
        if tensor.data.kind() != values.kind() || tensor.data.len() != 1 {
            return Err(format!(
                "its attribute default_tensor is {}, expected one {}",
                tensor.tensor_type(),
                values.kind()
            )
            .into());
        }
        return Ok(tensor.data.clone());
    }
    Ok(match values.kind() {
        Kind::F32 => Data::F32(vec![float]),
        Kind::F64 => Data::F64(vec![f64::from(float)]),
        Kind::I64 => Data::I64(vec![int]),
        Kind::I32 => Data::I32(vec![int as i32]),
        Kind::I8 => Data::I8(vec![int as i8]),
        Kind::U8 => Data::U8(vec![int as u8]),
        Kind::Bool => Data::Bool(vec![int != 0]),
        Kind::Text => Data::Text(vec![Arc::from(text)]),
    })
}

fn label_encoder(context: &Context<'_>) -> Result<Built, Problem> {
    let opset = context.opset();
    if opset < 2 {
        return first_version(context);
    }
    let missing = |what: &str| {
        Problem(format!(
            "it has no {what}, expected {what}_int64s, {what}_floats, {what}_strings or {what}_tensor"
        ))
    };
    let keys = list(context, "keys", opset)?.ok_or_else(|| missing("keys"))?;
    let values = list(context, "values", opset)?.ok_or_else(|| missing("values"))?;
    let default = default(context, &values, opset)?;
    encoder(context, Stated { keys, values, default, is_last: false }, opset >= 4)
}

/// Version 1: words and their places, in both directions.
fn first_version(context: &Context<'_>) -> Result<Built, Problem> {
    let words = context.texts("classes_strings")?.unwrap_or_default();
    let places = (0..words.len() as i64).collect();
    both_ways(context, words, places)
}

fn category_mapper(context: &Context<'_>) -> Result<Built, Problem> {
    let words = context.texts("cats_strings")?.unwrap_or_default();
    let numbers = context.ints("cats_int64s")?.unwrap_or_default().to_vec();
    both_ways(context, words, numbers)
}

/// Words to numbers, or numbers to words: the kind of the input says which.
fn both_ways(context: &Context<'_>, words: &[String], numbers: Vec<i64>) -> Result<Built, Problem> {
    let words = Data::Text(words.iter().map(|word| Arc::from(word.as_str())).collect());
    let numbers = Data::I64(numbers);
    let (keys, values) = match context.kind(0)? {
        Kind::Text => (words, numbers),
        Kind::I64 => (numbers, words),
        other => return Err(format!("its input is {other}, expected string or int64").into()),
    };
    let default = default(context, &values, 1)?;
    encoder(context, Stated { keys, values, default, is_last: true }, false)
}

fn encoder(context: &Context<'_>, stated: Stated, finds_nan: bool) -> Result<Built, Problem> {
    let Stated { keys, mut values, default, is_last } = stated;
    if keys.len() != values.len() {
        return Err(
            format!("it has {} keys and {} values, expected as many", keys.len(), values.len()).into()
        );
    }
    let input = context.tensor_type(0)?;
    if input.kind != keys.kind() {
        return Err(
            format!("its input is {}, expected the kind of its keys, {}", input.kind, keys.kind()).into()
        );
    }
    let codes = context.prepared(|| codes(&keys, is_last))?;
    append(&mut values, &default);
    let output = TensorType::new(values.kind(), input.shape.clone());
    Ok(Built::kernel(output, Encoder { codes, values, finds_nan }))
}

fn codes(keys: &Data, is_last: bool) -> Result<Codes, Problem> {
    Ok(match keys {
        Data::Text(keys) => Codes::of_texts(keys.iter().map(|key| &**key), is_last),
        Data::F32(keys) => Codes::of_numbers(keys.iter().map(|&key| bits(key.into())), is_last),
        Data::F64(keys) => Codes::of_numbers(keys.iter().map(|&key| bits(key)), is_last),
        Data::I64(keys) => Codes::of_numbers(keys.iter().map(|&key| key as u64), is_last),
        Data::I32(keys) => Codes::of_numbers(keys.iter().map(|&key| i64::from(key) as u64), is_last),
        Data::I8(keys) => Codes::of_numbers(keys.iter().map(|&key| i64::from(key) as u64), is_last),
        Data::U8(keys) => Codes::of_numbers(keys.iter().map(|&key| u64::from(key)), is_last),
        Data::Bool(keys) => Codes::of_numbers(keys.iter().map(|&key| u64::from(key)), is_last),
    })
}

/// Puts the one value of `last` behind `values`, which has the same kind.
fn append(values: &mut Data, last: &Data) {
    fn push<T: Element>(values: &mut Vec<T>, last: &Data) {
        values.extend(T::of(last).unwrap_or_default().iter().cloned());
    }
    each_kind!(values, values => push(values, last));
}

impl Encoder {
    /// Writes the value at each of `places`, or the last one. Places are found behind a pointer: loops for
    /// each kind of keys and each kind of values would be many.
    fn write(
        &self,
        mut places: impl Iterator<Item = Option<usize>>,
        outputs: &mut [Data],
    ) -> Result<(), Fault> {
        fn put<T: Bits>(
            values: &Data,
            places: &mut dyn Iterator<Item = Option<usize>>,
            outputs: &mut [Data],
        ) -> Result<(), Fault> {
            let values = T::of(values).unwrap_or_default();
            for (to, place) in output_bits::<T>(outputs, 0)?.iter_mut().zip(places) {
                to.clone_from(&values[place.unwrap_or(values.len() - 1)]);
            }
            Ok(())
        }
        each_size!(self.values.kind(), T => put::<T>(&self.values, &mut places, outputs))
    }

    fn float(&self, key: f64) -> Option<usize> {
        if key.is_nan() && !self.finds_nan {
            return None;
        }
        self.codes.number(bits(key))
    }
}

impl Kernel for Encoder {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let codes = &self.codes;
        match inputs.data(0)? {
            Data::Text(keys) => self.write(keys.iter().map(|key| codes.text(key)), outputs),
            Data::F32(keys) => self.write(keys.iter().map(|&key| self.float(key.into())), outputs),
            Data::F64(keys) => self.write(keys.iter().map(|&key| self.float(key)), outputs),
            Data::I64(keys) => self.write(keys.iter().map(|&key| codes.number(key as u64)), outputs),
            Data::I32(keys) => {
                self.write(keys.iter().map(|&key| codes.number(i64::from(key) as u64)), outputs)
            }
            Data::I8(keys) => {
                self.write(keys.iter().map(|&key| codes.number(i64::from(key) as u64)), outputs)
            }
            Data::U8(keys) => self.write(keys.iter().map(|&key| codes.number(key.into())), outputs),
            Data::Bool(keys) => self.write(keys.iter().map(|&key| codes.number(key.into())), outputs),
        }
    }
}
