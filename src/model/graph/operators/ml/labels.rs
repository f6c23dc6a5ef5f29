//! The labels of a classifier's classes: integers or words.

use std::sync::Arc;

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Fault, output};
use crate::model::graph::tensor::{Data, Kind};

/// A label for each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    Ints(Vec<i64>),
    Texts(Vec<Arc<str>>),
}

impl Labels {
    /// The labels in the attributes `ints` and `texts`, one of which must be there.
    pub fn read(context: &Context<'_>, ints: &str, texts: &str) -> Result<Self, Problem> {
        let numbers = context.ints(ints)?.unwrap_or_default();
        let words = context.texts(texts)?.unwrap_or_default();
        match (numbers, words) {
            ([], []) => Err(format!("it has no labels, expected {ints} or {texts}").into()),
            ([..], []) => Ok(Self::Ints(numbers.to_vec())),
            ([], [..]) => Ok(Self::Texts(words.iter().map(|word| Arc::from(word.as_str())).collect())),
            _ => Err(format!("it has both {ints} and {texts}, expected one of them").into()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    /// What the output of labels is made of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ints(_) => Kind::I64,
            Self::Texts(_) => Kind::Text,
        }
    }

    /// Writes the label of class `class` at place `row` of output 0.
    pub fn write(&self, outputs: &mut [Data], row: usize, class: usize) -> Result<(), Fault> {
        match self {
            Self::Ints(labels) => output::<i64>(outputs, 0)?[row] = labels[class],
            Self::Texts(labels) => output::<Arc<str>>(outputs, 0)?[row] = Arc::clone(&labels[class]),
        }
        Ok(())
    }
}
