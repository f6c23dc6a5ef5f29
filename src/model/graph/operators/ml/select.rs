//! Operators that put columns elsewhere: `ArrayFeatureExtractor`, `FeatureVectorizer`, `OneHotEncoder`.

use super::encode::{Codes, code_of};
use super::{copy_f32, expect_numbers};
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::{ANY, Operator};
use crate::model::graph::tensor::{Data, Kind, TensorType, elements};

pub const OPERATORS: &[Operator] = &[
    Operator::ml("ArrayFeatureExtractor", 1, 2..=2, extractor),
    Operator::ml("FeatureVectorizer", 1, ANY, vectorizer),
    Operator::ml("OneHotEncoder", 1, 1..=1, one_hot),
];

/// Takes places of the last axis, which its second input names.
struct Extractor {
    columns: usize,
    /// The places, where they are known.
    known: Option<Vec<usize>>,
}

fn extractor(context: &Context<'_>) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let Some((&columns, outer)) = shape.split_last() else {
        return Err("its input is a single value, expected one or more axes".into());
    };
    if context.kind(1)? != Kind::I64 {
        return Err(format!("its input 1 (the places) is {}, expected int64", context.tensor_type(1)?).into());
    }
    let count = elements(context.shape(1)?).ok_or("it has more places than can be counted")?;
    if count == 0 {
        return Err("its input 1 (the places) is empty, expected one or more".into());
    }
    let known = match context.constant(1)?.and_then(|places| places.values::<i64>()) {
        Some(places) => Some(places.iter().map(|&at| place(at, columns)).collect::<Result<_, _>>()?),
        None => None,
    };
    // An input with one axis gives one row all the same, as in ONNX Runtime.
    let mut shape = if outer.is_empty() { vec![1] } else { outer.to_vec() };
    shape.push(count);
    Ok(moving(TensorType::new(context.kind(0)?, shape), Extractor { columns, known }))
}

fn place(at: i64, columns: usize) -> Result<usize, String> {
    usize::try_from(at)
        .ok()
        .filter(|&at| at < columns)
        .ok_or_else(|| format!("its input 1 names place {at}, and the last axis of its input has {columns}"))
}

impl Mover for Extractor {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (input_bits::<T>(inputs, 0)?, output_bits::<T>(outputs, 0)?);
        if let Some(known) = &self.known {
            for (to, from) in to.chunks_exact_mut(known.len()).zip(from.chunks_exact(self.columns.max(1))) {
                to.iter_mut().zip(known).for_each(|(to, &at)| to.clone_from(&from[at]));
            }
            return Ok(());
        }
        let places = inputs.values::<i64>(1)?;
        for (to, from) in to.chunks_exact_mut(places.len()).zip(from.chunks_exact(self.columns.max(1))) {
            for (to, &at) in to.iter_mut().zip(places) {
                to.clone_from(&from[place(at, self.columns).map_err(Fault)?]);
            }
        }
        Ok(())
    }
}

/// Puts its inputs beside each other, each cut or filled up with zeros to the width that it was given.
struct Vectorizer {
    rows: usize,
    /// For each input how many numbers of a row it has, and how many places it gets.
    widths: Vec<(usize, usize)>,
}

fn vectorizer(context: &Context<'_>) -> Result<Built, Problem> {
    let places = context.ints("inputdimensions")?.unwrap_or_default();
    if places.len() != context.inputs() {
        return Err(format!(
            "its attribute inputdimensions has {} values, expected one for each of its {} inputs",
            places.len(),
            context.inputs()
        )
        .into());
    }
    let (mut widths, mut all_rows, mut total) = (Vec::new(), None, 0_usize);
    for (at, &places) in places.iter().enumerate() {
        expect_numbers(context.kind(at)?)?;
        let shape = context.shape(at)?;
        let (rows, columns) = match *shape {
            [] | [_] => (1, shape.first().copied().unwrap_or(1)),
            [rows, ref columns @ ..] => {
                (rows, elements(columns).ok_or("it has more features than can be counted")?)
            }
        };
        if *all_rows.get_or_insert(rows) != rows {
            return Err(format!(
                "its input {at} has the shape {shape:?}, expected as many rows as the others"
            )
            .into());
        }
        let places = size(places, "number in inputdimensions")?;
        total = total.checked_add(places).ok_or("it has more features than can be counted")?;
        widths.push((columns, places));
    }
    let rows = all_rows.unwrap_or(1);
    Ok(Built::kernel(TensorType::new(Kind::F32, [rows, total]), Vectorizer { rows, widths }))
}

