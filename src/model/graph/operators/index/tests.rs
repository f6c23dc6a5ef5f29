//! Indices from the start and the end, beyond it, and what lies there.

use std::sync::Arc;

use crate::model::graph::testing::One;

const NAN: f32 = f32::NAN;

fn count(count: usize) -> Vec<f32> {
    (0..count).map(|at| at as f32).collect()
}

#[test]
fn elements_are_gathered_along_an_axis() {
    let one =
        |indices: Vec<i64>| One::new("Gather", 13).input(&[2, 3], count(6)).input(&[indices.len()], indices);
    assert_eq!(one(vec![1, -2]).first::<f32>().unwrap(), (vec![2, 3], vec![3., 4., 5., 0., 1., 2.]));
    assert_eq!(one(vec![2, -3]).int("axis", 1).first::<f32>().unwrap(), (vec![2, 2], vec![2., 0., 5., 3.]));
    assert_eq!(one(vec![2]).run().unwrap_err(), "found the index 2, expected -2 to 1 of an axis of 2");
    assert!(one(vec![i64::MIN]).run().unwrap_err().contains("-9223372036854775808"));
    let scalar = One::new("Gather", 13).input(&[3], vec![7_i64, 8, 9]).input(&[], vec![1_i32]);
    assert_eq!(scalar.first::<i64>().unwrap(), (vec![], vec![8]));
    let words: Vec<Arc<str>> = vec!["a".into(), "b".into()];
    let one = One::new("Gather", 13).constant(&[2], words).input(&[2], vec![1_i64, 1]);
    assert_eq!(one.first::<Arc<str>>().unwrap().1, ["b".into(), "b".into()]);
}

#[test]
fn each_element_or_tuple_names_its_place() {
    let one = One::new("GatherElements", 13).input(&[2, 3], count(6)).input(&[2, 2], vec![0_i64, -1, 1, 0]);
    assert_eq!(one.int("axis", 1).first::<f32>().unwrap(), (vec![2, 2], vec![0., 2., 4., 3.]));
    let one = One::new("GatherElements", 13).input(&[3, 2], count(6)).input(&[1, 2], vec![2_i64, 0]);
    assert_eq!(one.first::<f32>().unwrap(), (vec![1, 2], vec![4., 1.]));
    let wrong = One::new("GatherElements", 13).input(&[1, 2], count(2)).input(&[2, 3], vec![0_i64; 6]).run();
    assert!(wrong.unwrap_err().contains("none longer but axis 0"));
    let one = One::new("GatherND", 13).input(&[2, 2, 2], count(8)).input(&[2, 2], vec![0_i64, 1, 1, 0]);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2, 2], vec![2., 3., 4., 5.]));
    let one = One::new("GatherND", 13)
        .input(&[2, 2, 2], count(8))
        .input(&[2, 1], vec![1_i64, 0])
        .int("batch_dims", 1);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2, 2], vec![2., 3., 4., 5.]));
    let wrong = One::new("GatherND", 13).input(&[2], count(2)).input(&[1, 2], vec![0_i64; 2]).run();
    assert!(wrong.unwrap_err().contains("do not fit"));
    let fault = One::new("GatherND", 13).input(&[2], count(2)).input(&[1, 1], vec![5_i64]).run();
    assert_eq!(fault.unwrap_err(), "found the index 5, expected -2 to 1 of an axis of 2");
}

#[test]
fn elements_are_written_or_joined_where_indices_say() {
    let scatter = |updates: Vec<f32>, reduction: &str| {
        let one = One::new("ScatterElements", 18)
            .input(&[1, 3], vec![1_f32, 2.0, 3.0])
            .input(&[1, 2], vec![0_i64, -1]);
        one.input(&[1, 2], updates).int("axis", 1).text("reduction", reduction).first::<f32>().unwrap().1
    };
    assert_eq!(scatter(vec![7., 8.], "none"), [7., 2., 8.]);
    assert_eq!(scatter(vec![7., 8.], "add"), [8., 2., 11.]);
    assert_eq!(scatter(vec![7., 8.], "mul"), [7., 2., 24.]);
    assert_eq!(scatter(vec![0., 8.], "max"), [1., 2., 8.]);
    assert_eq!(scatter(vec![0., 8.], "min"), [0., 2., 3.]);
    assert!(scatter(vec![NAN, 8.], "max")[0].is_nan());
    let one = One::new("ScatterND", 16)
        .input(&[2, 2], count(4))
        .input(&[1, 1], vec![1_i64])
        .input(&[1, 2], vec![8_f32, 9.0]);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2, 2], vec![0., 1., 8., 9.]));
    let wrong = One::new("ScatterND", 16)
        .input(&[2, 2], count(4))
        .input(&[1, 1], vec![1_i64])
        .input(&[1], vec![8_f32])
        .run();
    assert_eq!(wrong.unwrap_err(), "its updates have the shape [1], expected [1, 2]");
}

