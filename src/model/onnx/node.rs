//! A node of an ONNX graph: its operator, the names of its values, and its attributes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{OnnxError, count, quoted};
use super::function::Scope;
use super::graph::Reader;
use super::limits::{ATTRIBUTES_MAX, NODES_MAX, TENSORS_MAX, VALUES_MAX, WORDS_MAX};
use super::model::domain;
use super::tensor::TensorProto;
use super::wire::Message;
use crate::model::graph::{Attribute, Node};

/// A node as it stands in the file, its attributes not read yet.
#[derive(Default)]
pub struct NodeProto<'a> {
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    name: &'a str,
    pub operator: &'a str,
    pub domain: &'a str,
    /// Which of several functions of one name it calls.
    pub overload: &'a str,
    attributes: Vec<Message<'a>>,
}

impl<'a> NodeProto<'a> {
    fn read(message: Message<'a>, values: &mut usize) -> Result<Self, OnnxError> {
        let mut node = Self::default();
        for field in message.fields() {
            let field = field?;
            match field.number {
                number @ (1 | 2) => {
                    count(values, VALUES_MAX, "names of inputs and outputs", "values_max")?;
                    let names = if number == 1 { &mut node.inputs } else { &mut node.outputs };
                    names.push(field.name()?);
                }
                3 => node.name = field.name()?,
                4 => node.operator = field.name()?,
                5 => {
                    if node.attributes.len() == ATTRIBUTES_MAX {
                        return Err(
                            format!("it has more than {ATTRIBUTES_MAX} attributes (attributes_max)").into()
                        );
                    }
                    node.attributes.push(field.message()?);
                }
                7 => node.domain = field.name()?,
                8 => node.overload = field.name()?,
                _ => {}
            }
        }
        node.domain = domain(node.domain);
        match node.operator {
            "" => Err("it has no operator (op_type)".into()),
            _ => Ok(node),
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads a node to the end of `nodes`, or what the function that it calls is made of.
    pub fn node(
        &mut self,
        message: Message<'a>,
        scope: &Scope<'_>,
        nodes: &mut Vec<Node>,
    ) -> Result<(), OnnxError> {
        count(&mut self.counted.nodes, NODES_MAX, "nodes", "nodes_max")?;
        let number = nodes.len();
        let proto = NodeProto::read(message, &mut self.counted.values)
            .map_err(|error| error.within(format_args!("node {number}")))?;
        let place = || {
            let name = if proto.name.is_empty() { String::new() } else { format!(" {}", quoted(proto.name)) };
            format!("node {number}{name} ({})", proto.operator.escape_debug())
        };
        let attributes = self.attributes(&proto, scope).map_err(|error| error.within(place()))?;
        let node = Node {
            name: proto.name.to_owned(),
            domain: proto.domain.to_owned(),
            operator: proto.operator.to_owned(),
            inputs: proto.inputs.iter().map(|name| scope.name(name)).collect(),
            outputs: proto.outputs.iter().map(|name| scope.name(name)).collect(),
            attributes,
            opset: scope.opset(proto.domain).filter(|version| self.opsets.get(proto.domain) != Some(version)),
        };
        match self.function(&proto) {
            Some(function) => self.call(function, &node, scope, nodes).map_err(|error| error.within(place())),
            None => {
                nodes.push(node);
                Ok(())
            }
        }
    }

    fn attributes(
        &mut self,
        proto: &NodeProto<'a>,
        scope: &Scope<'_>,
    ) -> Result<BTreeMap<String, Attribute>, OnnxError> {
        let mut attributes = BTreeMap::new();
        for &message in &proto.attributes {
            let (name, attribute) = self.attribute(message, scope)?;
            let Some(attribute) = attribute else { continue };
            if attributes.insert(name.to_owned(), attribute).is_some() {
                return Err(format!("it has the attribute {} twice", quoted(name)).into());
            }
        }
        Ok(attributes)
    }

    /// An attribute and its name; nothing where it refers to one that its function was called without.
    pub fn attribute(
        &mut self,
        message: Message<'a>,
        scope: &Scope<'_>,
    ) -> Result<(&'a str, Option<Attribute>), OnnxError> {
        let mut name = "";
        for field in message.fields() {
            let field = field?;
            if field.number == 1 {
                name = field.name()?;
            }
        }
        if name.is_empty() {
            return Err("it has an attribute without a name".into());
        }
        let proto = AttributeProto::read(message, &mut self.counted.words);
        let attribute = proto.and_then(|proto| self.value(proto, scope));
        Ok((name, attribute.map_err(|error| error.within(format_args!("its attribute {}", quoted(name))))?))
    }

    fn value(
        &mut self,
        proto: AttributeProto<'a>,
        scope: &Scope<'_>,
    ) -> Result<Option<Attribute>, OnnxError> {
        let kind = proto.kind()?;
        if !proto.refers_to.is_empty() {
            return scope.attribute(proto.refers_to);
        }
        Ok(Some(match kind {
            1 => Attribute::Float(proto.float.unwrap_or_default()),
            2 => Attribute::Int(proto.int.unwrap_or_default()),
            3 => Attribute::Text(proto.text.unwrap_or_default().to_owned()),
            4 => Attribute::Tensor(self.tensor(proto.tensor.ok_or("it has no tensor")?)?),
            5 => Attribute::Graph(Arc::new(self.body(proto.graph.ok_or("it has no graph")?, scope)?)),
            6 => Attribute::Floats(proto.floats),
            7 => Attribute::Ints(proto.ints),
            8 => Attribute::Texts(proto.texts.into_iter().map(str::to_owned).collect()),
            other => return Err(unsupported(other)),
        }))
    }

    fn tensor(&mut self, message: Message<'a>) -> Result<Arc<crate::model::graph::Tensor>, OnnxError> {
        count(&mut self.counted.tensors, TENSORS_MAX, "tensors", "tensors_max")?;
        let proto = TensorProto::read(message, &mut self.counted.words)?;
        Ok(Arc::new(proto.tensor(&mut self.external)?))
    }
}

/// An attribute as it stands in the file.
#[derive(Default)]
struct AttributeProto<'a> {
    /// What it says that it is; files of the first years do not say it.
    stated: Option<i64>,
    /// The first field that it has, by what it would be.
    seen: Option<i64>,
    refers_to: &'a str,
    float: Option<f32>,
    int: Option<i64>,
    text: Option<&'a str>,
    tensor: Option<Message<'a>>,
    graph: Option<Message<'a>>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    texts: Vec<&'a str>,
}

impl<'a> AttributeProto<'a> {
    fn read(message: Message<'a>, words: &mut usize) -> Result<Self, OnnxError> {
        let mut proto = Self::default();
        for field in message.fields() {
            let field = field?;
            let kind = match field.number {
                2 => {
                    proto.float = Some(field.float()?);
                    1
                }
                3 => {
                    proto.int = Some(field.int()?);
                    2
                }
                4 => {
                    proto.text = Some(field.text()?);
                    3
                }
                5 => {
                    proto.tensor = Some(field.message()?);
                    4
                }
                6 => {
                    proto.graph = Some(field.message()?);
                    5
                }
                7 => {
                    field.floats(&mut proto.floats)?;
                    6
                }
                8 => {
                    field.ints(&mut proto.ints, u64::cast_signed)?;
                    7
                }
                9 => {
                    count(words, WORDS_MAX, "words", "words_max")?;
                    proto.texts.push(field.text()?);
                    8
                }
                10 => 9,
                11 => 10,
                14 => 13,
                15 => 14,
                22 => 11,
                23 => 12,
                20 => {
                    proto.stated = Some(field.int()?);
                    continue;
                }
                21 => {
                    proto.refers_to = field.name()?;
                    continue;
                }
                _ => continue,
            };
            proto.seen.get_or_insert(kind);
        }
        Ok(proto)
    }

