//! Elements and where they come to lie, in all forms that the versions have.

use std::sync::Arc;

use crate::model::graph::testing::One;

fn count(count: usize) -> Vec<f32> {
    (0..count).map(|at| at as f32).collect()
}

fn words(words: &[&str]) -> Vec<Arc<str>> {
    words.iter().map(|word| Arc::from(*word)).collect()
}

#[test]
fn axes_of_one_place_come_and_go() {
    let shape = |one: One| one.run().map(|outputs| outputs[0].shape.clone());
    let input = |operator, opset| One::new(operator, opset).input(&[1, 3, 1], count(3));
    assert_eq!(shape(input("Squeeze", 11)), Ok(vec![3]));
    assert_eq!(shape(input("Squeeze", 11).ints("axes", &[-1])), Ok(vec![1, 3]));
    assert_eq!(shape(input("Squeeze", 13).constant(&[1], vec![0_i64])), Ok(vec![3, 1]));
    assert_eq!(shape(input("Unsqueeze", 11).ints("axes", &[4, 0])), Ok(vec![1, 1, 3, 1, 1]));
    assert_eq!(shape(input("Unsqueeze", 13).constant(&[1], vec![-1_i64])), Ok(vec![1, 3, 1, 1]));
    let wrong = shape(input("Squeeze", 13).constant(&[1], vec![1_i64])).unwrap_err();
    assert_eq!(wrong, "its input has the shape [1, 3, 1], expected 1 at axis 1");
    let wrong = shape(input("Unsqueeze", 13).constant(&[2], vec![0_i64, 0])).unwrap_err();
    assert_eq!(wrong, "found the axes [0, 0], which name one twice");
    let wrong = shape(input("Unsqueeze", 13).constant(&[1], vec![4_i64])).unwrap_err();
    assert_eq!(wrong, "found axis 4, expected -4 to 3, for its output has 4 axes");
}

#[test]
fn axes_change_places() {
    let one = |order: &[i64]| One::new("Transpose", 13).input(&[2, 3, 2], count(12)).ints("perm", order);
    let (shape, found) = one(&[1, 0, 2]).first::<f32>().unwrap();
    assert_eq!((shape, found), (vec![3, 2, 2], vec![0., 1., 6., 7., 2., 3., 8., 9., 4., 5., 10., 11.]));
    let (shape, found) =
        One::new("Transpose", 13).input(&[2, 3], words(&["a", "b", "c", "d", "e", "f"])).first().unwrap();
    assert_eq!((shape, found), (vec![3, 2], words(&["a", "d", "b", "e", "c", "f"])));
    let wrong = one(&[0, 0, 1]).run().unwrap_err();
    assert_eq!(wrong, "its attribute perm is [0, 0, 1], expected each of its input's 3 axes once");
}

#[test]
fn slices_are_cut_as_python_cuts_them() {
    let all = i64::MAX;
    for (start, end, step, expected) in [
        (0, all, 1, &[0., 1., 2., 3., 4.][..]),
        (1, 4, 2, &[1., 3.]),
        (-2, all, 1, &[3., 4.]),
        (-100, 2, 1, &[0., 1.]),
        (3, 1, 1, &[]),
        (-1, i64::MIN, -1, &[4., 3., 2., 1., 0.]),
        (3, 0, -2, &[3., 1.]),
        (100, -100, -3, &[4., 1.]),
        (0, all, i64::MAX, &[0.]),
        (4, i64::MIN, i64::MIN, &[4.]),
        (-100, -100, -1, &[0.]),
        (7, 9, 1, &[]),
    ] {
        let one =
            One::new("Slice", 13).input(&[5], count(5)).constant(&[1], vec![start]).constant(&[1], vec![end]);
        let one = one.constant(&[1], vec![0_i64]).constant(&[1], vec![step]);
        assert_eq!(
            one.first::<f32>().unwrap(),
            (vec![expected.len()], expected.to_vec()),
            "{start}:{end}:{step}"
        );
    }
    let old = One::new("Slice", 9)
        .input(&[2, 3], count(6))
        .ints("starts", &[1])
        .ints("ends", &[3])
        .ints("axes", &[1]);
    assert_eq!(old.first::<f32>().unwrap(), (vec![2, 2], vec![1., 2., 4., 5.]));
    let narrow = One::new("Slice", 10)
        .input(&[2, 3], count(6))
        .constant(&[2], vec![0_i32, 1])
        .constant(&[2], vec![1_i32, 3]);
    assert_eq!(narrow.first::<f32>().unwrap(), (vec![1, 2], vec![1., 2.]));
    let unknown =
        One::new("Slice", 10).input(&[2], count(2)).input(&[1], vec![0_i64]).constant(&[1], vec![1_i64]);
    assert!(unknown.run().unwrap_err().contains("its input 1 (starts)"));
}