#[test]
fn indices_light_one_place_of_a_line() {
    let one = One::new("OneHot", 11).input(&[4], vec![1_i64, -1, 7, 0]).constant(&[], vec![3_i64]);
    let found = one.constant(&[2], vec![2_f32, 5.0]).first::<f32>().unwrap();
    assert_eq!(found, (vec![4, 3], vec![2., 5., 2., 2., 2., 5., 2., 2., 2., 5., 2., 2.]));
    let one = One::new("OneHot", 11).input(&[2], vec![1_f32, 0.5]).constant(&[1], vec![2_f32]);
    let found = one.constant(&[2], vec![0_i64, 1]).int("axis", 0).first::<i64>().unwrap();
    assert_eq!(found, (vec![2, 2], vec![0, 0, 1, 0]));
}

#[test]
fn the_best_come_first_and_equal_ones_in_their_order() {
    let top = |values: Vec<f32>, count: i64, largest: i64| {
        let one = One::new("TopK", 11)
            .input(&[1, values.len()], values)
            .constant(&[1], vec![count])
            .int("largest", largest);
        let found = one.outputs(2).run().unwrap();
        (found[0].values::<f32>().unwrap().to_vec(), found[1].values::<i64>().unwrap().to_vec())
    };
    let (values, places) = top(vec![1., NAN, 3., 2., 3.], 4, 1);
    assert!(values[0].is_nan() && values[1..] == [3., 3., 2.]);
    assert_eq!(places, [1, 2, 4, 3]);
    assert_eq!(top(vec![1., NAN, 3., 2., 3.], 4, 0), (vec![1., 2., 3., 3.], vec![0, 3, 2, 4]));
    // As sorting has it, of all numbers of places, with many that are equal.
    let values: Vec<f32> = (0..50).map(|at| ((at * 37) % 11) as f32).collect();
    let mut sorted: Vec<(f32, i64)> = values.iter().copied().zip(0..).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    for count in 0..=50 {
        let (_, places) = top(values.clone(), count, 1);
        assert_eq!(places, sorted[..count as usize].iter().map(|(_, place)| *place).collect::<Vec<_>>());
    }
    let old =
        One::new("TopK", 1).input(&[2, 2], vec![1_f32, 5.0, 3.0, 4.0]).int("k", 1).int("axis", 0).outputs(2);
    assert_eq!(old.first::<f32>().unwrap(), (vec![1, 2], vec![3., 5.]));
    let wrong = One::new("TopK", 11).input(&[2], count(2)).constant(&[1], vec![3_i64]).outputs(2).run();
    assert_eq!(wrong.unwrap_err(), "it takes 3 places of axis 0, which has 2");
    let one = One::new("Hardmax", 13).input(&[2, 3], vec![1., 3., 3., NAN, 1., 1.]);
    assert_eq!(one.first::<f32>().unwrap().1, [0., 1., 0., 0., 0., 0.]);
}

#[test]
fn what_is_chosen_must_be_known() {
    let one = One::new("NonZero", 13).constant(&[2, 2], vec![1_f32, 0.0, 3.0, 4.0]);
    assert_eq!(one.first::<i64>().unwrap(), (vec![2, 3], vec![0, 1, 1, 0, 0, 1]));
    let wrong = One::new("NonZero", 13).input(&[2], count(2)).run().unwrap_err();
    assert!(wrong.contains("which depends on the row"), "{wrong}");
    let one = One::new("Compress", 11).input(&[2, 3], count(6)).constant(&[2], vec![false, true]);
    assert_eq!(one.int("axis", 1).first::<f32>().unwrap(), (vec![2, 1], vec![1., 4.]));
    let one = One::new("Compress", 11)
        .input(&[2, 3], count(6))
        .constant(&[5], vec![true, false, false, false, true]);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2], vec![0., 4.]));
}
