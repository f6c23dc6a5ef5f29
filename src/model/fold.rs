//! Weights that training kept in parts, put together as PyTorch does before each pass.
//!
//! Weight norm (T. Salimans and D. P. Kingma, 2016) keeps a length and a direction, spectral norm (T. Miyato
//! and others, 2018) a matrix and the two vectors that measure it. Each has two forms in a state dict: that
//! of `torch.nn.utils` and that of `torch.nn.utils.parametrizations`. What looks like a part and does not
//! fit the others stays as it is, and is then told of as a tensor that nobody uses.

use std::collections::HashMap;

use super::tensors::{Dtype, RawTensor, TensorInfo};

/// Between a module's name and the number of a parametrization: what PyTorch calls them.
const PARAMETRIZATIONS: &str = "parametrizations.";

/// What [`fold`] has put together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// How many weights were kept in length and direction.
    pub weight_norms: usize,
    /// How many weights were to be divided by their spectral norm.
    pub spectral_norms: usize,
}

/// The names of the parts of one weight.
struct Parts {
    /// The weight's own name.
    whole: String,
    form: Form,
}

enum Form {
    /// A length and a direction.
    Weight { length: String, direction: String },
    /// A matrix, the vector of its rows, and that of its columns.
    Spectral { matrix: String, rows: String, columns: String },
}

/// Replaces the parts of each weight by the weight, at the place of the first.
pub fn fold(tensors: &mut Vec<RawTensor>) -> Folded {
    let mut folded = Folded::default();
    let candidates: Vec<_> = tensors.iter().filter_map(|tensor| parts(&tensor.info.name)).collect();
    if candidates.is_empty() {
        return folded;
    }
    let places: HashMap<String, usize> =
        tensors.iter().enumerate().map(|(at, tensor)| (tensor.info.name.clone(), at)).collect();
    let mut gone = vec![false; tensors.len()];
    for Parts { whole, form } in candidates {
        if places.contains_key(&whole) {
            continue;
        }
        let find = |name: &String| places.get(name).copied();
        let (weight, used) = match &form {
            Form::Weight { length, direction } => {
                let (Some(length), Some(direction)) = (find(length), find(direction)) else { continue };
                let Some(weight) = weight_norm(&tensors[length], &tensors[direction]) else { continue };
                folded.weight_norms += 1;
                (weight, vec![length, direction])
            }
            Form::Spectral { matrix, rows, columns } => {
                let parts = (find(matrix), find(rows), find(columns));
                let (Some(matrix), Some(rows), Some(columns)) = parts else { continue };
                let weight = spectral_norm(&tensors[matrix], &tensors[rows], &tensors[columns]);
                let Some(weight) = weight else { continue };
                folded.spectral_norms += 1;
                (weight, vec![matrix, rows, columns])
            }
        };
        used.iter().for_each(|&at| gone[at] = true);
        let place = used[0];
        gone[place] = false;
        tensors[place] = RawTensor { info: TensorInfo { name: whole, ..weight.info }, ..weight };
    }
    let mut gone = gone.into_iter();
    tensors.retain(|_| !gone.next().unwrap_or(false));
    folded
}

/// The parts of which a tensor called `name` would be the first.
fn parts(name: &str) -> Option<Parts> {
    if let Some(whole) = name.strip_suffix("_g") {
        let form = Form::Weight { length: name.to_owned(), direction: format!("{whole}_v") };
        return Some(Parts { whole: whole.to_owned(), form });
    }
    if let Some(whole) = name.strip_suffix("_orig") {
        let (rows, columns) = (format!("{whole}_u"), format!("{whole}_v"));
        let form = Form::Spectral { matrix: name.to_owned(), rows, columns };
        return Some(Parts { whole: whole.to_owned(), form });
    }
    let (module, parameter) = match name.find(PARAMETRIZATIONS)? {
        0 => ("", &name[PARAMETRIZATIONS.len()..]),
        at if name[..at].ends_with('.') => (&name[..at], &name[at + PARAMETRIZATIONS.len()..]),
        _ => return None,
    };
    let (parameter, part) = parameter.rsplit_once('.')?;
    let of = |part: &str| format!("{module}{PARAMETRIZATIONS}{parameter}.{part}");
    let form = match part {
        "original0" => Form::Weight { length: name.to_owned(), direction: of("original1") },
        "original" => Form::Spectral { matrix: name.to_owned(), rows: of("0._u"), columns: of("0._v") },
        _ => return None,
    };
    Some(Parts { whole: format!("{module}{parameter}"), form })
}

/// `length * direction / |direction|`, the norm over each dimension in which the length has one number.
fn weight_norm(length: &RawTensor, direction: &RawTensor) -> Option<RawTensor> {
    let shape = &direction.info.shape;
    // One number for the whole matrix may have no shape at all.
    let mut lengths = length.info.shape.clone();
    if lengths.is_empty() {
        lengths = vec![1; shape.len()];
    }
    let fits = lengths.len() == shape.len()
        && lengths.iter().zip(shape).all(|(length, size)| *length == 1 || length == size)
        && are_numbers(&[length, direction]);
    if !fits {
        return None;
    }
    let (factors, values) = (length.to_f64(), direction.to_f64());
    let group = |at: usize| {
        // The place in `lengths` that an element of `shape` belongs to.
        let (mut rest, mut place, mut step) = (at, 0, 1);
        for (size, length) in shape.iter().zip(&lengths).rev() {
            if *length != 1 {
                place += rest % size * step;
                step *= length;
            }
            rest /= size;
        }
        place
    };
    let mut squares = vec![0.0; factors.len()];
    values.iter().enumerate().for_each(|(at, value)| squares[group(at)] += value * value);
    let scaled = values.iter().enumerate().map(|(at, value)| {
        let group = group(at);
        value * (factors[group] / squares[group].sqrt())
    });
    Some(weight(direction, scaled))
}