#[test]
fn parts_are_equal_or_as_said() {
    let parts = |one: One, count: usize| {
        one.outputs(count).run().map(|parts| {
            parts.into_iter().map(|part| part.values::<f32>().unwrap().to_vec()).collect::<Vec<_>>()
        })
    };
    let seven = |opset| One::new("Split", opset).input(&[7], count(7));
    let expected = vec![vec![0., 1., 2.], vec![3., 4., 5.], vec![6.]];
    assert_eq!(parts(seven(18).int("num_outputs", 3), 3), Ok(expected.clone()));
    assert_eq!(parts(seven(13).constant(&[3], vec![3_i64, 3, 1]), 3), Ok(expected.clone()));
    assert_eq!(parts(seven(11).ints("split", &[3, 3, 1]), 3), Ok(expected));
    assert_eq!(
        parts(seven(13), 3).unwrap_err(),
        "it divides 7 places into 3 equal parts, which they cannot be"
    );
    assert!(parts(seven(11).ints("split", &[3, 3]), 2).unwrap_err().contains("[3, 3]"));
    let columns = One::new("Split", 13).input(&[2, 4], count(8)).int("axis", -1);
    assert_eq!(parts(columns, 2), Ok(vec![vec![0., 1., 4., 5.], vec![2., 3., 6., 7.]]));
}

#[test]
fn values_are_put_together_and_repeated() {
    let one = One::new("Concat", 13)
        .input(&[2, 1], count(2))
        .constant(&[2, 2], vec![7_f32, 8.0, 9.0, 10.0])
        .int("axis", -1);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2, 3], vec![0., 7., 8., 1., 9., 10.]));
    let wrong = One::new("Concat", 13).input(&[2, 1], count(2)).input(&[1, 1], count(1)).int("axis", 1).run();
    let expected = "its inputs 0 and 1 are float32 [2, 1] and float32 [1, 1], expected the same but for the size of axis 1";
    assert_eq!(wrong.unwrap_err(), expected);
    let one = One::new("Tile", 13).input(&[2, 2], count(4)).constant(&[2], vec![2_i64, 2]);
    assert_eq!(
        one.first::<f32>().unwrap().1,
        [0., 1., 0., 1., 2., 3., 2., 3., 0., 1., 0., 1., 2., 3., 2., 3.]
    );
    let one = One::new("Expand", 13).input(&[2, 1], count(2)).constant(&[3], vec![2_i64, 1, 2]);
    assert_eq!(one.first::<f32>().unwrap(), (vec![2, 2, 2], vec![0., 0., 1., 1., 0., 0., 1., 1.]));
    let much = One::new("Expand", 13).input(&[1], count(1)).constant(&[2], vec![1_i64 << 40, 1 << 40]).run();
    assert!(much.unwrap_err().contains("too much"));
}

