//! Axes in all forms, kinds, and special numbers.

use crate::model::graph::testing::One;

const NAN: f32 = f32::NAN;
const INFINITY: f32 = f32::INFINITY;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| at as f32 * 0.37 - 4.0 + (at % 7) as f32).collect()
}

/// The sum along `axes` of a value of `shape`, slowly.
fn sum(shape: &[usize], values: &[f32], axes: &[usize]) -> Vec<f32> {
    let kept: Vec<usize> =
        shape.iter().enumerate().map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size }).collect();
    let mut sums = vec![0.0; kept.iter().product()];
    for (at, value) in values.iter().enumerate() {
        let (mut rest, mut place, mut stride) = (at, 0, 1);
        for axis in (0..shape.len()).rev() {
            place += (rest % shape[axis]) % kept[axis] * stride;
            stride *= kept[axis];
            rest /= shape[axis];
        }
        sums[place] += f64::from(*value);
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

#[test]
fn sums_go_along_any_axes() {
    let shape = [3, 4, 5, 20];
    let values = numbers(1200);
    for axes in [
        &[0][..],
        &[1],
        &[2],
        &[3],
        &[0, 1],
        &[1, 2],
        &[2, 3],
        &[0, 2],
        &[1, 3],
        &[0, 3],
        &[0, 1, 2, 3],
        &[0, 2, 3],
    ] {
        let named: Vec<i64> = axes.iter().map(|&axis| axis as i64 - 4).collect();
        let one = One::new("ReduceSum", 11).input(&shape, values.clone()).ints("axes", &named);
        let (found, sums) = one.first::<f32>().unwrap();
        let expected: Vec<usize> =
            (0..4).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
        assert_eq!(found, expected);
        for (found, expected) in sums.iter().zip(sum(&shape, &values, axes)) {
            assert!(
                (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{axes:?}: {found}, {expected}"
            );
        }
        let one = One::new("ReduceSum", 13).input(&shape, values.clone()).constant(&[named.len()], named);
        assert_eq!(one.int("keepdims", 0).first::<f32>().unwrap().1, sums);
    }
}

#[test]
fn a_row_is_reduced_as_it_is_among_others() {
    // Axes of one place and of many: to the bit.
    for (axes, rows_axis) in [(&[1][..], 0), (&[0], 1), (&[0, 2], 1), (&[0, 1], 2), (&[1, 2], 0)] {
        for operator in ["ReduceSum", "ReduceL2", "ReduceLogSumExp", "ReduceMean"] {
            let mut shape = [37, 41, 29];
            shape[rows_axis] = 3;
            let values = numbers(shape.iter().product());
            let named: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
            let run = |shape: &[usize], values: Vec<f32>| {
                One::new(operator, 11).input(shape, values).ints("axes", &named).first::<f32>().unwrap().1
            };
            let all = run(&shape, values.clone());
            for row in 0..3 {
                let inner: usize = shape[rows_axis + 1..].iter().product();
                let own = |(at, _): &(usize, &f32)| at / inner % 3 == row;
                let alone: Vec<f32> =
                    values.iter().enumerate().filter(own).map(|(_, value)| *value).collect();
                let mut single = shape;
                single[rows_axis] = 1;
                let alone = run(&single, alone);
                let kept_behind: usize =
                    (rows_axis + 1..3).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).product();
                let among: Vec<f32> = all
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| at / kept_behind % 3 == row)
                    .map(|(_, value)| *value)
                    .collect();
                assert_eq!(alone, among, "{operator} along {axes:?}, row {row}");
            }
        }
    }
}

#[test]
fn special_numbers_are_as_the_reference_has_them() {
    let rows = vec![NAN, 1.0, 2.0, 1.0, NAN, 2.0, 1.0, 2.0, NAN];
    let run = |operator: &str, values: Vec<f32>| {
        let one = One::new(operator, 13).input(&[values.len() / 3, 3], values);
        one.ints("axes", &[1]).int("keepdims", 0).first::<f32>().unwrap().1
    };
    let same = |found: &[f32], expected: &[f32]| {
        found.iter().zip(expected).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-4)
    };
    assert!(same(&run("ReduceMax", rows.clone()), &[NAN, 2.0, 2.0]));
    assert!(same(&run("ReduceMin", rows.clone()), &[NAN, 1.0, 1.0]));
    let rows =
        vec![1.0, INFINITY, 4.0, -INFINITY, -INFINITY, -INFINITY, NAN, 1.0, 1.0, 1000.0, 1000.0, 1000.0];
    assert!(same(&run("ReduceLogSumExp", rows), &[INFINITY, -INFINITY, NAN, 1001.0986]));
    for (operator, expected) in [
        ("ReduceSum", 0.0),
        ("ReduceMean", 0.0),
        ("ReduceProd", 1.0),
        ("ReduceMax", -INFINITY),
        ("ReduceMin", INFINITY),
        ("ReduceLogSumExp", -INFINITY),
    ] {
        let one = One::new(operator, 11).input::<f32>(&[2, 0], Vec::new()).ints("axes", &[1]);
        assert_eq!(one.first::<f32>().unwrap(), (vec![2, 1], vec![expected; 2]), "{operator}");
    }
}