impl Kernel for Vectorizer {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<f32>(outputs, 0)?;
        to.fill(0.0);
        let total: usize = self.widths.iter().map(|(_, places)| places).sum();
        let mut start = 0;
        for (at, &(columns, places)) in self.widths.iter().enumerate() {
            let data = inputs.data(at)?;
            let width = columns.min(places);
            for row in 0..self.rows {
                copy_f32(data, row * columns, &mut to[row * total + start..][..width])?;
            }
            start += places;
        }
        Ok(())
    }
}

/// A one at the place of each element's category.
struct OneHot {
    codes: Codes,
    categories: usize,
    /// Whether what is in no category is all zeros, instead of a fault.
    allows_unknown: bool,
}

fn one_hot(context: &Context<'_>) -> Result<Built, Problem> {
    let ints = context.ints("cats_int64s")?.unwrap_or_default();
    let texts = context.texts("cats_strings")?.unwrap_or_default();
    let allows_unknown = context.flag("zeros", true)?;
    let kind = context.kind(0)?;
    let categories = if kind == Kind::Text { texts.len() } else { ints.len() };
    if categories == 0 || !ints.is_empty() && !texts.is_empty() {
        return Err(format!(
            "its attributes cats_int64s and cats_strings have {} and {} values, expected those for {kind} alone",
            ints.len(),
            texts.len()
        )
        .into());
    }
    let codes = if kind == Kind::Text {
        Codes::of_texts(texts.iter().map(String::as_str), true)
    } else {
        expect_numbers(kind)?;
        Codes::of_numbers(ints.iter().map(|&value| value as u64), true)
    };
    let mut shape = context.shape(0)?.to_vec();
    shape.push(categories);
    Ok(Built::kernel(TensorType::new(Kind::F32, shape), OneHot { codes, categories, allows_unknown }))
}

impl Kernel for OneHot {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let Self { codes, categories, allows_unknown } = &*self;
        let to = output::<f32>(outputs, 0)?;
        to.fill(0.0);
        let mut put = |at: usize, found: Option<usize>| match found {
            Some(category) => {
                to[at * categories + category] = 1.0;
                Ok(())
            }
            None if *allows_unknown => Ok(()),
            None => Err(Fault(format!("its element {at} is in none of the {categories} categories"))),
        };
        match inputs.data(0)? {
            Data::Text(values) => {
                values.iter().enumerate().try_for_each(|(at, value)| put(at, codes.text(value)))
            }
            data => each_number(data, |at, value| put(at, codes.number(value as u64))),
        }
    }
}

/// Calls `each` with each number, its fraction cut off, as categories are compared.
fn each_number(data: &Data, mut each: impl FnMut(usize, i64) -> Result<(), Fault>) -> Result<(), Fault> {
    match data {
        Data::I64(values) => values.iter().enumerate().try_for_each(|(at, &value)| each(at, value)),
        Data::I32(values) => {
            values.iter().enumerate().try_for_each(|(at, &value)| each(at, i64::from(value)))
        }
        Data::F32(values) => {
            values.iter().enumerate().try_for_each(|(at, &value)| each(at, code_of(value.into())))
        }
        Data::F64(values) => values.iter().enumerate().try_for_each(|(at, &value)| each(at, code_of(value))),
        other => Err(Fault(format!("its input is {}, expected numbers", other.kind()))),
    }
}