#[test]
fn places_are_added_in_each_mode() {
    let pad = |mode: &str, before: i64, after: i64| {
        One::new("Pad", 19).input(&[5], count(5)).constant(&[2], vec![before, after]).text("mode", mode)
    };
    for (mode, before, after, expected) in [
        ("constant", 2, 1, &[0., 0., 0., 1., 2., 3., 4., 0.][..]),
        ("constant", -2, 1, &[2., 3., 4., 0.]),
        ("constant", -1, 1, &[1., 2., 3., 4., 0.]),
        ("constant", 7, -6, &[0., 0., 0., 0., 0., 0.]),
        ("edge", 2, 1, &[0., 0., 0., 1., 2., 3., 4., 4.]),
        ("edge", -1, 2, &[1., 2., 3., 4., 4., 4.]),
        ("reflect", 2, 1, &[2., 1., 0., 1., 2., 3., 4., 3.]),
        ("reflect", -1, 2, &[1., 2., 3., 4., 3., 2.]),
        ("wrap", 7, 6, &[3., 4., 0., 1., 2., 3., 4., 0., 1., 2., 3., 4., 0., 1., 2., 3., 4., 0.]),
    ] {
        let found = pad(mode, before, after).first::<f32>();
        assert_eq!(found, Ok((vec![expected.len()], expected.to_vec())), "{mode} {before} {after}");
    }
    assert!(pad("reflect", 5, 0).run().unwrap_err().contains("expected 4 at most"));
    let plane =
        One::new("Pad", 18).input(&[2, 2], count(4)).constant(&[2], vec![1_i64, 0]).input(&[], vec![9_f32]);
    let found = plane.constant(&[1], vec![-2_i64]).first::<f32>().unwrap();
    assert_eq!(found, (vec![3, 2], vec![9., 9., 0., 1., 2., 3.]));
    let old = One::new("Pad", 2).input(&[1, 2], count(2)).ints("pads", &[0, 1, 0, 0]).float("value", 5.0);
    assert_eq!(old.first::<f32>().unwrap(), (vec![1, 3], vec![5., 0., 1.]));
}

#[test]
fn sequences_are_turned_round_to_their_lengths() {
    let one = One::new("ReverseSequence", 10).input(&[2, 3], count(6)).input(&[2], vec![2_i64, 3]);
    let found = one.int("batch_axis", 0).int("time_axis", 1).first::<f32>().unwrap();
    assert_eq!(found.1, [1., 0., 2., 5., 4., 3.]);
    let fault = One::new("ReverseSequence", 10).input(&[3, 1], count(3)).input(&[1], vec![4_i64]).run();
    assert_eq!(fault.unwrap_err(), "the length of sequence 0 is 4, expected 0 to 3");
}

#[test]
fn channels_become_blocks_of_places_and_places_channels() {
    // The examples of ONNX's own description.
    let input: Vec<f32> =
        (0..8).flat_map(|channel| (0..6).map(move |at| (9 * channel + at) as f32)).collect();
    let one = |opset| One::new("DepthToSpace", opset).input(&[1, 8, 2, 3], input.clone()).int("blocksize", 2);
    let outer: Vec<f32> = vec![
        0., 18., 1., 19., 2., 20., 36., 54., 37., 55., 38., 56., 3., 21., 4., 22., 5., 23., 39., 57., 40.,
        58., 41., 59., 9., 27., 10., 28., 11., 29., 45., 63., 46., 64., 47., 65., 12., 30., 13., 31., 14.,
        32., 48., 66., 49., 67., 50., 68.,
    ];
    let inner: Vec<f32> = vec![
        0., 9., 1., 10., 2., 11., 18., 27., 19., 28., 20., 29., 3., 12., 4., 13., 5., 14., 21., 30., 22.,
        31., 23., 32., 36., 45., 37., 46., 38., 47., 54., 63., 55., 64., 56., 65., 39., 48., 40., 49., 41.,
        50., 57., 66., 58., 67., 59., 68.,
    ];
    let expected = (vec![1, 2, 4, 6], outer.clone());
    assert_eq!(one(1).first(), Ok(expected.clone()));
    assert_eq!(one(13).first(), Ok(expected.clone()));
    assert_eq!(one(11).text("mode", "DCR").first(), Ok(expected));
    assert_eq!(one(13).text("mode", "CRD").first(), Ok((vec![1, 2, 4, 6], inner)));
    let back = One::new("SpaceToDepth", 13).input(&[1, 2, 4, 6], outer).int("blocksize", 2);
    assert_eq!(back.first(), Ok((vec![1, 8, 2, 3], input.clone())));
    let mode = one(1).text("mode", "CRD").run().unwrap_err();
    assert!(mode.contains("its attribute mode is not understood"), "{mode}");
    let wrong =
        One::new("DepthToSpace", 13).input(&[1, 6, 1, 1], count(6)).int("blocksize", 2).run().unwrap_err();
    assert_eq!(wrong, "its input has 6 channels, expected a multiple of 2 times 2");
    let wrong =
        One::new("SpaceToDepth", 13).input(&[1, 1, 3, 2], count(6)).int("blocksize", 2).run().unwrap_err();
    assert_eq!(wrong, "its input has 3 by 2 places, expected multiples of 2, its attribute blocksize");
}