#[test]
fn each_reduction_has_its_formula_for_integers_too() {
    let values = vec![1_i64, 2, 4, -1, -2, -4];
    for (operator, expected) in [
        ("ReduceSum", [7, -7]),
        ("ReduceMean", [2, -2]),
        ("ReduceMax", [4, -1]),
        ("ReduceMin", [1, -4]),
        ("ReduceProd", [8, -8]),
        ("ReduceL1", [7, 7]),
        ("ReduceL2", [4, 4]),
        ("ReduceSumSquare", [21, 21]),
        ("ReduceLogSum", [1, i64::MIN]),
    ] {
        let one = One::new(operator, 11).input(&[2, 3], values.clone()).ints("axes", &[-1]);
        assert_eq!(one.first::<i64>().unwrap(), (vec![2, 1], expected.to_vec()), "{operator}");
    }
}

#[test]
fn axes_are_left_out_or_wrong() {
    let all = One::new("ReduceMax", 18).input(&[2, 2], vec![1_f32, 2.0, 3.0, 4.0]);
    assert_eq!(all.first::<f32>().unwrap(), (vec![1, 1], vec![4.0]));
    let none = One::new("ReduceSum", 13).input(&[2], vec![1_f32, 2.0]).int("noop_with_empty_axes", 1);
    assert_eq!(none.first::<f32>().unwrap(), (vec![2], vec![1.0, 2.0]));
    let wrong = One::new("ReduceSum", 13).input(&[2], vec![1_f32; 2]).constant(&[1], vec![1_i64]).run();
    assert_eq!(wrong.unwrap_err(), "found axis 1, expected -1 to 0, for its input has 1 axes");
    let early = One::new("ReduceMax", 13).input(&[2], vec![1_f32; 2]).constant(&[1], vec![0_i64]).run();
    assert_eq!(early.unwrap_err(), "it has 2 inputs, and its axes are an attribute before version 18");
    let late = One::new("ReduceMax", 18).input(&[2], vec![1_f32; 2]).ints("axes", &[0]).run();
    assert!(late.unwrap_err().contains("attribute axes"));
}

#[test]
fn the_place_of_the_largest_is_the_first_or_the_last() {
    let rows = || vec![NAN, 1.0, 2.0, 1.0, NAN, 2.0, 1.0, 2.0, NAN, 2.0, 2.0, 1.0];
    for (operator, last, expected) in [
        ("ArgMax", 0, [0_i64, 2, 1, 0]),
        ("ArgMax", 1, [0, 2, 1, 1]),
        ("ArgMin", 0, [0, 0, 0, 2]),
        ("ArgMin", 1, [0, 0, 0, 2]),
    ] {
        let one = One::new(operator, 13).input(&[4, 3], rows()).int("axis", 1).int("select_last_index", last);
        assert_eq!(one.first::<i64>().unwrap(), (vec![4, 1], expected.to_vec()), "{operator} {last}");
    }
    let outer =
        One::new("ArgMax", 13).input(&[2, 3], vec![1_f32, 5.0, 2.0, 3.0, 4.0, 6.0]).int("keepdims", 0);
    assert_eq!(outer.first::<i64>().unwrap(), (vec![3], vec![1, 0, 1]));
}

#[test]
fn sums_so_far_go_either_way() {
    for (exclusive, reverse, expected) in [
        (0, 0, [1.0_f32, 3.0, 6.0]),
        (1, 0, [0.0, 1.0, 3.0]),
        (0, 1, [6.0, 5.0, 3.0]),
        (1, 1, [5.0, 3.0, 0.0]),
    ] {
        let one = One::new("CumSum", 14).input(&[3, 1], vec![1_f32, 2.0, 3.0]).constant(&[], vec![-2_i64]);
        let (_, found) = one.int("exclusive", exclusive).int("reverse", reverse).first::<f32>().unwrap();
        assert_eq!(found, expected);
    }
}
