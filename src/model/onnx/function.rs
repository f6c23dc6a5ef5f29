//! Functions of a model: nodes that call one are replaced by what it is made of.
//!
//! A function is read again for each call, with its own names made different from all others and the call's
//! attributes in the places that refer to them. How often and how deep is bounded; a function that comes to
//! call itself is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::{OnnxError, count, quoted};
use super::graph::Reader;
use super::limits::{CALLED_BYTES_MAX, CALLS_DEPTH_MAX, NODES_MAX, VALUES_MAX};
use super::model::{domain, opset};
use super::node::NodeProto;
use super::wire::Message;
use crate::model::graph::ir::DOMAIN;
use crate::model::graph::{Attribute, Node};

/// A function as it stands in the file.
#[derive(Default)]
pub struct Function<'a> {
    name: &'a str,
    domain: &'a str,
    overload: &'a str,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    /// The names of attributes that a call must have or may leave out.
    attributes: Vec<&'a str>,
    /// Attributes with what they are where a call leaves them out.
    defaults: Vec<Message<'a>>,
    nodes: Vec<Message<'a>>,
    opsets: BTreeMap<String, i64>,
    bytes: usize,
}

impl<'a> Function<'a> {
    pub fn read(message: Message<'a>) -> Result<Self, OnnxError> {
        let mut function = Self { bytes: message.bytes.len(), ..Self::default() };
        let (mut nodes, mut names) = (0, 0);
        for field in message.fields() {
            let field = field?;
            match field.number {
                1 => function.name = field.name()?,
                number @ (4..=6) => {
                    count(&mut names, VALUES_MAX, "names in a function", "values_max")?;
                    let names = match number {
                        4 => &mut function.inputs,
                        5 => &mut function.outputs,
                        _ => &mut function.attributes,
                    };
                    names.push(field.name()?);
                }
                7 => {
                    count(&mut nodes, NODES_MAX, "nodes", "nodes_max")?;
                    function.nodes.push(field.message()?);
                }
                9 => opset(field.message()?, &mut function.opsets)?,
                10 => function.domain = field.name()?,
                11 => {
                    count(&mut names, VALUES_MAX, "names in a function", "values_max")?;
                    function.defaults.push(field.message()?);
                }
                13 => function.overload = field.name()?,
                _ => {}
            }
        }
        function.domain = domain(function.domain);
        for names in [&function.inputs, &function.outputs] {
            let mut seen = BTreeSet::new();
            if let Some(name) = names.iter().find(|name| name.is_empty() || !seen.insert(**name)) {
                return Err(format!(
                    "the function {} has the input or output {} twice, or without a name",
                    quoted(function.name),
                    quoted(name)
                )
                .into());
            }
        }
        Ok(function)
    }
}

/// Where each function is among all, by domain, name and overload; two of one name are refused.
pub fn places<'a>(
    functions: &[Function<'a>],
) -> Result<HashMap<(&'a str, &'a str, &'a str), usize>, OnnxError> {
    let mut places = HashMap::new();
    for (at, function) in functions.iter().enumerate() {
        if places.insert((function.domain, function.name, function.overload), at).is_some() {
            return Err(format!("it has the function {} twice", quoted(function.name)).into());
        }
    }
    Ok(places)
}

/// Where nodes are read: in the graph itself, or in a function, whose names and attributes are those of a
/// call.
#[derive(Default)]
pub struct Scope<'s> {
    /// How many bodies are around it.
    pub depth: usize,
    call: Option<Call<'s>>,
}

#[derive(Clone, Copy)]
struct Call<'s> {
    names: &'s BTreeMap<&'s str, String>,
    /// What comes before names that only the function has.
    prefix: &'s str,
    attributes: &'s BTreeMap<String, Attribute>,
    /// The versions of operators that the function asks for.
    opsets: &'s BTreeMap<String, i64>,
    /// The functions that are being called, by their place among all; the last one is this one.
    calling: &'s [usize],
}

impl Scope<'_> {
    /// The same for a body within.
    pub fn deeper(&self) -> Scope<'_> {
        Scope { depth: self.depth + 1, call: self.call }
    }

    /// What a value is called outside.
    pub fn name(&self, name: &str) -> String {
        match self.call {
            Some(_) if name.is_empty() => String::new(),
            Some(call) => call.names.get(name).cloned().unwrap_or_else(|| format!("{}{name}", call.prefix)),
            None => name.to_owned(),
        }
    }

    /// The attribute of the call that is meant by `name`; nothing where the call has none.
    pub fn attribute(&self, name: &str) -> Result<Option<Attribute>, OnnxError> {
        match self.call {
            Some(call) => Ok(call.attributes.get(name).cloned()),
            None => {
                Err(format!("it refers to the attribute {} of a function, and is in none", quoted(name))
                    .into())
            }
        }
    }

    /// The version of the operators of `domain`, where a function asks for one of its own.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.call?.opsets.get(domain).copied()
    }

    fn calling(&self) -> &[usize] {
        self.call.map_or(&[], |call| call.calling)
    }
}

