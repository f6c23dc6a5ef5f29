use crate::model::graph::testing::One;

/// Numbers in [-1, 1) that look random.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A convolution over one axis.
#[derive(Debug, Clone, Copy)]
struct Case {
    groups: usize,
    inputs: usize,
    outputs: usize,
    samples: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

impl Case {
    fn node(&self, operator: &str, bias: &[f32]) -> One {
        let Self { groups, inputs, outputs, samples, kernel, .. } = *self;
        let is_transposed = operator == "ConvTranspose";
        let shape = if is_transposed {
            [inputs, outputs / groups, kernel]
        } else {
            [outputs, inputs / groups, kernel]
        };
        One::new(operator, 11)
            .input(&[2, inputs, samples], numbers(2 * inputs * samples, 1))
            .constant(&shape, numbers(shape.iter().product(), 2))
            .constant(&[outputs], bias.to_vec())
            .int("group", groups as i64)
            .ints("strides", &[self.stride as i64])
            .ints("dilations", &[self.dilation as i64])
            .ints("pads", &[self.before as i64, self.after as i64])
    }

    /// Calls `each` with the places of every number of the input, of the weights and of the output that meet.
    fn meet(&self, windows: usize, mut each: impl FnMut([usize; 3], [usize; 3], [usize; 3])) {
        let (inputs, outputs) = (self.inputs / self.groups, self.outputs / self.groups);
        for sample in 0..2 {
            for output in 0..self.outputs {
                for input in 0..inputs {
                    let channel = output / outputs * inputs + input;
                    for window in 0..windows {
                        for tap in 0..self.kernel {
                            let at = window * self.stride + tap * self.dilation;
                            let weight = [output, input, tap];
                            if let Some(at) = at.checked_sub(self.before) {
                                each([sample, channel, at], weight, [sample, output, window]);
                            }
                        }
                    }
                }
            }
        }
    }
}

const CASES: [Case; 7] = {
    let usual = Case {
        groups: 1,
        inputs: 3,
        outputs: 5,
        samples: 40,
        kernel: 3,
        stride: 1,
        dilation: 1,
        before: 1,
        after: 1,
    };
    [
        usual,
        Case { stride: 2, samples: 33, kernel: 5, before: 2, after: 0, ..usual },
        Case { dilation: 4, outputs: 19, before: 0, ..usual },
        Case { groups: 3, outputs: 6, stride: 3, dilation: 2, ..usual },
        Case { groups: 4, inputs: 4, outputs: 4, kernel: 4, ..usual },
        Case { samples: 3, before: 0, after: 0, ..usual },
        Case { kernel: 1, stride: 2, before: 0, after: 0, ..usual },
    ]
};

#[test]
fn a_convolution_equals_the_sums_written_out() {
    for case in CASES {
        let Case { inputs, outputs, samples, kernel, groups, .. } = case;
        let bias = numbers(outputs, 3);
        let (shape, found) = case.node("Conv", &bias).first::<f32>().unwrap();
        let windows = shape[2];
        let (x, w) = (numbers(2 * inputs * samples, 1), numbers(outputs * inputs / groups * kernel, 2));
        let mut expected: Vec<f64> =
            (0..found.len()).map(|at| f64::from(bias[at / windows % outputs])).collect();
        case.meet(windows, |[sample, channel, at], [output, input, tap], [_, _, window]| {
            if at < samples {
                let weight = w[(output * inputs / groups + input) * kernel + tap];
                let product = f64::from(x[(sample * inputs + channel) * samples + at]) * f64::from(weight);
                expected[(sample * outputs + output) * windows + window] += product;
            }
        });
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{case:?} at {at}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn a_transposed_convolution_is_the_transpose() {
    // <conv(x), y> = <x, transposed(y)> for all x and y, with the same weights.
    for case in CASES.iter().filter(|case| case.samples != 3) {
        let zeros = |count: usize| vec![0.0; count];
        let (shape, forward) = case.node("Conv", &zeros(case.outputs)).first::<f32>().unwrap();
        let back = Case { inputs: case.outputs, outputs: case.inputs, samples: shape[2], ..*case };
        let left_over = case.samples + case.before + case.after
            - ((shape[2] - 1) * case.stride + (case.kernel - 1) * case.dilation + 1);
        let node =
            back.node("ConvTranspose", &zeros(back.outputs)).ints("output_padding", &[left_over as i64]);
        let (_, transposed) = node.first::<f32>().unwrap();
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (x, y) = (numbers(transposed.len(), 1), numbers(forward.len(), 1));
        let (one, other) = (dot(&forward, &y), dot(&x, &transposed));
        assert!((one - other).abs() < 1e-3, "{case:?}: {one} and {other}");
    }
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let node = |operator: &str, weight: &[usize]| {
        let count = weight.iter().product();
        One::new(operator, 11).input(&[1, 4, 6], vec![0.0_f32; 24]).constant(weight, vec![0.0_f32; count])
    };
    for (node, expected) in [
        (node("Conv", &[2, 4, 7]), "its windows reach over 7 numbers, and its input has 6 with the padding"),
        (node("Conv", &[2, 3, 2]), "its input has 4 channels and its weights have the shape [2, 3, 2]"),
        (
            node("Conv", &[2, 4, 1]).ints("strides", &[0]),
            "its attribute strides is [0], expected 1 numbers of 1 to",
        ),
        (
            node("Conv", &[2, 4, 1]).text("auto_pad", "SAME"),
            "its attribute auto_pad is \"SAME\", expected one of NOTSET",
        ),
        (
            node("ConvTranspose", &[4, 2, 2]).ints("pads", &[9, 9]),
            "its pads cut 18 numbers off an output of 7",
        ),
        (node("MaxPool", &[1]), "it has 2 inputs, expected 1"),
    ] {
        let problem = node.run().unwrap_err();
        assert!(problem.contains(expected), "found {problem}");
    }
}
