//! The equation of an `Einsum`, such as `bij,bjk->bik`.

use std::collections::BTreeMap;

use super::count;
use crate::model::graph::context::Problem;

/// For each label how far apart numbers are along it; 0 where an input has it not.
pub type Strides = Vec<usize>;

/// An equation with the sizes of its inputs.
pub struct Equation {
    /// The size of each label.
    pub sizes: Vec<usize>,
    /// For each input.
    pub strides: Vec<Strides>,
    /// Whether an input has a label, and more than one place along it.
    pub has: Vec<Vec<bool>>,
    /// The labels of the output.
    pub output: Vec<usize>,
}

/// A label: a letter, or an axis of those that `...` stands for, counted from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Other(usize),
    Letter(char),
}

impl Equation {
    pub fn new(text: &str, shapes: &[&[usize]]) -> Result<Self, Problem> {
        let wrong = |what: &str| Problem(format!("its equation is \"{}\", {what}", text.escape_debug()));
        let plain: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (terms, stated) = match plain.split_once("->") {
            Some((terms, output)) => (terms, Some(output)),
            None => (plain.as_str(), None),
        };
        let terms: Vec<&str> = terms.split(',').collect();
        if terms.len() != shapes.len() {
            return Err(wrong(&format!(
                "which has {} terms, and it has {} inputs",
                terms.len(),
                shapes.len()
            )));
        }
        let mut inputs = Vec::with_capacity(terms.len());
        for (term, shape) in terms.iter().zip(shapes) {
            inputs.push(labels(term, Some(shape.len())).ok_or_else(|| {
                wrong(&format!("of which \"{}\" does not name the axes of {shape:?}", term.escape_debug()))
            })?);
        }
        let others = inputs.iter().flatten().filter(|label| matches!(label, Label::Other(_)));
        let others =
            others.map(|label| if let Label::Other(at) = label { at + 1 } else { 0 }).max().unwrap_or(0);
        let output = match stated {
            Some(output) => {
                let open = output.contains("...");
                let letters = output.chars().filter(char::is_ascii_alphabetic).count();
                labels(output, open.then_some(letters + others))
            }
            None => Some(implied(&inputs, others)),
        };
        let output = output.ok_or_else(|| wrong("whose output is not understood"))?;
        let mut sizes = BTreeMap::new();
        for (label, &size) in
            inputs.iter().zip(shapes).flat_map(|(labels, shape)| labels.iter().zip(shape.iter()))
        {
            let known = sizes.entry(*label).or_insert(size);
            if *known != size && *known != 1 && size != 1 {
                return Err(wrong(&format!("in which sizes {known} and {size} meet")));
            }
            *known = if *known == 1 { size } else { *known };
        }
        let numbers: BTreeMap<Label, usize> =
            sizes.keys().enumerate().map(|(at, label)| (*label, at)).collect();
        let mut place = Vec::with_capacity(output.len());
        for label in &output {
            let number =
                numbers.get(label).ok_or_else(|| wrong("whose output has an axis that no input has"))?;
            if place.contains(number) {
                return Err(wrong("whose output has an axis twice"));
            }
            place.push(*number);
        }
        let (mut strides, mut has) = (Vec::new(), Vec::new());
        for (labels, shape) in inputs.iter().zip(shapes) {
            let (mut of_input, mut is_there) = (vec![0; sizes.len()], vec![false; sizes.len()]);
            for (at, label) in labels.iter().enumerate() {
                if shape[at] != 1 {
                    // The same letter twice: along the diagonal.
                    of_input[numbers[label]] += count(&shape[at + 1..])?;
                    is_there[numbers[label]] = true;
                }
            }
            strides.push(of_input);
            has.push(is_there);
        }
        Ok(Self { sizes: sizes.into_values().collect(), strides, has, output: place })
    }
}

/// The labels of a term for `rank` axes, or for as many as it names.
fn labels(term: &str, rank: Option<usize>) -> Option<Vec<Label>> {
    let letters = |part: &str| -> Option<Vec<Label>> {
        part.chars().map(|letter| letter.is_ascii_alphabetic().then_some(Label::Letter(letter))).collect()
    };
    let Some((before, after)) = term.split_once("...") else {
        return letters(term).filter(|labels| rank.is_none_or(|rank| labels.len() == rank));
    };
    let (mut all, after) = (letters(before)?, letters(after)?);
    let others = rank?.checked_sub(all.len() + after.len())?;
    all.extend((0..others).rev().map(Label::Other));
    all.extend(after);
    Some(all)
}

/// Without a stated output: what `...` stands for, then each letter that is there once, by the alphabet.
fn implied(inputs: &[Vec<Label>], others: usize) -> Vec<Label> {
    let mut counts = BTreeMap::new();
    for label in inputs.iter().flatten().filter(|label| matches!(label, Label::Letter(_))) {
        *counts.entry(*label).or_insert(0) += 1;
    }
    let once = counts.into_iter().filter(|(_, count)| *count == 1).map(|(label, _)| label);
    (0..others).rev().map(Label::Other).chain(once).collect()
}
