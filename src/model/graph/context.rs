//! What an operator sees of its node when it is built: kinds, shapes and known values of its inputs, its
//! attributes, and the version of its operators.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::ir::{Attribute, Graph, Node};
use super::plan::{Plan, PlanError, Value, Wanted};
use super::rows::Rows;
use super::tensor::{Element, Kind, Tensor, TensorType};

/// What is wrong with a node, in words, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub String);

impl<S: Into<String>> From<S> for Problem {
    fn from(problem: S) -> Self {
        Self(problem.into())
    }
}

/// What is known of one input of a node.
#[derive(Debug, Clone)]
pub struct Known {
    pub tensor_type: TensorType,
    /// Its elements, where they follow from weights and shapes.
    pub constant: Option<Arc<Tensor>>,
}

/// What nodes have made of their weights, to be shared by all plans and threads. The key is the node.
pub type Prepared = HashMap<(usize, TypeId), Arc<dyn Any + Send + Sync>>;

/// A node, as its operator sees it.
pub struct Context<'a> {
    pub(crate) node: &'a Node,
    pub(crate) number: usize,
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<Option<Known>>,
    pub(crate) prepared: &'a Mutex<Prepared>,
    pub(crate) opsets: &'a BTreeMap<String, i64>,
    /// The names of the inputs behind the node's own, which its body takes from around it.
    pub(crate) captured: Vec<String>,
    /// The number of the first node of its body.
    pub(crate) first_of_body: usize,
    pub(crate) read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Context<'a> {
    /// The version of the domain's operators.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    pub fn domain(&self) -> &'a str {
        &self.node.domain
    }

    /// The operator's name.
    pub fn operator(&self) -> &'a str {
        &self.node.operator
    }

    /// How many inputs it has, those left out at the end not counted.
    pub fn inputs(&self) -> usize {
        self.captured_from()
    }

    /// The same, with what its body takes from around it.
    pub fn all_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// How many outputs it has, those left out at the end not counted.
    pub fn outputs(&self) -> usize {
        self.node.outputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)
    }

    /// Whether somebody may want output `at`.
    pub fn wants(&self, at: usize) -> bool {
        self.node.outputs.get(at).is_some_and(|name| !name.is_empty())
    }

    /// Whether input `at` is there.
    pub fn has(&self, at: usize) -> bool {
        self.inputs.get(at).is_some_and(Option::is_some)
    }

    fn input(&self, at: usize) -> Result<&Known, Problem> {
        let missing = || Problem(format!("its input {at} is left out, expected a value"));
        self.inputs.get(at).and_then(Option::as_ref).ok_or_else(missing)
    }

    /// The kind and the shape of input `at`.
    pub fn tensor_type(&self, at: usize) -> Result<&TensorType, Problem> {
        Ok(&self.input(at)?.tensor_type)
    }

    pub fn shape(&self, at: usize) -> Result<&[usize], Problem> {
        Ok(&self.input(at)?.tensor_type.shape)
    }

    pub fn kind(&self, at: usize) -> Result<Kind, Problem> {
        Ok(self.input(at)?.tensor_type.kind)
    }

    /// The elements of input `at`, where they are known already.
    pub fn constant(&self, at: usize) -> Result<Option<&Arc<Tensor>>, Problem> {
        Ok(self.input(at)?.constant.as_ref())
    }

    /// The elements of input `at`, which must be known: shapes are made of them. `what` is the input's name
    /// in the operator's description.
    pub fn known(&self, at: usize, what: &str) -> Result<&Arc<Tensor>, Problem> {
        self.constant(at)?.ok_or_else(|| {
            let name = &self.node.inputs[at];
            let name = name.escape_debug();
            Problem(format!("its input {at} ({what}) is \"{name}\", which depends on the row; it must be known when the model is loaded"))
        })
    }

    /// The whole numbers of input `at`, which must be known, in one row.
    pub fn known_ints(&self, at: usize, what: &str) -> Result<Vec<i64>, Problem> {
        let tensor = self.known(at, what)?;
        match (tensor.values::<i64>(), tensor.values::<i32>()) {
            (Some(values), _) => Ok(values.to_vec()),
            (_, Some(values)) => Ok(values.iter().map(|&value| i64::from(value)).collect()),
            _ => Err(Problem(format!("its input {at} ({what}) is {}, expected int64", tensor.tensor_type()))),
        }
    }

    /// The known elements of input `at`, of the type `T`.
    pub fn known_values<T: Element>(&self, at: usize, what: &str) -> Result<&[T], Problem> {
        let tensor = self.known(at, what)?;
        tensor.values::<T>().ok_or_else(|| {
            Problem(format!("its input {at} ({what}) is {}, expected {}", tensor.tensor_type(), T::KIND))
        })
    }

    fn attribute<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Attribute) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some((key, attribute)) = self.node.attributes.get_key_value(name) else { return Ok(None) };
        self.read.borrow_mut().insert(key);
        let wrong = || Problem(format!("its attribute {name} is {}, expected {expected}", attribute.kind()));
        read(attribute).map(Some).ok_or_else(wrong)
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.attribute(name, "an integer", |attribute| match attribute {
            Attribute::Int(value) => Some(*value),
            _ => None,
        })
    }

    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, Problem> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// An integer that stands for yes or no.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Problem> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(Problem(format!("its attribute {name} is {other}, expected 0 or 1"))),
        }
    }

    pub fn float(&self, name: &str) -> Result<Option<f32>, Problem> {
        self.attribute(name, "a number", |attribute| match attribute {
            Attribute::Float(value) => Some(*value),
            _ => None,
        })
    }

    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, Problem> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        self.attribute(name, "a word", |attribute| match attribute {
            Attribute::Text(value) => Some(value.as_str()),
            _ => None,
        })
    }

    /// One of `choices`, by its word; the first one where nothing is said.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, Problem> {
        let Some(word) = self.text(name)? else { return Ok(choices[0].1) };
        choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            let word = word.escape_debug();
            Problem(format!("its attribute {name} is \"{word}\", expected one of {}", words.join(", ")))
        })
    }

    pub fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, Problem> {
        self.attribute(name, "integers", |attribute| match attribute {
            Attribute::Ints(values) => Some(values.as_slice()),
            // A list without elements says nothing of what they would be.
            Attribute::Floats(values) if values.is_empty() => Some(&[][..]),
            Attribute::Texts(values) if values.is_empty() => Some(&[][..]),
            _ => None,
        })
    }

    pub fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, Problem> {
        self.attribute(name, "numbers", |attribute| match attribute {
            Attribute::Floats(values) => Some(values.as_slice()),
            Attribute::Ints(values) if values.is_empty() => Some(&[][..]),
            Attribute::Texts(values) if values.is_empty() => Some(&[][..]),
            _ => None,
        })
    }

    pub fn texts(&self, name: &str) -> Result<Option<&'a [String]>, Problem> {
        self.attribute(name, "words", |attribute| match attribute {
            Attribute::Texts(values) => Some(values.as_slice()),
            Attribute::Ints(values) if values.is_empty() => Some(&[][..]),
            Attribute::Floats(values) if values.is_empty() => Some(&[][..]),
            _ => None,
        })
    }

    pub fn tensor(&self, name: &str) -> Result<Option<&'a Arc<Tensor>>, Problem> {
        self.attribute(name, "a tensor", |attribute| match attribute {
            Attribute::Tensor(tensor) => Some(tensor),
            _ => None,
        })
    }

    pub fn graph(&self, name: &str) -> Result<&'a Arc<Graph>, Problem> {
        let found = self.attribute(name, "a graph", |attribute| match attribute {
            Attribute::Graph(graph) => Some(graph),
            _ => None,
        })?;
        found.ok_or_else(|| Problem(format!("its attribute {name} is missing, expected a graph")))
    }

    /// Takes note of attributes that change nothing here, such as those for training.
    pub fn ignore(&self, names: &[&str]) {
        for name in names {
            if let Some((key, _)) = self.node.attributes.get_key_value(*name) {
                self.read.borrow_mut().insert(key);
            }
        }
    }

    /// Plans the node's body for one run with inputs of these types; what it takes from around it are the
    /// node's inputs from [`captured_from`](Self::captured_from) on.
    pub fn body(&self, body: &Graph, inputs: &[TensorType]) -> Result<Plan, Problem> {
        let outer = self.captured.iter().zip(&self.inputs[self.captured_from()..]);
        let outer = outer.filter_map(|(name, known)| {
            Some((name.clone(), Value { known: known.clone()?, rows: Rows::Same }))
        });
        let wanted = Wanted {
            graph: body,
            opsets: self.opsets,
            inputs: inputs.iter().map(|input| (input.clone(), Rows::Same)).collect(),
            outer: outer.collect(),
            rows: 1,
            singles: None,
            prepared: self.prepared,
            first_node: self.first_of_body,
        };
        Plan::new(&wanted).map_err(|error: PlanError| Problem(format!("in its body: {error}")))
    }

    /// The place of the first input that its body takes from around it.
    pub fn captured_from(&self) -> usize {
        self.inputs.len() - self.captured.len()
    }

    /// An attribute that the operator has not asked for.
    pub(crate) fn unread(&self) -> Option<&'a str> {
        let read = self.read.borrow();
        self.node.attributes.keys().map(String::as_str).find(|name| !read.contains(name))
    }

    /// What `make` makes of this node's weights, made once for all batch sizes and threads. `make` must not
    /// depend on the batch, nor prepare something itself.
    pub fn prepared<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<Arc<T>, Problem> {
        let key = (self.number, TypeId::of::<T>());
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = prepared.get(&key).cloned();
        if let Some(found) = found.and_then(|found| found.downcast::<T>().ok()) {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        prepared.insert(key, Arc::<T>::clone(&made));
        Ok(made)
    }
}

/// The axis that `axis` names in `rank` of them: from the end where it is negative.
pub fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let signed = rank as i64;
    if (-signed..signed).contains(&axis) {
        return Ok(axis.rem_euclid(signed) as usize);
    }
    Err(Problem(format!(
        "found axis {axis}, expected {} to {}, for its input has {rank} axes",
        -signed,
        signed - 1
    )))
}

/// A size that a file states as an integer: 0 or more.
pub fn size(value: i64, what: &str) -> Result<usize, Problem> {
    usize::try_from(value).map_err(|_| Problem(format!("its {what} is {value}, expected 0 or more")))
}

/// The elements of several inputs, as one plain message where their number does not fit.
pub fn expect_rank(
    shape: &[usize],
    ranks: std::ops::RangeInclusive<usize>,
    what: &str,
) -> Result<(), Problem> {
    if ranks.contains(&shape.len()) {
        return Ok(());
    }
    let expected = if ranks.start() == ranks.end() {
        ranks.start().to_string()
    } else {
        format!("{} to {}", ranks.start(), ranks.end())
    };
    Err(Problem(format!("its {what} has the shape {shape:?}, expected {expected} axes")))
}