/// `matrix / (rows^T matrix columns)`, the matrix as one row for each of its first dimension.
fn spectral_norm(matrix: &RawTensor, rows: &RawTensor, columns: &RawTensor) -> Option<RawTensor> {
    let (height, rest) = matrix.info.shape.split_first()?;
    let width = rest.iter().try_fold(1_usize, |width, size| width.checked_mul(*size))?;
    let fits = rows.info.shape == [*height]
        && columns.info.shape == [width]
        && width > 0
        && are_numbers(&[matrix, rows, columns]);
    if !fits {
        return None;
    }
    let (values, left, right) = (matrix.to_f64(), rows.to_f64(), columns.to_f64());
    let products = values.chunks_exact(width).zip(&left).map(|(row, left)| {
        let sum: f64 = row.iter().zip(&right).map(|(value, right)| value * right).sum();
        sum * left
    });
    let norm: f64 = products.sum();
    Some(weight(matrix, values.iter().map(|value| value / norm)))
}

fn are_numbers(tensors: &[&RawTensor]) -> bool {
    tensors.iter().all(|tensor| tensor.info.dtype.is_float())
}

/// `values` in the shape of `like`: as f64 where that has them, else as f32, so that nothing more is rounded.
fn weight(like: &RawTensor, values: impl Iterator<Item = f64>) -> RawTensor {
    let (dtype, bytes) = match like.info.dtype {
        Dtype::F64 => (Dtype::F64, values.flat_map(f64::to_le_bytes).collect()),
        _ => (Dtype::F32, values.flat_map(|value| (value as f32).to_le_bytes()).collect()),
    };
    RawTensor { info: TensorInfo { dtype, ..like.info.clone() }, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize], values: &[f32]) -> RawTensor {
        let info = TensorInfo { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec() };
        RawTensor { info, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }

    fn folded(mut tensors: Vec<RawTensor>) -> (Vec<String>, Vec<f32>) {
        fold(&mut tensors);
        let names = tensors.iter().map(|tensor| tensor.info.to_string()).collect();
        (names, tensors[0].to_f32())
    }

    #[test]
    fn both_forms_of_weight_norm_become_the_weight() {
        let direction = [3.0, 4.0, 0.0, 5.0];
        for (length, other) in [
            ("fc.weight_g", "fc.weight_v"),
            ("fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1"),
        ] {
            let (of, other) = (tensor(length, &[2, 1], &[10.0, 1.0]), tensor(other, &[2, 2], &direction));
            let bias = tensor("fc.bias", &[2], &[0.0, 0.0]);
            let (names, values) = folded(vec![of, other, bias]);
            assert_eq!(names, ["fc.weight (2, 2) F32", "fc.bias (2) F32"]);
            assert_eq!(values, [6.0, 8.0, 0.0, 1.0]);
        }
        for shape in [&[][..], &[1, 1]] {
            let (of, other) = (tensor("weight_g", shape, &[50.0]), tensor("weight_v", &[2, 2], &direction));
            assert_eq!(
                folded(vec![of, other]).1[..2],
                [50.0 * 3.0 / 50f32.sqrt(), 50.0 * 4.0 / 50f32.sqrt()]
            );
        }
    }

    #[test]
    fn both_forms_of_spectral_norm_become_the_weight() {
        for [matrix, rows, columns] in [
            ["0.weight_orig", "0.weight_u", "0.weight_v"],
            [
                "0.parametrizations.weight.original",
                "0.parametrizations.weight.0._u",
                "0.parametrizations.weight.0._v",
            ],
        ] {
            let matrix = tensor(matrix, &[2, 1, 2], &[4.0, 0.0, 0.0, 2.0]);
            let (rows, columns) = (tensor(rows, &[2], &[1.0, 0.0]), tensor(columns, &[2], &[1.0, 0.0]));
            let (names, values) = folded(vec![matrix, rows, columns]);
            assert_eq!(names, ["0.weight (2, 1, 2) F32"]);
            assert_eq!(values, [1.0, 0.0, 0.0, 0.5]);
        }
    }

    #[test]
    fn what_does_not_fit_stays_as_it_is() {
        for tensors in [
            vec![tensor("fc.weight_g", &[3, 1], &[1.0; 3]), tensor("fc.weight_v", &[2, 2], &[1.0; 4])],
            vec![tensor("fc.weight_g", &[2, 1], &[1.0; 2])],
            vec![
                tensor("fc.weight_g", &[2, 1], &[1.0; 2]),
                tensor("fc.weight_v", &[2, 2], &[1.0; 4]),
                tensor("fc.weight", &[2, 2], &[1.0; 4]),
            ],
            vec![tensor("parametrizations.", &[], &[1.0])],
            vec![tensor("xparametrizations.weight.original0", &[], &[1.0])],
            vec![tensor("w_orig", &[], &[1.0]), tensor("w_u", &[1], &[1.0]), tensor("w_v", &[1], &[1.0])],
            vec![tensor("w_orig", &[0, 0], &[]), tensor("w_u", &[0], &[]), tensor("w_v", &[0], &[])],
        ] {
            let mut same = tensors.clone();
            assert_eq!(fold(&mut same), Folded::default());
            assert_eq!(same, tensors);
        }
    }
}
