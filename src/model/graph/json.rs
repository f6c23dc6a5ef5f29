//! A graph in `config.json`, at the key `graph`: as text, without its weights.
//!
//! Attributes are written as JSON has them: a number with a point is a number, one without is an integer, and
//! what has no place in a text stands in the file of weights: `{"weight": NAME}` for a tensor, `{"list":
//! NAME}` for long integers or numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::ir::{Attribute, BODIES_DEPTH_MAX, DOMAIN, Graph, Input, Node};
use super::tensor::{Data, Kind, Tensor, elements};
use crate::settings::{Entry, SettingError, Value};

/// The most nodes that a graph may have, those of bodies among them.
pub const NODES_MAX: usize = 65_536;
/// Numbers that JSON has no way to write.
const WORDS: [(&str, f32); 3] =
    [("NaN", f32::NAN), ("Infinity", f32::INFINITY), ("-Infinity", f32::NEG_INFINITY)];
/// Each kind by its name.
const KINDS: [(&str, Kind); 8] = [
    ("float32", Kind::F32),
    ("float64", Kind::F64),
    ("int64", Kind::I64),
    ("int32", Kind::I32),
    ("int8", Kind::I8),
    ("uint8", Kind::U8),
    ("bool", Kind::Bool),
    ("string", Kind::Text),
];

/// Reads the graph at `entry`.
pub fn read(entry: &Entry<'_>) -> Result<Graph, SettingError> {
    let mut left = NODES_MAX;
    graph(entry, 0, &mut left)
}

fn graph(entry: &Entry<'_>, depth: usize, left: &mut usize) -> Result<Graph, SettingError> {
    if depth > BODIES_DEPTH_MAX {
        return Err(entry.invalid(format!("bodies are nested more than {BODIES_DEPTH_MAX} deep")));
    }
    let mut table = entry.table()?;
    let opsets = table.find("opsets");
    let (inputs, outputs, nodes) =
        (table.find_list("inputs")?, table.find("outputs"), table.find_list("nodes")?);
    let words = table.find_named("words")?;
    table.refuse_others()?;
    let mut graph = Graph::default();
    if depth == 0 {
        for (domain, version) in table.required("opsets", opsets)?.named()? {
            graph.opsets.insert(domain.to_owned(), version.number(1_i64..)?);
        }
    } else if let Some(opsets) = opsets {
        return Err(opsets.invalid("a body has those of its graph"));
    }
    for input in table.required("inputs", inputs)? {
        graph.inputs.push(read_input(&input)?);
    }
    graph.outputs = texts(&table.required("outputs", outputs)?)?;
    for (name, entry) in words {
        graph.constants.insert(name.to_owned(), Arc::new(read_words(&entry)?));
    }
    let nodes = table.required("nodes", nodes)?;
    let Some(rest) = left.checked_sub(nodes.len()) else {
        return Err(table.invalid("nodes", format!("found more than {NODES_MAX} nodes (nodes_max)")));
    };
    *left = rest;
    for node in nodes {
        graph.nodes.push(read_node(&node, depth, left)?);
    }
    Ok(graph)
}

fn read_input(entry: &Entry<'_>) -> Result<Input, SettingError> {
    let mut table = entry.table()?;
    let (name, kind, shape) =
        (table.find_text("name")?, table.find_choice("kind", &KINDS)?, table.find_list("shape")?);
    table.refuse_others()?;
    let size = |item: Entry<'_>| match item.setting().value {
        Value::Nothing => Ok(None),
        _ => item.number(..).map(Some),
    };
    Ok(Input {
        name: table.required("name", name)?.to_owned(),
        kind: kind.unwrap_or(Kind::F32),
        shape: table.required("shape", shape)?.into_iter().map(size).collect::<Result<_, _>>()?,
    })
}

fn read_words(entry: &Entry<'_>) -> Result<Tensor, SettingError> {
    let mut table = entry.table()?;
    let (shape, values) = (table.find_numbers::<usize>("shape", ..)?, table.find("values"));
    table.refuse_others()?;
    let values: Vec<Arc<str>> =
        texts(&table.required("values", values)?)?.into_iter().map(Arc::from).collect();
    let shape = shape.unwrap_or_else(|| vec![values.len()]);
    if elements(&shape) != Some(values.len()) {
        return Err(entry.invalid(format!("found {} words for the shape {shape:?}", values.len())));
    }
    Ok(Tensor { shape, data: Data::Text(values) })
}

fn read_node(entry: &Entry<'_>, depth: usize, left: &mut usize) -> Result<Node, SettingError> {
    let mut table = entry.table()?;
    let mut node = Node { domain: DOMAIN.to_owned(), ..Node::default() };
    table.text("name", &mut node.name)?;
    table.text("domain", &mut node.domain)?;
    let (operator, inputs, outputs) =
        (table.find_text("operator")?, table.find("inputs"), table.find("outputs"));
    node.opset = table.find_number("opset", 1_i64..)?;
    let attributes = table.find_named("attributes")?;
    table.refuse_others()?;
    node.operator = table.required("operator", operator)?.to_owned();
    node.inputs = inputs.map_or(Ok(Vec::new()), |entry| texts(&entry))?;
    node.outputs = texts(&table.required("outputs", outputs)?)?;
    for (name, entry) in attributes {
        node.attributes.insert(name.to_owned(), read_attribute(&entry, depth, left)?);
    }
    Ok(node)
}

