//! Functions of a model, written out where they are called.

use super::{all, attribute, int, model, node, node_content, opset, part, read, refused, value, x, y};
use crate::model::graph::{Attribute, Graph};

/// The graph as text, a node a line.
fn shown(graph: &Graph) -> String {
    let nodes = graph
        .nodes
        .iter()
        .map(|node| format!("{} = {}({})", node.outputs.join(", "), node.operator, node.inputs.join(", ")));
    nodes.collect::<Vec<_>>().join("\n")
}

/// A function of the domain `f`.
fn function(name: &str, inputs: &[&str], outputs: &[&str], more: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<_> = inputs.iter().map(|name| part(4, name)).collect();
    let outputs: Vec<_> = outputs.iter().map(|name| part(5, name)).collect();
    part(25, all(&[part(1, name), inputs.concat(), outputs.concat(), part(10, "f"), more.concat()]))
}

fn inner(operator: &str, inputs: &[&str], outputs: &[&str], more: &[Vec<u8>]) -> Vec<u8> {
    part(7, node_content(operator, inputs, outputs, more))
}

fn in_f() -> Vec<u8> {
    part(7, "f")
}

#[test]
fn functions_are_written_out_with_names_of_their_own() {
    let scale = function(
        "Scale",
        &["a"],
        &["b"],
        &[
            inner("Relu", &["a"], &["h"], &[]),
            inner("LeakyRelu", &["h"], &["b"], &[attribute("alpha", &[part(21, "slope"), int(20, 1)])]),
            part(6, "slope"),
        ],
    );
    let twice = function(
        "Twice",
        &["a", "unused"],
        &["b", "same"],
        &[
            inner("Scale", &["a"], &["h"], &[in_f(), attribute("slope", &[int(20, 1)])]),
            inner("Scale", &["h"], &["b"], &[in_f()]),
            // What is given on as it is came in as "a".
        ],
    );
    let graph = [x(), y(), node("Twice", &["x"], &["y"], &[in_f()])];
    let graph = read(&model(&graph, &[opset("f", 1), scale.clone(), twice])).unwrap();
    assert_eq!(
        shown(&graph),
        "Scale#2/h = Relu(x)\nTwice#1/h = LeakyRelu(Scale#2/h)\nScale#3/h = Relu(Twice#1/h)\ny = LeakyRelu(Scale#3/h)"
    );
    assert_eq!(graph.nodes[1].attributes["alpha"], Attribute::Float(0.0));
    assert!(graph.nodes[3].attributes.is_empty());
    let wrong = [x(), y(), node("Scale", &["x"], &["y"], &[in_f(), attribute("steep", &[int(3, 1)])])];
    refused(&model(&wrong, std::slice::from_ref(&scale)), &["node 0 (Scale)", "\"steep\""]);
    let wrong = [x(), y(), node("Scale", &["x", "x"], &["y"], &[in_f()])];
    refused(&model(&wrong, std::slice::from_ref(&scale)), &["2 inputs", "has 1"]);
    refused(&model(&wrong, &[scale.clone(), scale]), &["\"Scale\" twice"]);
}

#[test]
fn functions_take_defaults_and_may_give_an_input_on() {
    let default = part(11, all(&[part(1, "k"), int(3, 5), int(20, 2)]));
    let pass = function(
        "Pass",
        &["a"],
        &["a", "b"],
        &[inner("Flatten", &["a"], &["b"], &[attribute("axis", &[part(21, "k"), int(20, 2)])]), default],
    );
    let graph = [x(), y(), value(12, "z", &[]), node("Pass", &["x"], &["y", "z"], &[in_f()])];
    let graph = read(&model(&graph, &[pass])).unwrap();
    assert_eq!(shown(&graph), "z = Flatten(x)\ny = Identity(x)");
    assert_eq!(graph.nodes[0].attributes["axis"], Attribute::Int(5));
}

#[test]
fn a_function_keeps_the_version_of_operators_that_it_asks_for() {
    let old = function(
        "Old",
        &["a"],
        &["b"],
        &[inner("Softmax", &["a"], &["b"], &[]), part(9, all(&[part(1, ""), int(2, 12)]))],
    );
    let nodes = [x(), y(), node("Old", &["x"], &["h"], &[in_f()]), node("Softmax", &["h"], &["y"], &[])];
    let graph = read(&model(&nodes, &[opset("f", 1), old])).unwrap();
    let versions: Vec<_> = graph.nodes.iter().map(|node| node.opset).collect();
    assert_eq!((versions.as_slice(), graph.opsets["ai.onnx"]), (&[Some(12), None][..], 13));
}

#[test]
fn functions_that_never_end_are_refused() {
    let one = function("A", &["a"], &["b"], &[inner("B", &["a"], &["b"], &[in_f()])]);
    let two = function("B", &["a"], &["b"], &[inner("A", &["a"], &["b"], &[in_f()])]);
    let graph = [x(), y(), node("A", &["x"], &["y"], &[in_f()])];
    refused(&model(&graph, &[one, two]), &["\"A\" calls itself"]);
    // Each calls the next one ten times: 10^12 nodes of a kilobyte.
    let calls = |next: &str| (0..10).map(|_| inner(next, &["a"], &[""], &[in_f()])).collect::<Vec<_>>();
    let mut functions: Vec<_> = (0..12)
        .map(|at| function(&format!("F{at}"), &["a"], &["b"], &calls(&format!("F{}", at + 1))))
        .collect();
    functions.push(function("F12", &["a"], &["b"], &[inner("Relu", &["a"], &["b"], &[])]));
    let graph = [x(), y(), node("F0", &["x"], &["y"], &[in_f()])];
    refused(&model(&graph, &functions), &["65536", "nodes_max"]);
    let deep: Vec<_> = (0..40)
        .map(|at| {
            function(
                &format!("F{at}"),
                &["a"],
                &["b"],
                &[inner(&format!("F{}", at + 1), &["a"], &["b"], &[in_f()])],
            )
        })
        .collect();
    refused(&model(&graph, &deep), &["calls_depth_max"]);
    let heavy =
        function("H", &["a"], &["b"], &[inner("Relu", &["a"], &["b"], &[part(6, vec![b'x'; 1 << 20])])]);
    let graph: Vec<_> = (0..80).map(|at| node("H", &["x"], &[&format!("y{at}")], &[in_f()])).collect();
    refused(&model(&[x(), y(), graph.concat()], &[heavy]), &["called_bytes_max"]);
}
