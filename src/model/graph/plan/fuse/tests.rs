//! What is fused gives what it gives as nodes of their own, and what somebody else needs is not fused.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::graph::ir::{Attribute, DOMAIN, Graph, Input, Node};
use crate::model::graph::network::Network;
use crate::model::graph::tensor::{Element, Kind, Tensor};

/// Numbers in [-1, 1) that look random.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A graph from `x` on, each of whose nodes is named after what it gives.
struct Chain(Graph);

impl Chain {
    /// With an input of this shape for a row.
    fn of(shape: &[usize]) -> Self {
        Self::of_kind(Kind::F32, shape)
    }

    fn of_kind(kind: Kind, shape: &[usize]) -> Self {
        let shape = std::iter::once(None).chain(shape.iter().map(|&size| Some(size))).collect();
        Self(Graph {
            inputs: vec![Input { name: "x".to_owned(), kind, shape }],
            opsets: BTreeMap::from([(DOMAIN.to_owned(), 18)]),
            ..Graph::default()
        })
    }

    fn weight<T: Element>(mut self, name: &str, shape: &[usize], values: Vec<T>) -> Self {
        self.0.constants.insert(name.to_owned(), Arc::new(Tensor::new(shape, values)));
        self
    }

    fn random(self, name: &str, shape: &[usize]) -> Self {
        let seed = name.bytes().fold(7, |seed: u32, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        self.weight(name, shape, numbers(shape.iter().product(), seed))
    }

    fn node(mut self, operator: &str, inputs: &[&str], output: &str) -> Self {
        self.0.nodes.push(Node {
            name: output.to_owned(),
            domain: DOMAIN.to_owned(),
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            ..Node::default()
        });
        self
    }

    fn with(mut self, name: &str, attribute: Attribute) -> Self {
        self.0.nodes.last_mut().unwrap().attributes.insert(name.to_owned(), attribute);
        self
    }

    /// A batch normalisation of so many channels, with a name before those of its weights.
    fn batch_norm(self, name: &str, from: &str, channels: usize) -> Self {
        let part = |part: &str| format!("{name}.{part}");
        let variance = numbers(channels, 5).iter().map(|value| 0.1 + value * value).collect();
        self.random(&part("scale"), &[channels])
            .random(&part("bias"), &[channels])
            .random(&part("mean"), &[channels])
            .weight(&part("var"), &[channels], variance)
            .node(
                "BatchNormalization",
                &[from, &part("scale"), &part("bias"), &part("mean"), &part("var")],
                name,
            )
    }

    fn gives(mut self, outputs: &[&str]) -> Self {
        self.0.outputs = outputs.iter().map(|&name| name.to_owned()).collect();
        self
    }

    fn network(&self) -> Network {
        Network::new(Arc::new(self.0.clone())).unwrap()
    }

    /// What the last output is for eight rows, and how many steps that takes.
    fn run(&self) -> (Vec<f64>, usize) {
        let mut network = self.network();
        assert_eq!(network.alone(), None);
        let rows = numbers(8 * network.width(), 99);
        let (last, mut found) = (self.0.outputs.len() - 1, Vec::new());
        network.run(&rows, &mut |_, answer| {
            let answer = answer.unwrap();
            found.extend((0..).map_while(|at| answer.number(last, at)).take(1 << 12));
        });
        (found, network.single().steps().count())
    }

    #[track_caller]
    fn steps(self, steps: usize) {
        assert_eq!(self.network().single().steps().count(), steps);
    }

    /// That `output` takes `steps`, and is what it is when all that it is made of is asked for too,
    /// so that nothing can be left out.
    #[track_caller]
    fn takes(self, output: &str, steps: usize) {
        let all: Vec<_> = self.0.nodes.iter().map(|node| node.outputs[0].clone()).collect();
        let nodes = all.len();
        let all: Vec<_> =
            all.iter().map(String::as_str).filter(|name| *name != output).chain([output]).collect();
        let fused = self.gives(&[output]);
        let (found, taken) = fused.run();
        let (expected, whole) = fused.gives(&all).run();
        assert_eq!((taken, whole), (steps, nodes));
        assert_eq!(found.len(), expected.len());
        let scale = expected.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-6 * scale, "found {found}, expected {expected}");
        }
    }
}