impl<'a> Reader<'a> {
    /// The function that a node calls, by its place among all; nothing where it is an operator.
    pub fn function(&self, node: &NodeProto<'a>) -> Option<usize> {
        self.places.get(&(node.domain, node.operator, node.overload)).copied()
    }

    /// Puts what function `at` is made of in the place of the node that calls it.
    pub fn call(
        &mut self,
        at: usize,
        node: &Node,
        scope: &Scope<'_>,
        nodes: &mut Vec<Node>,
    ) -> Result<(), OnnxError> {
        let function = &self.functions[at];
        self.check_call(at, node, scope)?;
        self.counted.called_bytes = self.counted.called_bytes.saturating_add(function.bytes);
        if self.counted.called_bytes > CALLED_BYTES_MAX {
            return Err(format!(
                "with it calls of functions add more than {CALLED_BYTES_MAX} bytes (called_bytes_max)"
            )
            .into());
        }
        self.counted.calls += 1;
        let prefix = format!("{}#{}/", function.name, self.counted.calls);
        let mut names = BTreeMap::new();
        for (place, &name) in function.inputs.iter().enumerate() {
            names.insert(name, node.inputs.get(place).cloned().unwrap_or_default());
        }
        let mut passed = Vec::new();
        for (&name, outside) in
            function.outputs.iter().zip(&node.outputs).filter(|(_, outside)| !outside.is_empty())
        {
            match names.get(name) {
                // It gives one of its inputs as it is.
                Some(input) => passed.push(identity(input, outside)),
                None => {
                    names.insert(name, outside.clone());
                }
            }
        }
        let attributes = self.call_attributes(at, node)?;
        let calling = [scope.calling(), &[at]].concat();
        let opsets = self.functions[at].opsets.clone();
        let call = Call {
            names: &names,
            prefix: &prefix,
            attributes: &attributes,
            opsets: &opsets,
            calling: &calling,
        };
        let inner = Scope { depth: scope.depth, call: Some(call) };
        for &message in &function.nodes {
            self.node(message, &inner, nodes)?;
        }
        nodes.extend(passed);
        Ok(())
    }

    fn check_call(&mut self, at: usize, node: &Node, scope: &Scope<'_>) -> Result<(), OnnxError> {
        let function = &self.functions[at];
        let calling = scope.calling();
        if calling.contains(&at) {
            return Err(format!("the function {} calls itself", quoted(function.name)).into());
        }
        if calling.len() == CALLS_DEPTH_MAX {
            return Err(format!(
                "functions call functions more than {CALLS_DEPTH_MAX} deep (calls_depth_max)"
            )
            .into());
        }
        for (what, found, most) in [
            ("inputs", node.inputs.len(), function.inputs.len()),
            ("outputs", node.outputs.len(), function.outputs.len()),
        ] {
            if found > most {
                return Err(
                    format!("it has {found} {what}, and the function that it calls has {most}").into()
                );
            }
        }
        for (domain, &version) in &function.opsets {
            self.opsets.entry(domain.clone()).or_insert(version);
        }
        Ok(())
    }

    /// The attributes of a call, with those that it leaves out.
    fn call_attributes(&mut self, at: usize, node: &Node) -> Result<BTreeMap<String, Attribute>, OnnxError> {
        let function = &self.functions[at];
        let mut attributes = BTreeMap::new();
        for &message in &function.defaults {
            let (name, attribute) = self.attribute(message, &Scope::default())?;
            attributes.extend(attribute.map(|attribute| (name.to_owned(), attribute)));
        }
        for (name, attribute) in &node.attributes {
            if !attributes.contains_key(name) && !function.attributes.contains(&name.as_str()) {
                return Err(
                    format!("its attribute {} is none of the function that it calls", quoted(name)).into()
                );
            }
            attributes.insert(name.clone(), attribute.clone());
        }
        Ok(attributes)
    }
}

fn identity(input: &str, output: &str) -> Node {
    Node {
        domain: DOMAIN.to_owned(),
        operator: "Identity".to_owned(),
        inputs: vec![input.to_owned()],
        outputs: vec![output.to_owned()],
        ..Node::default()
    }
}