fn read_attribute(entry: &Entry<'_>, depth: usize, left: &mut usize) -> Result<Attribute, SettingError> {
    match &entry.setting().value {
        Value::Whole(_) => Ok(Attribute::Int(entry.number(..)?)),
        Value::Number(_) => Ok(Attribute::Float(float(entry)?)),
        Value::Text(_) => Ok(Attribute::Text(entry.text()?.to_owned())),
        Value::List(items) => {
            let is = |test: fn(&Value) -> bool| items.iter().all(|item| test(&item.value));
            if is(|value| matches!(value, Value::Whole(_))) {
                return Ok(Attribute::Ints(
                    entry.items()?.map(|item| item.number(..)).collect::<Result<_, _>>()?,
                ));
            }
            let is_word = |value: &Value| matches!(value, Value::Text(text) if !WORDS.iter().any(|(word, _)| word == text));
            if items.iter().any(|item| is_word(&item.value)) {
                return Ok(Attribute::Texts(texts(entry)?));
            }
            Ok(Attribute::Floats(entry.items()?.map(|item| float(&item)).collect::<Result<_, _>>()?))
        }
        Value::Table(_) => read_elsewhere(entry, depth, left),
        Value::Flag(_) | Value::Nothing => {
            Err(entry.wrong("an integer, a number, a word, a list of one of these, or a table"))
        }
    }
}

/// An attribute that is no text: one of the weights, a list among them, a body, a number that is none.
fn read_elsewhere(entry: &Entry<'_>, depth: usize, left: &mut usize) -> Result<Attribute, SettingError> {
    let mut table = entry.table()?;
    let (weight, list) = (table.find_text("weight")?, table.find_text("list")?);
    let (float, words, body) = (table.find("float"), table.find("words"), table.find("graph"));
    table.refuse_others()?;
    match (weight, list, float, words, body) {
        (Some(name), None, None, None, None) => Ok(Attribute::Weight(name.to_owned())),
        (None, Some(name), None, None, None) => Ok(Attribute::List(name.to_owned())),
        (None, None, Some(entry), None, None) => Ok(Attribute::Float(self::float(&entry)?)),
        (None, None, None, Some(entry), None) => Ok(Attribute::Tensor(Arc::new(read_words(&entry)?))),
        (None, None, None, None, Some(entry)) => {
            Ok(Attribute::Graph(Arc::new(graph(&entry, depth + 1, left)?)))
        }
        _ => Err(entry.wrong("one of weight, list, float, words, graph")),
    }
}

fn texts(entry: &Entry<'_>) -> Result<Vec<String>, SettingError> {
    entry.items()?.map(|item| item.text().map(str::to_owned)).collect()
}

/// A number, or the word for one that JSON has not.
fn float(entry: &Entry<'_>) -> Result<f32, SettingError> {
    match entry.setting().value {
        Value::Text(_) => entry.choice(&WORDS),
        _ => Ok(entry.number::<f64>(..)? as f32),
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.opsets.is_empty() {
            map.serialize_entry("opsets", &self.opsets)?;
        }
        map.serialize_entry("inputs", &self.inputs)?;
        map.serialize_entry("outputs", &self.outputs)?;
        let words: BTreeMap<_, _> =
            self.constants.iter().filter_map(|(name, tensor)| Some((name, Words::of(tensor)?))).collect();
        if !words.is_empty() {
            map.serialize_entry("words", &words)?;
        }
        map.serialize_entry("nodes", &self.nodes)?;
        map.end()
    }
}

/// Words among the constants of a graph, for which the file of weights has no type.
#[derive(Serialize)]
struct Words<'a> {
    shape: &'a [usize],
    values: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn of(tensor: &'a Tensor) -> Option<Self> {
        let values = tensor.values::<Arc<str>>()?;
        Some(Self { shape: &tensor.shape, values: values.iter().map(AsRef::as_ref).collect() })
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("kind", self.kind.name())?;
        map.serialize_entry("shape", &self.shape)?;
        map.end()
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.name.is_empty() {
            map.serialize_entry("name", &self.name)?;
        }
        if self.domain != DOMAIN {
            map.serialize_entry("domain", &self.domain)?;
        }
        map.serialize_entry("operator", &self.operator)?;
        map.serialize_entry("inputs", &self.inputs)?;
        map.serialize_entry("outputs", &self.outputs)?;
        if let Some(opset) = self.opset {
            map.serialize_entry("opset", &opset)?;
        }
        if !self.attributes.is_empty() {
            map.serialize_entry("attributes", &self.attributes)?;
        }
        map.end()
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) if value.is_finite() => Finite(*value).serialize(serializer),
            Self::Float(value) => in_table(serializer, "float", word(*value)),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Ints(values) => values.serialize(serializer),
            Self::Floats(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for &value in values {
                    match value.is_finite() {
                        true => list.serialize_element(&Finite(value))?,
                        false => list.serialize_element(word(value))?,
                    }
                }
                list.end()
            }
            Self::Texts(values) => values.serialize(serializer),
            Self::Weight(name) => in_table(serializer, "weight", name),
            Self::List(name) => in_table(serializer, "list", name),
            Self::Graph(graph) => in_table(serializer, "graph", graph.as_ref()),
            // A graph is written without its weights; see `super::stored`.
            Self::Tensor(tensor) => match Words::of(tensor) {
                Some(words) => in_table(serializer, "words", &words),
                None => Err(serde::ser::Error::custom("a tensor stands in the file of weights")),
            },
        }
    }
}

fn in_table<S: Serializer>(
    serializer: S,
    key: &str,
    value: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

fn word(value: f32) -> &'static str {
    match value {
        value if value.is_nan() => WORDS[0].0,
        value if value > 0.0 => WORDS[1].0,
        _ => WORDS[2].0,
    }
}

/// A number that is written with a point, so that it reads as one.
struct Finite(f32);

impl Serialize for Finite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Exactly, so that it reads as the same: the text of an f32 is the shortest, and rounds twice.
        serializer.serialize_f64(f64::from(self.0))
    }
}