    /// What it is, as ONNX numbers that (`AttributeProto.AttributeType`).
    fn kind(&self) -> Result<i64, OnnxError> {
        match (self.stated.filter(|&stated| stated != 0), self.seen) {
            // A field of the value 0, or without elements, need not be written.
            (Some(stated), None) => Ok(stated),
            (Some(stated), Some(seen)) if stated == seen => Ok(stated),
            (Some(stated), Some(seen)) => {
                Err(format!("it says that it is {}, and is {}", kind_name(stated), kind_name(seen)).into())
            }
            (None, Some(seen)) => Ok(seen),
            (None, None) if !self.refers_to.is_empty() => Ok(0),
            (None, None) => Err("it has no value".into()),
        }
    }
}

fn kind_name(kind: i64) -> String {
    match kind {
        1 => "a number".to_owned(),
        2 => "an integer".to_owned(),
        3 => "a word".to_owned(),
        4 => "a tensor".to_owned(),
        5 => "a graph".to_owned(),
        6 => "numbers".to_owned(),
        7 => "integers".to_owned(),
        8 => "words".to_owned(),
        9 => "tensors".to_owned(),
        10 => "graphs".to_owned(),
        11 => "a sparse tensor".to_owned(),
        12 => "sparse tensors".to_owned(),
        13 => "a type".to_owned(),
        14 => "types".to_owned(),
        other => format!("of the kind {other}"),
    }
}

fn unsupported(kind: i64) -> OnnxError {
    format!("it is {}, which is not supported", kind_name(kind)).into()
}
