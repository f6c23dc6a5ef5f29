//! What the fixtures do not show of trees: files that lie, thresholds in every kind, rows alone and together.

use std::sync::Arc;

use crate::model::graph::ir::Attribute;
use crate::model::graph::tensor::{Element, Tensor};
use crate::model::graph::testing::One;

/// A regressor of one tree: feature 0 against 0.5, leaves -1 for yes and 1 for no.
fn stump(mode: &str) -> One {
    let words = |words: &[&str]| Attribute::Texts(words.iter().map(|&word| word.to_owned()).collect());
    One::ml("TreeEnsembleRegressor", 3)
        .int("n_targets", 1)
        .ints("nodes_treeids", &[0, 0, 0])
        .ints("nodes_nodeids", &[0, 1, 2])
        .ints("nodes_featureids", &[0, 0, 0])
        .ints("nodes_truenodeids", &[1, 0, 0])
        .ints("nodes_falsenodeids", &[2, 0, 0])
        .with("nodes_modes", words(&[mode, "LEAF", "LEAF"]))
        .with("nodes_values", Attribute::Floats(vec![0.5, 0.0, 0.0]))
        .ints("target_ids", &[0, 0])
        .ints("target_treeids", &[0, 0])
        .ints("target_nodeids", &[1, 2])
        .with("target_weights", Attribute::Floats(vec![-1.0, 1.0]))
}

fn answers<T: Element>(one: One, rows: Vec<T>) -> Vec<f32> {
    let count = rows.len();
    one.input(&[count, 1], rows).first::<f32>().expect("it is answered").1
}

#[test]
fn each_mode_takes_its_branch_at_the_threshold_and_beside_it_and_for_nan() {
    let rows = [0.5_f32.next_down(), 0.5, 0.5_f32.next_up(), f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
    for (mode, expected) in [
        ("BRANCH_LEQ", [-1.0, -1.0, 1.0, 1.0, -1.0, 1.0]),
        ("BRANCH_LT", [-1.0, 1.0, 1.0, 1.0, -1.0, 1.0]),
        ("BRANCH_GTE", [1.0, -1.0, -1.0, 1.0, 1.0, -1.0]),
        ("BRANCH_GT", [1.0, 1.0, -1.0, 1.0, 1.0, -1.0]),
        ("BRANCH_EQ", [1.0, -1.0, 1.0, 1.0, 1.0, 1.0]),
        ("BRANCH_NEQ", [-1.0, 1.0, -1.0, -1.0, -1.0, -1.0]),
    ] {
        assert_eq!(answers(stump(mode), rows.to_vec()), expected, "{mode}");
        let mut tracked = expected;
        tracked[3] = -1.0;
        let tracking = stump(mode).ints("nodes_missing_value_tracks_true", &[1, 0, 0]);
        assert_eq!(answers(tracking, rows.to_vec()), tracked, "{mode}, NaN leads to yes");
    }
}

#[test]
fn doubles_are_compared_as_doubles_and_integers_as_singles() {
    let beside = vec![0.5, 0.5 + 1e-12, 0.5 - 1e-12];
    assert_eq!(answers(stump("BRANCH_LEQ"), beside), [-1.0, 1.0, -1.0]);
    assert_eq!(answers(stump("BRANCH_LEQ"), vec![0_i64, 1, -3]), [-1.0, 1.0, -1.0]);
    assert_eq!(answers(stump("BRANCH_LEQ"), vec![0_i32, 1, -3]), [-1.0, 1.0, -1.0]);
}

#[test]
fn a_row_is_the_same_to_the_bit_alone_and_among_others() {
    let rows: Vec<f32> = (0..37).map(|row| row as f32 / 18.0 - 0.7).collect();
    let all = answers(stump("BRANCH_LT"), rows.clone());
    let alone: Vec<f32> = rows.iter().flat_map(|&row| answers(stump("BRANCH_LT"), vec![row])).collect();
    assert_eq!(all, alone);
}

#[test]
fn lies_are_refused_in_a_sentence() {
    let texts =
        |mode: &str| Attribute::Texts([mode, "LEAF", "LEAF"].iter().map(|&word| word.to_owned()).collect());
    let doubles = Attribute::Tensor(Arc::new(Tensor::new([1], vec![0.5_f64])));
    let plain = || stump("BRANCH_LEQ");
    for (one, part) in [
        (plain().ints("nodes_truenodeids", &[0, 0, 0]), "in a circle"),
        (plain().ints("nodes_truenodeids", &[7, 0, 0]), "leads to node 7"),
        (plain().ints("nodes_featureids", &[1, 0, 0]), "feature 1"),
        (plain().ints("nodes_featureids", &[-1, 0, 0]), "feature -1"),
        (plain().ints("nodes_nodeids", &[0, 1, 1]), "twice"),
        (plain().ints("nodes_treeids", &[0, 0]), "nodes_treeids has 2 values"),
        (plain().with("nodes_modes", texts("BRANCH_XOR")), "BRANCH_XOR"),
        (plain().ints("target_ids", &[0, 1]), "target 1"),
        (plain().ints("target_nodeids", &[1, 9]), "node 9"),
        (plain().int("n_targets", 0), "0 targets"),
        (plain().int("n_targets", i64::MAX), "targets_max"),
        (plain().with("base_values", Attribute::Floats(vec![1.0; 3])), "base_values has 3"),
        (plain().with("nodes_values_as_tensor", doubles), "both nodes_values and nodes_values_as_tensor"),
        (plain().text("post_transform", "FOURIER"), "FOURIER"),
    ] {
        let problem = one.input(&[1, 1], vec![0.0_f32]).run().expect_err(part);
        assert!(problem.contains(part), "{problem}: expected {part}");
    }
}

#[test]
fn a_chain_of_nodes_that_meets_itself_is_refused_and_a_long_one_answered() {
    let long = 20_000;
    let ids: Vec<i64> = (0..=2 * long).collect();
    let mut modes = vec!["BRANCH_LEQ".to_owned(); long as usize];
    modes.extend(vec!["LEAF".to_owned(); long as usize + 1]);
    let no: Vec<i64> = ids.iter().map(|&id| if id < long - 1 { id + 1 } else { 2 * long }).collect();
    let chain = |no: &[i64]| {
        stump("LEAF")
            .ints("nodes_treeids", &vec![0; ids.len()])
            .ints("nodes_nodeids", &ids)
            .ints("nodes_featureids", &vec![0; ids.len()])
            .ints("nodes_truenodeids", &ids.iter().map(|&id| id + long).collect::<Vec<_>>())
            .ints("nodes_falsenodeids", no)
            .with("nodes_modes", Attribute::Texts(modes.clone()))
            .with("nodes_values", Attribute::Floats(vec![0.5; ids.len()]))
            .ints("target_nodeids", &[long, 2 * long])
            .input(&[2, 1], vec![0.0_f32, 1.0])
    };
    assert_eq!(chain(&no).first::<f32>().expect("it is answered").1, [-1.0, 1.0]);
    let mut circle = no;
    circle[1_000] = 500;
    let problem = chain(&circle).run().expect_err("a circle");
    assert!(problem.contains("circle"), "{problem}");
}