#[test]
fn a_batch_normalisation_becomes_a_part_of_the_convolution_before() {
    for channels in [1, 3, 13] {
        Chain::of(&[4, 9])
            .random("w", &[channels, 4, 3])
            .random("b", &[channels])
            .node("Conv", &["x", "w", "b"], "conv")
            .batch_norm("norm", "conv", channels)
            .node("Relu", &["norm"], "y")
            .takes("y", 1);
    }
    // Groups, two axes and no bias; a transposed one; one window that is all.
    Chain::of(&[4, 6, 5])
        .random("w", &[6, 2, 3, 3])
        .node("Conv", &["x", "w"], "conv")
        .with("group", Attribute::Int(2))
        .batch_norm("y", "conv", 6)
        .takes("y", 1);
    Chain::of(&[4, 6])
        .random("w", &[4, 5, 3])
        .node("ConvTranspose", &["x", "w"], "conv")
        .batch_norm("y", "conv", 5)
        .takes("y", 1);
    Chain::of(&[4, 6])
        .random("w", &[9, 4, 6])
        .node("Conv", &["x", "w"], "conv")
        .batch_norm("y", "conv", 9)
        .takes("y", 1);
}

#[test]
fn a_batch_normalisation_becomes_a_part_of_the_product_before() {
    Chain::of(&[40])
        .random("w", &[33, 40])
        .random("b", &[33])
        .node("Gemm", &["x", "w", "b"], "product")
        .with("transB", Attribute::Int(1))
        .with("alpha", Attribute::Float(0.7))
        .with("beta", Attribute::Float(-1.3))
        .batch_norm("norm", "product", 33)
        .node("Relu", &["norm"], "y")
        .takes("y", 1);
    // Few outputs of many inputs are arranged in another way.
    Chain::of(&[40])
        .random("w", &[40, 3])
        .node("MatMul", &["x", "w"], "product")
        .batch_norm("y", "product", 3)
        .takes("y", 1);
}

#[test]
fn factors_and_summands_by_channel_become_a_part_of_what_is_before() {
    let product = || Chain::of(&[5, 7]).random("w", &[7, 4]).node("MatMul", &["x", "w"], "product");
    product()
        .random("b", &[4])
        .node("Add", &["b", "product"], "sum")
        .node("Relu", &["sum"], "y")
        .takes("y", 1);
    product().random("b", &[1, 1, 4]).node("Add", &["product", "b"], "y").takes("y", 1);
    product().weight("b", &[], vec![0.3_f32]).node("Mul", &["product", "b"], "y").takes("y", 1);
    product()
        .random("s", &[4])
        .random("b", &[4])
        .random("c", &[4])
        .random("d", &[1, 4])
        .node("Mul", &["product", "s"], "scaled")
        .node("Sub", &["b", "scaled"], "less")
        .node("Sub", &["less", "c"], "least")
        .node("Div", &["least", "d"], "y")
        .takes("y", 1);
    Chain::of(&[4, 6, 5])
        .random("w", &[3, 4, 3, 3])
        .node("Conv", &["x", "w"], "conv")
        .random("s", &[3, 1, 1])
        .random("b", &[1, 3, 1, 1])
        .node("Mul", &["conv", "s"], "scaled")
        .node("Add", &["scaled", "b"], "y")
        .takes("y", 1);
}

#[test]
fn what_is_no_line_for_each_channel_stays_a_node() {
    let product = || Chain::of(&[5, 4]).random("w", &[4, 4]).node("MatMul", &["x", "w"], "product");
    // For each place of another axis, for each number, and more numbers than there were.
    product().random("b", &[5, 1]).node("Add", &["product", "b"], "y").takes("y", 2);
    product().random("b", &[5, 4]).node("Add", &["product", "b"], "y").takes("y", 2);
    product().random("b", &[2, 1, 1, 1]).node("Add", &["product", "b"], "z").gives(&["z"]).network();
    // Of the axis after the rows', which is not that of the product's outputs.
    product().batch_norm("y", "product", 5).takes("y", 2);
    // Where the constant comes first, and what comes after a Relu.
    product().random("b", &[4]).node("Div", &["b", "product"], "y").takes("y", 2);
    product()
        .random("b", &[4])
        .node("Relu", &["product"], "above")
        .node("Add", &["above", "b"], "y")
        .takes("y", 2);
    // The convolution's last axis is not that of its channels.
    Chain::of(&[4, 6])
        .random("w", &[4, 4, 3])
        .node("Conv", &["x", "w"], "conv")
        .random("b", &[4])
        .node("Add", &["conv", "b"], "y")
        .takes("y", 2);
    // Weights for which float32 has no room, or not all of their digits.
    for factor in [1e38_f32, 1e-38] {
        product()
            .weight("s", &[4], vec![factor; 4])
            .weight("w", &[4, 4], vec![if factor > 1.0 { 100.0_f32 } else { 0.01 }; 16])
            .node("Mul", &["product", "s"], "y")
            .gives(&["y"])
            .steps(2);
    }
    product().weight("s", &[4], vec![0.0_f32; 4]).node("Div", &["product", "s"], "y").gives(&["y"]).steps(2);
    // Weights and summands that depend on the row.
    Chain::of(&[5, 5]).node("MatMul", &["x", "x"], "product").node("Relu", &["product"], "y").takes("y", 1);
    product().node("Add", &["product", "x"], "y").takes("y", 2);
}

