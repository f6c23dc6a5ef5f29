//! Guesses the layers of a network from the names and shapes of its tensors, where
//! no `config.json` states them.
//!
//! Pairs of `*.weight` and `*.bias` become dense layers with ReLU between them and one sigmoid at the end.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

use super::config::INPUTS_MAX;
use super::layers::{Activation, LAYERS_MAX, Layer, Linear};
use super::tensors::{Shape, TensorInfo};

/// A dense layer found by name.
#[derive(Debug, Clone)]
struct Pair<'a> {
    name: &'a str,
    inputs: usize,
    outputs: usize,
}

/// The layers, from `tensors` in the order of their file.
///
/// # Errors
/// A sentence saying where the chain breaks.
pub fn layers(tensors: &[&TensorInfo]) -> Result<Vec<Layer>, String> {
    let in_file_order = pairs(tensors)?;
    let mut in_natural_order = in_file_order.clone();
    in_natural_order.sort_by(|a, b| natural_order(a.name, b.name));
    // Names without numbers, such as encoder and classifier, sort wrongly: there the file's own order tells.
    let chained = check_chain(&in_natural_order)
        .map(|()| in_natural_order)
        .or_else(|problem| check_chain(&in_file_order).map(|()| in_file_order).map_err(|_| problem))?;
    let mut layers = Vec::with_capacity(2 * chained.len());
    for Pair { name, inputs, outputs } in chained {
        if !layers.is_empty() {
            layers.push(Layer::Activation(Activation::Relu));
        }
        layers.push(Layer::Linear(Linear { name: name.to_owned(), inputs, outputs, bias: true }));
    }
    Ok(layers)
}

fn pairs<'a>(tensors: &[&'a TensorInfo]) -> Result<Vec<Pair<'a>>, String> {
    let mut pairs = Vec::new();
    let shapes: HashMap<&str, &Vec<usize>> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), &tensor.shape)).collect();
    let shape_of = |name: &str| shapes.get(name).copied();
    for tensor in tensors {
        if let Some(name) = tensor.name.strip_suffix(".weight") {
            let &[outputs, inputs] = tensor.shape.as_slice() else {
                return Err(format!(
                    "{} has shape {}, expected (outputs, inputs)",
                    tensor.name,
                    Shape(&tensor.shape)
                ));
            };
            match shape_of(&format!("{name}.bias")) {
                Some(bias) if *bias == [outputs] => pairs.push(Pair { name, inputs, outputs }),
                Some(bias) => {
                    return Err(format!("{name}.bias has shape {}, expected ({outputs})", Shape(bias)));
                }
                None => return Err(format!("{} has no {name}.bias beside it", tensor.name)),
            }
        } else {
            let weight = tensor.name.strip_suffix(".bias").map(|name| format!("{name}.weight"));
            if weight.as_deref().and_then(shape_of).is_none() {
                return Err(format!("{} belongs to no pair of weight and bias", tensor.name));
            }
        }
        if pairs.len() > LAYERS_MAX {
            return Err(format!("it has more than {LAYERS_MAX} layers (layers_max)"));
        }
    }
    Ok(pairs)
}

fn check_chain(pairs: &[Pair<'_>]) -> Result<(), String> {
    let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else {
        return Err("there is no pair of weight and bias".to_owned());
    };
    if first.inputs == 0 || first.inputs > INPUTS_MAX {
        return Err(format!("{} takes {} features, expected 1 to {INPUTS_MAX}", first.name, first.inputs));
    }
    for pair in pairs.windows(2) {
        if pair[0].outputs != pair[1].inputs {
            return Err(format!(
                "{} gives {} features, the next layer {} takes {}",
                pair[0].name, pair[0].outputs, pair[1].name, pair[1].inputs
            ));
        }
    }
    if last.outputs != 1 {
        return Err(format!("the last layer {} gives {} numbers, expected 1", last.name, last.outputs));
    }
    Ok(())
}

/// Compares names as people do: `fc2` before `fc10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.chars().peekable(), b.chars().peekable());
    loop {
        let ordering = match (left.peek(), right.peek()) {
            (None, None) => return a.cmp(b),
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (digits(&mut left), digits(&mut right));
                x.len().cmp(&y.len()).then(x.cmp(&y))
            }
            (x, y) => {
                let ordering = x.cmp(&y);
                left.next();
                right.next();
                ordering
            }
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

/// The run of digits that comes next, without leading zeros.
fn digits(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut run = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        if digit != '0' || !run.is_empty() {
            run.push(digit);
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::super::tensors::Dtype;
    use super::*;

    fn dense(layers: &[(&str, usize, usize)]) -> Vec<TensorInfo> {
        let tensor = |name: String, shape| TensorInfo { name, dtype: Dtype::F32, shape };
        let parts = layers.iter().flat_map(|&(name, inputs, outputs)| {
            [
                tensor(format!("{name}.weight"), vec![outputs, inputs]),
                tensor(format!("{name}.bias"), vec![outputs]),
            ]
        });
        parts.collect()
    }

    fn infer(tensors: &[TensorInfo]) -> Result<Vec<String>, String> {
        let layers = layers(&tensors.iter().collect::<Vec<_>>())?;
        Ok(layers.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn layers_are_read_in_natural_order() {
        let tensors = dense(&[("fc10", 4, 1), ("fc9", 8, 4), ("fc1", 3, 8)]);
        let expected = ["linear fc1 (3 to 8)", "relu", "linear fc9 (8 to 4)", "relu", "linear fc10 (4 to 1)"];
        assert_eq!(infer(&tensors).unwrap(), expected);
    }

    #[test]
    fn the_files_order_decides_where_names_cannot() {
        let tensors = dense(&[("encoder", 6, 2), ("classifier", 2, 1)]);
        assert_eq!(
            infer(&tensors).unwrap(),
            ["linear encoder (6 to 2)", "relu", "linear classifier (2 to 1)"]
        );
    }

    #[test]
    fn a_broken_chain_says_where() {
        let broken = infer(&dense(&[("fc1", 3, 8), ("fc2", 7, 1)])).unwrap_err();
        assert_eq!(broken, "fc1 gives 8 features, the next layer fc2 takes 7");
        let wide = infer(&dense(&[("fc1", 3, 8)])).unwrap_err();
        assert_eq!(wide, "the last layer fc1 gives 8 numbers, expected 1");
        let mut stray = dense(&[("fc1", 3, 1)]);
        stray.push(TensorInfo { name: "bn.running_mean".into(), dtype: Dtype::F32, shape: vec![3] });
        assert_eq!(infer(&stray).unwrap_err(), "bn.running_mean belongs to no pair of weight and bias");
        assert!(infer(&[]).is_err());
    }
}
