//! Files that are put together here, message by message.

mod external;
mod functions;

use std::sync::Arc;

use crate::model::graph::{Attribute, Data, Graph, Tensor};

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field with an integer.
fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value.cast_unsigned())].concat()
}

/// A field with a message or a word.
fn part(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn all(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn opset(domain: &str, version: i64) -> Vec<u8> {
    part(8, all(&[part(1, domain), int(2, version)]))
}

/// A model of version 13 of ONNX's operators.
fn model(graph: &[Vec<u8>], more: &[Vec<u8>]) -> Vec<u8> {
    all(&[int(1, 8), opset("", 13), part(7, graph.concat()), more.concat()])
}

/// A node of a graph.
fn node(operator: &str, inputs: &[&str], outputs: &[&str], more: &[Vec<u8>]) -> Vec<u8> {
    part(1, node_content(operator, inputs, outputs, more))
}

fn node_content(operator: &str, inputs: &[&str], outputs: &[&str], more: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<_> = inputs.iter().map(|name| part(1, name)).collect();
    let outputs: Vec<_> = outputs.iter().map(|name| part(2, name)).collect();
    all(&[inputs.concat(), outputs.concat(), part(4, operator), more.concat()])
}

fn attribute(name: &str, content: &[Vec<u8>]) -> Vec<u8> {
    part(5, all(&[part(1, name), content.concat()]))
}

/// A tensor of ONNX's kind `kind`.
fn tensor(name: &str, kind: i64, dims: &[i64], data: &[Vec<u8>]) -> Vec<u8> {
    let dims: Vec<_> = dims.iter().map(|&size| int(1, size)).collect();
    all(&[dims.concat(), int(2, kind), part(8, name), data.concat()])
}

/// A float32 input or output of these sizes; -2 for one that is named.
fn value(number: u64, name: &str, sizes: &[i64]) -> Vec<u8> {
    let size = |&size: &i64| part(1, if size == -2 { part(2, "N") } else { int(1, size) });
    let shape = sizes.iter().map(size).collect::<Vec<_>>().concat();
    part(number, all(&[part(1, name), part(2, part(1, all(&[int(1, 1), part(2, shape)])))]))
}

fn x() -> Vec<u8> {
    value(11, "x", &[-2, 3])
}

fn y() -> Vec<u8> {
    value(12, "y", &[-2, 3])
}

fn relu() -> Vec<u8> {
    node("Relu", &["x"], &["y"], &[])
}

fn read(file: &[u8]) -> Result<Graph, String> {
    super::read(file, None).map_err(|error| error.to_string())
}

/// Asserts that `file` is refused with all of `parts` in the message.
fn refused(file: &[u8], parts: &[&str]) {
    let error = read(file).expect_err("it was read");
    assert!(parts.iter().all(|part| error.contains(part)), "{error}\nlacks one of {parts:?}");
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn sizes_that_are_named_or_minus_one_are_open() {
    let file = model(&[value(11, "x", &[-1, 3, -2]), value(12, "y", &[]), relu()], &[]);
    let graph = read(&file).unwrap();
    assert_eq!(graph.inputs[0].shape, [None, Some(3), None]);
    assert_eq!(graph.opsets, [("ai.onnx".to_owned(), 13)].into());
}

#[test]
fn weights_among_the_inputs_are_weights() {
    let w = part(5, tensor("w", 1, &[1], &[part(9, 2.5_f32.to_le_bytes())]));
    let graph = read(&model(&[x(), value(11, "w", &[1]), w, y(), relu()], &[])).unwrap();
    assert_eq!(graph.inputs.len(), 1);
    assert_eq!(*graph.constants["w"], Tensor::new([1], vec![2.5_f32]));
}

#[test]
fn tensors_of_every_kind_are_read() {
    let ints = |values: &[i64]| {
        part(5, values.iter().flat_map(|&value| varint(value.cast_unsigned())).collect::<Vec<_>>())
    };
    let raw = |bytes: &[u8]| part(9, bytes);
    let floats = [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat();
    let doubles = [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat();
    for (kind, content, expected) in [
        (1, raw(&floats), Data::F32(vec![1.5, -2.0])),
        (1, part(4, &floats), Data::F32(vec![1.5, -2.0])),
        (2, raw(&[0, 255]), Data::U8(vec![0, 255])),
        (2, ints(&[0, 255]), Data::U8(vec![0, 255])),
        (3, raw(&[127, 128]), Data::I8(vec![127, -128])),
        (3, ints(&[127, -128]), Data::I8(vec![127, -128])),
        (4, raw(&[255, 255, 1, 0]), Data::I64(vec![65_535, 1])),
        (5, raw(&[255, 255, 1, 0]), Data::I64(vec![-1, 1])),
        (5, ints(&[-1, 1]), Data::I64(vec![-1, 1])),
        (6, raw(&[255, 255, 255, 255, 1, 0, 0, 0]), Data::I32(vec![-1, 1])),
        (6, all(&[int(5, -1), int(5, 1)]), Data::I32(vec![-1, 1])),
        (7, all(&[int(7, -1), int(7, i64::MAX)]), Data::I64(vec![-1, i64::MAX])),
        (8, all(&[part(6, "a"), part(6, "é")]), Data::Text(vec!["a".into(), "é".into()])),
        (9, raw(&[0, 1]), Data::Bool(vec![false, true])),
        (9, ints(&[0, 1]), Data::Bool(vec![false, true])),
        (10, raw(&[0, 0x3e, 0, 0xc0]), Data::F32(vec![1.5, -2.0])),
        (10, ints(&[0x3e00, 0xc000]), Data::F32(vec![1.5, -2.0])),
        (11, raw(&doubles), Data::F64(vec![1.5, -2.0])),
        (11, part(10, &doubles), Data::F64(vec![1.5, -2.0])),
        (12, all(&[int(11, 1), int(11, 4_294_967_295)]), Data::I64(vec![1, 4_294_967_295])),
        (13, all(&[int(11, 1), int(11, 7)]), Data::I64(vec![1, 7])),
        (16, raw(&[0xc0, 0x3f, 0, 0xc0]), Data::F32(vec![1.5, -2.0])),
        (16, ints(&[0x3fc0, 0xc000]), Data::F32(vec![1.5, -2.0])),
        (21, raw(&[0xf1]), Data::U8(vec![1, 15])),
        (22, raw(&[0xf1]), Data::I8(vec![1, -1])),
        (22, ints(&[0xf1]), Data::I8(vec![1, -1])),
    ] {
        let w = part(5, tensor("w", kind, &[2], &[content]));
        let graph =
            read(&model(&[x(), w, y(), relu()], &[])).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(graph.constants["w"].data, expected, "{kind}");
    }
    let odd = part(5, tensor("w", 21, &[3], &[raw(&[0x21, 0x03])]));
    let graph = read(&model(&[x(), odd, y(), relu()], &[])).unwrap();
    assert_eq!(graph.constants["w"].data, Data::U8(vec![1, 2, 3]));
}

#[test]
fn tensors_that_lie_are_refused() {
    let raw = |bytes: &[u8]| part(9, bytes);
    for (kind, dims, data, parts) in [
        (1, &[2][..], raw(&[0; 12]), &["\"w\"", "[2]", "3 are there"][..]),
        (1, &[2], raw(&[0; 9]), &["9 bytes", "4 for each"]),
        (2, &[1], int(5, 256), &["does not fit"]),
        (13, &[1], int(11, -1), &["does not fit int64"]),
        (14, &[1], raw(&[0; 8]), &["complex64", "not supported"]),
        (17, &[1], raw(&[0; 1]), &["float8e4m3fn"]),
        (99, &[1], raw(&[0; 1]), &["kind 99"]),
        (1, &[0, i64::MAX, i64::MAX], raw(&[]), &["more elements than can be counted"]),
        (1, &[1; 17], raw(&[0; 4]), &["17 axes", "axes_max"]),
        (1, &[1], all(&[raw(&[0; 4]), int(3, 1)]), &["segment"]),
    ] {
        refused(&model(&[x(), part(5, tensor("w", kind, dims, &[data])), y(), relu()], &[]), parts);
    }
}

#[test]
fn attributes_are_what_their_fields_are() {
    let number = [varint(2 << 3 | 5), 0.5_f32.to_le_bytes().to_vec()].concat();
    for (content, expected) in [
        // The files of the first years do not say what an attribute is.
        (number.clone(), Attribute::Float(0.5)),
        (all(&[number, int(20, 1)]), Attribute::Float(0.5)),
        (all(&[int(3, -7), int(20, 2)]), Attribute::Int(-7)),
        (int(20, 2), Attribute::Int(0)),
        (int(20, 7), Attribute::Ints(vec![])),
        (all(&[int(8, 1), int(8, 2)]), Attribute::Ints(vec![1, 2])),
        (part(8, [1, 2]), Attribute::Ints(vec![1, 2])),
        (part(4, "SAME_UPPER"), Attribute::Text("SAME_UPPER".into())),
        (all(&[part(9, "a"), part(9, "b")]), Attribute::Texts(vec!["a".into(), "b".into()])),
        (
            part(5, tensor("", 7, &[1], &[int(7, 3)])),
            Attribute::Tensor(Arc::new(Tensor::new([1], vec![3_i64]))),
        ),
    ] {
        let file = model(&[x(), y(), node("Relu", &["x"], &["y"], &[attribute("a", &[content])])], &[]);
        assert_eq!(read(&file).unwrap().nodes[0].attributes["a"], expected);
    }
    for (content, parts) in [
        (vec![int(3, 1), int(20, 1)], &["node 0 (Relu)", "\"a\"", "a number", "an integer"][..]),
        (vec![], &["no value"]),
        (vec![part(22, "")], &["a sparse tensor"]),
        (vec![part(14, ""), int(20, 13)], &["a type"]),
        (vec![int(20, 77)], &["of the kind 77"]),
        (vec![part(21, "alpha"), int(20, 1)], &["\"alpha\"", "is in none"]),
        (vec![part(4, [0xff])], &["not UTF-8"]),
    ] {
        refused(&model(&[x(), y(), node("Relu", &["x"], &["y"], &[attribute("a", &content)])], &[]), parts);
    }
    let twice = [attribute("a", &[int(3, 1)]), attribute("a", &[int(3, 1)])];
    refused(&model(&[x(), y(), node("Relu", &["x"], &["y"], &twice)], &[]), &["\"a\" twice"]);
}

#[test]
fn bodies_are_read_to_a_depth() {
    let nested = |depth: usize| {
        let mut body = all(&[node("Relu", &["x"], &["y"], &[]), y()]);
        for _ in 0..depth {
            body = all(&[node("If", &["x"], &["y"], &[attribute("then_branch", &[part(6, body)])]), y()]);
        }
        model(&[x(), body], &[])
    };
    assert!(read(&nested(8)).is_ok());
    refused(&nested(9), &["more than 8 deep", "bodies_depth_max"]);
    refused(&nested(2_000), &["bodies_depth_max"]);
}

#[test]
fn what_a_graph_says_twice_or_not_at_all_is_refused() {
    let w = || part(5, tensor("w", 1, &[1], &[part(9, [0; 4])]));
    for (graph, parts) in [
        (vec![x(), x(), y(), relu()], &["two of its inputs", "\"x\""][..]),
        (vec![x(), y(), y(), relu()], &["two of its outputs", "\"y\""]),
        (vec![x(), w(), w(), y(), relu()], &["two of its weights", "\"w\""]),
        (vec![x(), y(), relu(), relu()], &["\"y\" is made twice"]),
        (vec![x(), y(), node("Relu", &["y"], &["x"], &[])], &["\"x\" is made twice"]),
        (vec![x(), value(12, "", &[]), relu()], &["outputs has no name"]),
        (vec![x(), relu()], &["no outputs"]),
        (vec![x(), y(), node("", &["x"], &["y"], &[])], &["node 0", "no operator"]),
        (vec![x(), y(), part(15, "")], &["sparse_initializer"]),
        (vec![part(11, part(1, "x")), y(), relu()], &["input \"x\"", "no type"]),
        (vec![part(11, all(&[part(1, "x"), part(2, part(4, ""))])), y(), relu()], &["a sequence"]),
        (vec![part(11, all(&[part(1, "x"), part(2, part(9, ""))])), y(), relu()], &["optional"]),
        (vec![value(11, "x", &[-5]), y(), relu()], &["size -5"]),
        (vec![x(), y(), node("Relu", &[&"n".repeat(1_025)], &["y"], &[])], &["1025 bytes", "name_bytes_max"]),
        (vec![x(), y(), node("Relu", &["x"], &["y"], &vec![attribute("a", &[]); 129])], &["attributes_max"]),
    ] {
        refused(&model(&graph, &[]), parts);
    }
}

#[test]
fn versions_that_are_not_known_are_refused() {
    let graph = || part(7, all(&[x(), y(), relu()]));
    for (file, parts) in [
        (all(&[opset("", 13), graph()]), &["no ir_version"][..]),
        (all(&[int(1, 99), opset("", 13), graph()]), &["version 99", "3 to 14"]),
        (all(&[int(1, 8), opset("", 99), graph()]), &["version 99", "\"ai.onnx\"", "1 to "]),
        (all(&[int(1, 8), opset("ai.onnx.ml", 6), graph()]), &["\"ai.onnx.ml\"", "1 to 5"]),
        (all(&[int(1, 8), opset("", 13), opset("ai.onnx", 12), graph()]), &["versions 13 and 12"]),
        (all(&[int(1, 8), opset("", 13), graph(), graph()]), &["two graphs"]),
    ] {
        refused(&file, parts);
    }
    let twice = all(&[int(1, 8), opset("", 13), opset("ai.onnx", 13), opset("com.example", 77), graph()]);
    assert_eq!(read(&twice).unwrap().opsets["ai.onnx"], 13);
}

#[test]
fn names_are_shown_without_what_a_terminal_obeys() {
    refused(
        &model(
            &[
                x(),
                y(),
                relu(),
                node("Relu", &["x"], &["\u{1b}[2Ja\nb"], &[]),
                node("Relu", &["x"], &["\u{1b}[2Ja\nb"], &[]),
            ],
            &[],
        ),
        &["\\u{1b}[2Ja\\nb"],
    );
}

#[test]
fn what_is_no_model_is_called_what_it_is() {
    for (file, part) in [
        (&b""[..], "empty"),
        (b"<html><body>login</body></html>", "HTML page"),
        (b"{\"graph\": 1}", "JSON"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (&all(&[x(), y(), relu()]), "GraphProto"),
    ] {
        refused(file, &["no ONNX model", part]);
    }
}
