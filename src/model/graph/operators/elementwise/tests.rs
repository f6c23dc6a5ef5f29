//! What the functions give for special numbers, as ONNX Runtime 1.32 has it.

use crate::model::graph::testing::One;

const NAN: f32 = f32::NAN;
const INFINITY: f32 = f32::INFINITY;
const SPECIAL: [f32; 8] = [NAN, INFINITY, -INFINITY, 0.5, -0.5, 1.0, 2.5, -3.0];

fn near(found: &[f32], expected: &[f32]) -> bool {
    found.iter().zip(expected).all(|(found, expected)| {
        (found.is_nan() && expected.is_nan())
            || found == expected
            || (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
    })
}

#[test]
fn special_numbers_are_as_the_reference_has_them() {
    let gelu = [NAN, INFINITY, NAN, 0.345_731_23, -0.154_268_77, 0.841_344_7, 2.484_475_9, -0.004_049_694];
    let table: [(&str, i64, [f32; 8]); 15] = [
        ("Relu", 14, [NAN, INFINITY, 0.0, 0.5, 0.0, 1.0, 2.5, 0.0]),
        ("Sign", 13, [NAN, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0]),
        ("Round", 11, [NAN, INFINITY, -INFINITY, 0.0, 0.0, 1.0, 2.0, -3.0]),
        ("Softsign", 1, [NAN, NAN, NAN, 1.0 / 3.0, -1.0 / 3.0, 0.5, 2.5 / 3.5, -0.75]),
        ("ThresholdedRelu", 10, [0.0, INFINITY, 0.0, 0.0, 0.0, 0.0, 2.5, 0.0]),
        ("Shrink", 9, [0.0, INFINITY, -INFINITY, 0.0, 0.0, 1.0, 2.5, -3.0]),
        ("HardSwish", 14, [NAN, INFINITY, NAN, 0.291_666_67, -0.208_333_33, 0.666_666_7, 2.291_666_7, 0.0]),
        ("HardSigmoid", 6, [NAN, 1.0, 0.0, 0.6, 0.4, 0.7, 1.0, 0.0]),
        (
            "Mish",
            18,
            [NAN, INFINITY, NAN, 0.375_245_24, -0.220_743_77, 0.865_098_5, 2.471_391_7, -0.145_647_46],
        ),
        ("Gelu", 20, gelu),
        ("Elu", 6, [NAN, INFINITY, -1.0, 0.5, -0.393_469_34, 1.0, 2.5, -0.950_212_96]),
        ("Sigmoid", 13, [NAN, 1.0, 0.0, 0.622_459_3, 0.377_540_68, 0.731_058_6, 0.924_141_8, 0.047_425_874]),
        ("Tanh", 13, [NAN, 1.0, -1.0, 0.462_117_17, -0.462_117_17, 0.761_594_2, 0.986_614_3, -0.995_054_8]),
        ("Sqrt", 13, [NAN, INFINITY, NAN, 0.707_106_77, NAN, 1.0, 1.581_138_8, NAN]),
        ("LeakyRelu", 16, [NAN, INFINITY, -INFINITY, 0.5, -0.005, 1.0, 2.5, -0.03]),
    ];
    for (operator, opset, expected) in table {
        let (_, found) = One::new(operator, opset).input(&[8], SPECIAL.to_vec()).first::<f32>().unwrap();
        assert!(near(&found, &expected), "{operator} gives {found:?}");
        // The same in double precision, of those that have it.
        let doubles: Vec<f64> = SPECIAL.iter().map(|&value| f64::from(value)).collect();
        let (_, found) = One::new(operator, opset).input(&[8], doubles).first::<f64>().unwrap();
        let found: Vec<f32> = found.iter().map(|&value| value as f32).collect();
        assert!(near(&found, &expected), "{operator} of doubles gives {found:?}");
    }
}

#[test]
fn clip_has_its_bounds_where_the_version_says() {
    let values = || vec![NAN, -INFINITY, INFINITY, 2.0, -3.0, 5.0];
    let bounded = |low: f32, high: f32| {
        One::new("Clip", 13).input(&[6], values()).constant(&[], vec![low]).input(&[], vec![high])
    };
    let found = |one: One| one.first::<f32>().unwrap().1;
    assert!(near(&found(bounded(-1_f32, 1_f32)), &[NAN, -1.0, 1.0, 1.0, -1.0, 1.0]));
    assert!(near(&found(bounded(3.0, 1.0)), &[NAN, 1.0, 1.0, 1.0, 1.0, 1.0]));
    assert!(near(&found(bounded(NAN, 1.0)), &[NAN, -INFINITY, 1.0, 1.0, -3.0, 1.0]));
    let old = One::new("Clip", 6).input(&[6], values()).float("min", -1.0);
    assert!(near(&found(old), &[NAN, -1.0, f32::MAX, 2.0, -1.0, 5.0]));
    let upper = One::new("Clip", 13).input(&[2], vec![3_i64, 9]).absent().constant(&[], vec![5_i64]);
    assert_eq!(upper.first::<i64>().unwrap().1, [3, 5]);
    let wrong = One::new("Clip", 13).input(&[1], vec![0_f32]).constant(&[2], vec![0_f32, 1.0]).run();
    assert_eq!(wrong.unwrap_err(), "its input 1 (min) is float32 [2], expected float32 []");
    let early = One::new("Clip", 6).input(&[1], vec![0_f32]).constant(&[], vec![0_f32]).run();
    assert!(early.unwrap_err().contains("attributes before version 11"));
}

#[test]
fn integers_wrap_and_wrong_kinds_are_named() {
    let (_, found) = One::new("Abs", 13).input(&[3], vec![-128_i8, -1, 5]).first::<i8>().unwrap();
    assert_eq!(found, [-128, 1, 5]);
    let (_, found) = One::new("BitwiseNot", 18).input(&[2], vec![0_u8, 255]).first::<u8>().unwrap();
    assert_eq!(found, [255, 0]);
    let (_, found) = One::new("IsInf", 20)
        .input(&[3], vec![NAN, INFINITY, -INFINITY])
        .int("detect_negative", 0)
        .first::<bool>()
        .unwrap();
    assert_eq!(found, [false, true, false]);
    let wrong = One::new("Exp", 13).input(&[1], vec![1_i64]).run().unwrap_err();
    assert_eq!(wrong, "its input 0 is int64, expected float32 or float64");
    let wrong = One::new("Gelu", 20).input(&[1], vec![1_f32]).text("approximate", "fast").run().unwrap_err();
    assert_eq!(wrong, "its attribute approximate is \"fast\", expected one of none, tanh");
}
