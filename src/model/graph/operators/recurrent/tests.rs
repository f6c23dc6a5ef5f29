use crate::model::graph::testing::One;

const SAMPLES: usize = 5;
const ROWS: usize = 11;
const INPUTS: usize = 3;
const HIDDEN: usize = 6;

/// Numbers in [-1, 1) that look random.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn node(operator: &str, gates: usize, rows: &[usize]) -> One {
    let x = numbers(SAMPLES * ROWS * INPUTS, 1);
    let chosen = (0..SAMPLES)
        .flat_map(|sample| rows.iter().flat_map(move |row| (0..INPUTS).map(move |at| (sample, *row, at))))
        .map(|(sample, row, at)| x[(sample * ROWS + row) * INPUTS + at])
        .collect();
    One::new(operator, 14)
        .input(&[SAMPLES, rows.len(), INPUTS], chosen)
        .constant(&[1, gates * HIDDEN, INPUTS], numbers(gates * HIDDEN * INPUTS, 2))
        .constant(&[1, gates * HIDDEN, HIDDEN], numbers(gates * HIDDEN * HIDDEN, 3))
        .constant(&[1, 2 * gates * HIDDEN], numbers(2 * gates * HIDDEN, 4))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The sums of a gate for one row: of the input, and of the hidden numbers.
fn gate(gates: usize, number: usize, x: &[f32], h: &[f64], at: usize) -> (f64, f64) {
    let (w, r) = (numbers(gates * HIDDEN * INPUTS, 2), numbers(gates * HIDDEN * HIDDEN, 3));
    let bias = numbers(2 * gates * HIDDEN, 4);
    let line = number * HIDDEN + at;
    let of_input = w[line * INPUTS..][..INPUTS].iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
    let of_hidden = r[line * HIDDEN..][..HIDDEN].iter().zip(h).map(|(r, h)| f64::from(*r) * h);
    (
        of_input.sum::<f64>() + f64::from(bias[line]),
        of_hidden.sum::<f64>() + f64::from(bias[gates * HIDDEN + line]),
    )
}

/// The last hidden numbers of one row, by the equations of ONNX in double precision.
fn written_out(operator: &str, row: usize) -> Vec<f64> {
    let x = numbers(SAMPLES * ROWS * INPUTS, 1);
    let (mut h, mut c) = ([0.0; HIDDEN], [0.0; HIDDEN]);
    for sample in 0..SAMPLES {
        let x = &x[(sample * ROWS + row) * INPUTS..][..INPUTS];
        let before = h;
        for at in 0..HIDDEN {
            let both = |gates: usize, number: usize| {
                let (input, hidden) = gate(gates, number, x, &before, at);
                input + hidden
            };
            match operator {
                "LSTM" => {
                    let [i, o, f, g] = [0, 1, 2, 3].map(|number| both(4, number));
                    c[at] = sigmoid(f) * c[at] + sigmoid(i) * g.tanh();
                    h[at] = sigmoid(o) * c[at].tanh();
                }
                "GRU" => {
                    let (z, r) = (sigmoid(both(3, 0)), sigmoid(both(3, 1)));
                    let (input, hidden) = gate(3, 2, x, &before, at);
                    h[at] = (1.0 - z) * (input + r * hidden).tanh() + z * before[at];
                }
                _ => h[at] = both(1, 0).tanh(),
            }
        }
    }
    h.to_vec()
}

/// An operator, its gates, and its attributes.
type Case = (&'static str, usize, &'static [(&'static str, i64)]);

fn cases() -> [Case; 4] {
    [
        ("LSTM", 4, &[]),
        ("GRU", 3, &[("linear_before_reset", 1)]),
        ("GRU", 3, &[("linear_before_reset", 0)]),
        ("RNN", 1, &[]),
    ]
}

fn last(operator: &str, gates: usize, settings: &[(&str, i64)], rows: &[usize]) -> Vec<f32> {
    let node =
        settings.iter().fold(node(operator, gates, rows), |node, (name, value)| node.int(name, *value));
    node.outputs(2).run().unwrap()[1].values::<f32>().unwrap().to_vec()
}

#[test]
fn a_layer_equals_its_equations() {
    for (operator, gates, settings) in
        cases().into_iter().filter(|case| case.2 != [("linear_before_reset", 0)])
    {
        let found = last(operator, gates, settings, &(0..ROWS).collect::<Vec<_>>());
        for (row, found) in found.chunks_exact(HIDDEN).enumerate() {
            for (found, expected) in found.iter().zip(written_out(operator, row)) {
                assert!(
                    (f64::from(*found) - expected).abs() < 2e-6,
                    "{operator}: {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn a_row_alone_gives_what_it_gives_among_others() {
    for (operator, gates, settings) in cases() {
        let together = last(operator, gates, settings, &(0..ROWS).collect::<Vec<_>>());
        for (row, together) in together.chunks_exact(HIDDEN).enumerate() {
            assert_eq!(last(operator, gates, settings, &[row]), together, "{operator}, row {row}");
        }
    }
}

#[test]
fn a_short_sequence_ends_early() {
    let lengths = |length: i32| vec![length];
    let long = node("LSTM", 4, &[2]).outputs(2).run().unwrap();
    let short = node("LSTM", 4, &[2]).constant(&[1], lengths(3)).outputs(2).run().unwrap();
    let (long, all) = (long[0].values::<f32>().unwrap(), short[0].values::<f32>().unwrap());
    assert_eq!(all[..3 * HIDDEN], long[..3 * HIDDEN]);
    assert!(all[3 * HIDDEN..].iter().all(|&number| number == 0.0));
    assert_eq!(short[1].values::<f32>().unwrap(), &long[2 * HIDDEN..3 * HIDDEN]);
    let problem = node("LSTM", 4, &[2]).input(&[1], lengths(9)).run().unwrap_err();
    assert_eq!(problem, "a sequence has the length 9, expected 0 to 5");
}
