//! Kinds, special numbers and words, and shapes that differ.

use std::sync::Arc;

use crate::model::graph::testing::One;

const NAN: f32 = f32::NAN;

fn two<T: crate::model::graph::tensor::Element>(operator: &str, a: Vec<T>, b: Vec<T>) -> One {
    One::new(operator, 18).input(&[a.len()], a).input(&[b.len()], b)
}

#[test]
fn the_larger_of_what_is_not_a_number_is_none() {
    for operator in ["Max", "Min"] {
        let (_, found) = two(operator, vec![NAN, 1.0, NAN], vec![1.0, NAN, NAN]).first::<f32>().unwrap();
        assert!(found.iter().all(|value| value.is_nan()), "{operator} gives {found:?}");
    }
    let three = two("Max", vec![1_i64, 5], vec![3]).input(&[2, 1], vec![2_i64, 4]);
    assert_eq!(three.first::<i64>().unwrap(), (vec![2, 2], vec![3, 5, 4, 5]));
    let mean = two("Mean", vec![1_f32, 2.0], vec![4.0]).input(&[2, 1], vec![1_f32, 4.0]);
    assert_eq!(mean.first::<f32>().unwrap(), (vec![2, 2], vec![2.0, 7.0 / 3.0, 3.0, 10.0 / 3.0]));
    let one = One::new("Sum", 13).input(&[2], vec![1_f32, 2.0]);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2], vec![1.0, 2.0]));
}

#[test]
fn integers_are_divided_as_c_or_python_do() {
    let (a, b) = (vec![-5_i64, 5, -5, 5, i64::MIN], vec![3_i64, -3, -3, 3, -1]);
    let found = |one: One| one.first::<i64>().unwrap().1;
    assert_eq!(found(two("Mod", a.clone(), b.clone())), [1, -1, -2, 2, 0]);
    assert_eq!(found(two("Mod", a.clone(), b.clone()).int("fmod", 1)), [-2, 2, -2, 2, 0]);
    assert_eq!(found(two("Div", a.clone(), b)), [-1, -1, 1, 1, i64::MIN]);
    for operator in ["Div", "Mod"] {
        let fault = two(operator, a.clone(), vec![0_i64]).run().unwrap_err();
        assert_eq!(fault, "it would divide an integer by 0");
        assert!(two(operator, vec![], vec![0_i64]).run().is_ok());
        let known = One::new(operator, 14).input(&[2], vec![4_i64, 5]).constant(&[2], vec![2_i64, 0]);
        assert!(known.run().unwrap_err().contains("among its known divisors"));
    }
    let (_, found) =
        two("Mod", vec![-5.5_f32, 5.5, 1.0], vec![3.0, -3.0, 0.0]).int("fmod", 1).first::<f32>().unwrap();
    assert!(found[..2] == [-2.5, 2.5] && found[2].is_nan());
    assert!(two("Mod", vec![1_f32], vec![1_f32]).run().unwrap_err().contains("fmod is 0, expected 1"));
}

#[test]
fn powers_have_the_kind_of_what_is_raised() {
    let mixed = One::new("Pow", 15).input(&[3], vec![2_i64, 3, -2]).input(&[3], vec![0.5_f32, 2.5, 3.0]);
    assert_eq!(mixed.first::<i64>().unwrap().1, [1, 15, -8]);
    let whole = One::new("Pow", 15).input(&[2], vec![2_f32, 3.0]).input(&[2], vec![3_i64, -1]);
    assert_eq!(whole.first::<f32>().unwrap().1, [8.0, 1.0 / 3.0]);
    for (power, expected) in [(2.0, 9.0), (3.0, 27.0), (0.5, 3_f32.sqrt()), (-1.0, 1.0 / 3.0)] {
        let known = One::new("Pow", 15).input(&[1], vec![3_f32]).constant(&[], vec![power]);
        assert_eq!(known.first::<f32>().unwrap(), (vec![1], vec![expected]));
    }
    let special = two("Pow", vec![-8_f32, NAN, 0.0, 0.0, 1.0], vec![1.0 / 3.0, 0.0, 0.0, -1.0, NAN]);
    let found = special.first::<f32>().unwrap().1;
    assert!(found[0].is_nan() && found[1..] == [1.0, 1.0, f32::INFINITY, 1.0]);
}

#[test]
fn words_are_compared_and_chosen() {
    let words = |words: &[&str]| words.iter().map(|word| Arc::from(*word)).collect::<Vec<Arc<str>>>();
    let (_, found) = two("Equal", words(&["a", "b"]), words(&["a"])).first::<bool>().unwrap();
    assert_eq!(found, [true, false]);
    let one = One::new("Where", 9).input(&[2, 1], vec![true, false]);
    let one = one.input(&[2], words(&["a", "b"])).input(&[], words(&["c"]));
    assert_eq!(one.first::<Arc<str>>().unwrap(), (vec![2, 2], words(&["a", "b", "c", "c"])));
    let wrong = two("Less", words(&["a"]), words(&["b"])).run().unwrap_err();
    assert_eq!(wrong, "its input 0 is string, expected numbers");
}

#[test]
fn bits_move_out_and_wrong_inputs_are_named() {
    let shifted = two("BitShift", vec![1_u8, 255], vec![9, 1]).text("direction", "LEFT");
    assert_eq!(shifted.first::<u8>().unwrap().1, [0, 254]);
    let shifted = two("BitShift", vec![128_u8, 255], vec![9, 1]).text("direction", "RIGHT");
    assert_eq!(shifted.first::<u8>().unwrap().1, [0, 127]);
    assert_eq!(two("Xor", vec![true, true], vec![true, false]).first::<bool>().unwrap().1, [false, true]);
    let wrong = One::new("Add", 14).input(&[1], vec![1_f32]).input(&[1], vec![1_i64]).run().unwrap_err();
    assert_eq!(wrong, "its inputs are float32 and int64, expected the same for both");
    let slopes = One::new("PRelu", 16).input(&[2, 2], vec![-1_f32; 4]).input(&[2, 1], vec![2_f32, 3.0]);
    assert_eq!(slopes.first::<f32>().unwrap().1, [-2.0, -2.0, -3.0, -3.0]);
}
