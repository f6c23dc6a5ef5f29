use crate::model::graph::testing::One;

#[test]
fn matrices_are_multiplied_as_numpy_does() {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let values = |shape: &[usize]| (0..count(shape)).map(|at| (at % 7) as f32 - 2.0).collect::<Vec<_>>();
    type Row = (&'static [usize], &'static [usize], &'static [usize], &'static [f32]);
    let table: [Row; 5] = [
        (&[2, 3], &[3, 2], &[2, 2], &[4.0, 1.0, 4.0, 10.0]),
        (&[3], &[3], &[], &[5.0]),
        (&[3], &[3, 2], &[2], &[4.0, 1.0]),
        (&[2, 1, 3], &[3], &[2, 1], &[5.0, -4.0]),
        (&[2, 2], &[2, 2, 1], &[2, 2, 1], &[5.0, -1.0, -1.0, 1.0]),
    ];
    for (left, right, shape, expected) in table {
        let node = || One::new("MatMul", 13).input(left, values(left));
        let known = node().constant(right, values(right)).first::<f32>().unwrap();
        assert_eq!(known, (shape.to_vec(), expected.to_vec()), "{left:?} x {right:?}");
        assert_eq!(node().input(right, values(right)).first::<f32>().unwrap(), known, "{left:?} x {right:?}");
        let whole = |shape: &[usize]| values(shape).iter().map(|&value| value as i64).collect::<Vec<_>>();
        let (_, found) = One::new("MatMul", 13)
            .input(left, whole(left))
            .input(right, whole(right))
            .first::<i64>()
            .unwrap();
        assert_eq!(found.iter().map(|&value| value as f32).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_gemm_scales_transposes_and_broadcasts() {
    let node = |shape: &[usize], added: Vec<f32>| {
        One::new("Gemm", 13)
            .input(&[2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])
            .constant(&[2, 2], vec![1.0_f32, 0.0, 1.0, -1.0])
            .input(shape, added)
            .int("transA", 1)
            .int("transB", 1)
            .float("alpha", 2.0)
            .float("beta", 0.5)
    };
    let (shape, found) = node(&[3, 1], vec![2.0, 4.0, 6.0]).first::<f32>().unwrap();
    assert_eq!((shape, found), (vec![3, 2], vec![3.0, -5.0, 6.0, -4.0, 9.0, -3.0]));
    let (_, found) = node(&[2], vec![2.0, 4.0]).first::<f32>().unwrap();
    assert_eq!(found, [3.0, -4.0, 5.0, -4.0, 7.0, -4.0]);
    let problem = node(&[3], vec![0.0; 3]).run().unwrap_err();
    assert_eq!(problem, "its input 2 (C) has the shape [3], which does not broadcast to [3, 2]");
}

#[test]
fn an_equation_says_what_is_summed_up() {
    let node = |equation: &str| One::new("Einsum", 12).text("equation", equation);
    let (a, b) = (vec![1.0_f32, 2.0, 3.0, 4.0], vec![1.0_f32, 0.0, 2.0, 1.0]);
    type Row = (&'static str, bool, &'static [usize], &'static [f32]);
    let table: [Row; 8] = [
        ("ij,jk->ik", true, &[2, 2], &[5.0, 2.0, 11.0, 4.0]),
        ("ij,kj", true, &[2, 2], &[1.0, 4.0, 3.0, 10.0]),
        ("ij,ij->", true, &[], &[11.0]),
        ("...j,j k -> k...", true, &[2, 2], &[5.0, 11.0, 2.0, 4.0]),
        ("ii->i", false, &[2], &[1.0, 4.0]),
        ("ii", false, &[], &[5.0]),
        ("ij->ji", false, &[2, 2], &[1.0, 3.0, 2.0, 4.0]),
        ("i...->...", false, &[2], &[4.0, 6.0]),
    ];
    for (equation, has_two, shape, expected) in table {
        let one = node(equation).input(&[2, 2], a.clone());
        let one = if has_two { one.input(&[2, 2], b.clone()) } else { one };
        assert_eq!(one.first::<f32>().unwrap(), (shape.to_vec(), expected.to_vec()), "{equation}");
    }
    for (equation, expected) in [
        ("ij,jk->ik", "its equation is \"ij,jk->ik\", which has 2 terms, and it has 1 inputs"),
        ("i->i", "its equation is \"i->i\", of which \"i\" does not name the axes of [2, 2]"),
        ("ij->k", "its equation is \"ij->k\", whose output has an axis that no input has"),
    ] {
        assert_eq!(node(equation).input(&[2, 2], a.clone()).run().unwrap_err(), expected);
    }
}

#[test]
fn small_integers_are_multiplied_without_their_zero_points() {
    let (_, found) = One::new("MatMulInteger", 10)
        .input(&[1, 2], vec![130_u8, 126])
        .constant(&[2, 2], vec![1_i8, -2, 3, 4])
        .constant(&[], vec![128_u8])
        .constant(&[2], vec![1_i8, 0])
        .first::<i32>()
        .unwrap();
    assert_eq!(found, [-4, -12]);
}
