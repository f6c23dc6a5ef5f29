//! For tests of operators: a graph of one node is planned and run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::ir::{Attribute, DOMAIN, Graph, Input, ML_DOMAIN, Node};
use super::plan::{Plan, Wanted};
use super::rows::Rows;
use super::tensor::{Element, Tensor, TensorType};

/// A node and what goes into it.
pub struct One {
    node: Node,
    opset: i64,
    inputs: Vec<Input>,
    values: Vec<Tensor>,
    constants: BTreeMap<String, Arc<Tensor>>,
}

impl One {
    /// A node of ONNX itself, with one output.
    pub fn new(operator: &str, opset: i64) -> Self {
        let node = Node {
            operator: operator.to_owned(),
            domain: DOMAIN.to_owned(),
            outputs: vec!["output0".to_owned()],
            ..Node::default()
        };
        Self { node, opset, inputs: Vec::new(), values: Vec::new(), constants: BTreeMap::new() }
    }

    /// A node of classical machine learning.
    pub fn ml(operator: &str, opset: i64) -> Self {
        let mut one = Self::new(operator, opset);
        one.node.domain = ML_DOMAIN.to_owned();
        one
    }

    pub fn with(mut self, name: &str, attribute: Attribute) -> Self {
        self.node.attributes.insert(name.to_owned(), attribute);
        self
    }

    pub fn int(self, name: &str, value: i64) -> Self {
        self.with(name, Attribute::Int(value))
    }

    pub fn float(self, name: &str, value: f32) -> Self {
        self.with(name, Attribute::Float(value))
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        self.with(name, Attribute::Ints(values.to_vec()))
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.with(name, Attribute::Text(value.to_owned()))
    }

    pub fn outputs(mut self, count: usize) -> Self {
        self.node.outputs = (0..count).map(|at| format!("output{at}")).collect();
        self
    }

    /// An input that is known only when the graph is run.
    pub fn input<T: Element>(mut self, shape: &[usize], values: Vec<T>) -> Self {
        let name = format!("input{}", self.node.inputs.len());
        let sizes = shape.iter().map(|&size| Some(size)).collect();
        self.inputs.push(Input { name: name.clone(), kind: T::KIND, shape: sizes });
        self.values.push(Tensor::new(shape, values));
        self.node.inputs.push(name);
        self
    }

    /// An input that is a weight.
    pub fn constant<T: Element>(mut self, shape: &[usize], values: Vec<T>) -> Self {
        let name = format!("constant{}", self.node.inputs.len());
        self.constants.insert(name.clone(), Arc::new(Tensor::new(shape, values)));
        self.node.inputs.push(name);
        self
    }

    /// An input that is left out.
    pub fn absent(mut self) -> Self {
        self.node.inputs.push(String::new());
        self
    }

    /// What the node gives, or the problem in words.
    pub fn run(self) -> Result<Vec<Tensor>, String> {
        let opsets = BTreeMap::from([(self.node.domain.clone(), self.opset)]);
        let inputs: Vec<(TensorType, Rows)> =
            self.values.iter().map(|value| (value.tensor_type(), Rows::Same)).collect();
        let graph = Graph {
            inputs: self.inputs,
            outputs: self.node.outputs.clone(),
            constants: self.constants,
            nodes: vec![self.node],
            opsets: opsets.clone(),
        };
        let prepared = Mutex::default();
        let wanted = Wanted {
            graph: &graph,
            opsets: &opsets,
            inputs,
            outer: Vec::new(),
            rows: 1,
            singles: None,
            prepared: &prepared,
            first_node: 0,
        };
        let mut plan = Plan::new(&wanted).map_err(|error| error.problem)?;
        for (at, value) in self.values.into_iter().enumerate() {
            *plan.input(at) = value.data;
        }
        plan.run().map_err(|(_, fault)| fault.0)?;
        let output = |at| {
            let shape = plan.output_type(at).0.shape.clone();
            Tensor { shape, data: plan.output(at).clone() }
        };
        Ok((0..plan.outputs()).map(output).collect())
    }

    /// The shape and the elements of the first output.
    pub fn first<T: Element>(self) -> Result<(Vec<usize>, Vec<T>), String> {
        let tensor = self.run()?.swap_remove(0);
        let values = tensor.values::<T>().ok_or_else(|| format!("found {}", tensor.tensor_type()))?.to_vec();
        Ok((tensor.shape, values))
    }
}
