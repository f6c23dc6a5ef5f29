//! Whether the tensors of a file are those that the layers need.

use std::collections::{HashMap, HashSet};

use super::config::CONFIG_FILE;
use super::glob;
use super::layers::{Expected, Layer, Role, Values};
use super::tensors::{RawTensor, Shape, TensorInfo};

/// The most problems that one error lists.
const PROBLEMS_MAX: usize = 16;

/// The values that `layers` need, or every way in which `tensors` are not what the layers expect. Those that
/// one of the patterns in `ignore` matches need not be used.
pub fn check_tensors(
    layers: &[Layer],
    ignore: &[String],
    tensors: &[RawTensor],
) -> Result<Values, Vec<String>> {
    let expected: Vec<_> = layers.iter().flat_map(|layer| layer.as_type().tensors()).collect();
    let by_name: HashMap<&str, &RawTensor> =
        tensors.iter().map(|tensor| (tensor.info.name.as_str(), tensor)).collect();
    let mut values = Values::new();
    // All of them are gathered: who describes a checkpoint for the first time makes one mistake often,
    // and the list shows which.
    let mut problems = Vec::new();
    // A tensor that is not read may have any shape and any numbers, or be absent: old versions of
    // PyTorch did not save `num_batches_tracked`.
    for want in expected.iter().filter(|want| want.role != Role::Unused) {
        match by_name.get(want.name.as_str()) {
            None => problems.push(format!("{} {} is missing", want.name, Shape(&want.shape))),
            Some(found) => match check_tensor(want, found) {
                Ok(numbers) => drop(values.insert(want.name.clone(), numbers)),
                Err(problem) => problems.push(problem),
            },
        }
    }
    // Weights that no layer reads mean that a layer is missing in the description; the model would answer all
    // the same, and wrongly.
    let unused = unused(layers, ignore, tensors);
    let names: Vec<_> = unused.iter().map(|info| format!("{:?}", info.name)).collect();
    for info in unused {
        problems.push(format!("{} {} is in the file and not used", info.name, Shape(&info.shape)));
    }
    if problems.is_empty() {
        return Ok(values);
    }
    let mut problems = in_words(problems, &expected, tensors);
    if !names.is_empty() {
        let names = listed(&names);
        problems.push(format!(
            "where no layer is missing for what is not used, {CONFIG_FILE} may say \"ignore\": [{names}]"
        ));
    }
    Err(problems)
}

/// The tensors that none of `layers` needs, without those that one of the patterns in `ignore` matches.
pub fn unused<'t>(layers: &[Layer], ignore: &[String], tensors: &'t [RawTensor]) -> Vec<&'t TensorInfo> {
    let wanted: HashSet<String> =
        layers.iter().flat_map(|layer| layer.as_type().tensors()).map(|want| want.name).collect();
    let is_unused = |info: &&TensorInfo| {
        !wanted.contains(&info.name) && !ignore.iter().any(|pattern| glob::matches(pattern, &info.name))
    };
    tensors.iter().map(|tensor| &tensor.info).filter(is_unused).collect()
}

/// The values of `found`, or why they cannot be those of `want`.
fn check_tensor(want: &Expected, found: &RawTensor) -> Result<Vec<f32>, String> {
    let Expected { name, shape, squeezed, .. } = want;
    let TensorInfo { shape: found_shape, dtype, .. } = &found.info;
    let counted = |shape: &[usize]| shape.iter().copied().filter(|size| *size != 1).collect::<Vec<_>>();
    if found_shape != shape && !(*squeezed && counted(found_shape) == counted(shape)) {
        return Err(format!("{name} is {} in the file, expected {}", Shape(found_shape), Shape(shape)));
    }
    // Whole numbers are counters or quantised weights, which mean nothing without their scale.
    if !dtype.is_float() {
        return Err(format!("{name} holds {dtype}, expected floating point"));
    }
    // Checked in f32, in which the model computes: a large f64 is finite in the file and infinite here.
    // One such weight makes every answer NaN, or worse, saturates a sigmoid into a healthy-looking 0 or 1.
    let numbers = found.to_f32();
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(at) => Err(format!("{name} has {} at element {at}, expected finite numbers", numbers[at])),
        None => Ok(numbers),
    }
}

/// At most [`PROBLEMS_MAX`] of the problems, then what was expected and what the file has.
fn in_words(mut problems: Vec<String>, expected: &[Expected], tensors: &[RawTensor]) -> Vec<String> {
    if problems.len() > PROBLEMS_MAX {
        let more = problems.len() - PROBLEMS_MAX;
        problems.truncate(PROBLEMS_MAX);
        problems.push(format!("and {more} more"));
    }
    let wanted = expected.iter().filter(|want| want.role != Role::Unused);
    let wanted: Vec<_> = wanted.map(|want| format!("{} {}", want.name, Shape(&want.shape))).collect();
    let had: Vec<_> =
        tensors.iter().map(|tensor| format!("{} {}", tensor.info.name, Shape(&tensor.info.shape))).collect();
    problems.push(format!("expected {}", listed(&wanted)));
    problems.push(format!("the file holds {}", listed(&had)));
    problems
}

fn listed(names: &[String]) -> String {
    match names.len() {
        0 => "nothing".to_owned(),
        1..=PROBLEMS_MAX => names.join(", "),
        all => format!("{} and {} more", names[..PROBLEMS_MAX].join(", "), all - PROBLEMS_MAX),
    }
}