#[test]
fn what_somebody_else_needs_stays_as_it_is() {
    let chain = || {
        Chain::of(&[7]).random("w", &[7, 4]).random("b", &[4]).node("MatMul", &["x", "w"], "product").node(
            "Add",
            &["product", "b"],
            "sum",
        )
    };
    chain().gives(&["sum"]).steps(1);
    chain().gives(&["sum", "product"]).steps(2);
    let both = chain().node("Tanh", &["product"], "other").node("Mul", &["sum", "other"], "y");
    both.takes("y", 4);
    let twice = Chain::of(&[7]).random("w", &[7, 4]).node("MatMul", &["x", "w"], "product");
    twice.node("Add", &["product", "product"], "y").takes("y", 2);
}

#[test]
fn what_a_branch_needs_twice_stays_as_it_is() {
    let branch = Chain::of(&[1]).node("Relu", &["product"], "above").node("Neg", &["product"], "less");
    let branch =
        Graph { inputs: Vec::new(), ..branch.node("Add", &["above", "less"], "sum").gives(&["sum"]).0 };
    let other = Graph { outputs: vec!["w".to_owned()], ..Graph::default() };
    let branches = [branch, other].map(|branch| Attribute::Graph(Arc::new(branch)));
    let [branch, other] = branches;
    let chain = Chain::of(&[7])
        .random("w", &[7, 4])
        .node("MatMul", &["x", "w"], "product")
        .weight("truth", &[], vec![true])
        .node("If", &["truth"], "y")
        .with("then_branch", branch)
        .with("else_branch", other)
        .gives(&["product", "y"]);
    let (expected, _) = chain.run();
    let (found, _) = chain.gives(&["y"]).run();
    assert_eq!(found, expected);
}

#[test]
fn what_a_loop_takes_from_around_it_stays_as_it_is() {
    let body = Graph {
        inputs: ["at", "goes_on"]
            .map(|name| Input {
                name: name.to_owned(),
                kind: if name == "at" { Kind::I64 } else { Kind::Bool },
                shape: Vec::new(),
            })
            .into(),
        ..Chain::of(&[1]).node("Relu", &["product"], "above").gives(&["goes_on", "above"]).0
    };
    let chain = Chain::of(&[7])
        .random("w", &[7, 4])
        .node("MatMul", &["x", "w"], "product")
        .weight("count", &[], vec![2_i64])
        .weight("truth", &[], vec![true])
        .node("Loop", &["count", "truth"], "y")
        .with("body", Attribute::Graph(Arc::new(body)));
    chain.gives(&["y"]).steps(2);
}

#[test]
fn double_precision_stays_so() {
    let values = |count, seed| numbers(count, seed).into_iter().map(f64::from).collect::<Vec<_>>();
    Chain::of_kind(Kind::F64, &[7])
        .weight("w", &[7, 4], values(28, 1))
        .weight("b", &[4], values(4, 2))
        .node("MatMul", &["x", "w"], "product")
        .node("Add", &["product", "b"], "y")
        .takes("y", 2);
}

#[test]
fn a_step_is_named_after_all_of_its_nodes_and_counts_their_weights() {
    let chain = Chain::of(&[7])
        .random("w", &[7, 4])
        .random("b", &[4])
        .node("MatMul", &["x", "w"], "product")
        .node("Add", &["product", "b"], "sum")
        .node("Relu", &["sum"], "y")
        .gives(&["y"]);
    let nodes = crate::model::graph::drawing::nodes(&chain.network());
    let found: Vec<_> = nodes.iter().map(|node| (&*node.name, &*node.operator, node.parameters)).collect();
    assert_eq!(found, [("product", "MatMul + Add + Relu", 32)]);
}

#[test]
fn plans_for_other_threads_share_the_weights_and_give_the_same() {
    let chain = Chain::of(&[4, 9])
        .random("w", &[3, 4, 3])
        .node("Conv", &["x", "w"], "conv")
        .batch_norm("y", "conv", 3)
        .gives(&["y"]);
    let first = chain.network();
    let mut networks = [first.replica().unwrap(), first];
    let row = numbers(36, 3);
    let answers = networks.each_mut().map(|network| {
        let mut found = Vec::new();
        network.run(&row, &mut |_, answer| found = answer.unwrap().floats(0).unwrap().to_vec());
        found
    });
    assert_eq!(answers[0], answers[1]);
}
