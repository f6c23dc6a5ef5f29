//! Attention of the samples of a sequence to each other, with several heads.
//!
//! ```text
//!  [q k v] = W_in x + b_in          y = W_out [heads side by side] + b_out
//!  head = softmax(q k^T / sqrt(width)) v
//! ```
//! The projections are one product each. Between them each query is worked through alone: its scores are
//! sums over the transposed keys, so that vectors run along the samples, and its head is a sum of values.

use pulp::{Arch, Simd, WithSimd};

use super::exponential::{POWER_MAX, exp_minus};
use super::operation::RowsLayer;
use super::product::{Product, Rows, Start};

/// The attention of sequences `(samples, features)` to themselves.
pub struct Attention {
    arch: Arch,
    /// From a sample to its query, key and value.
    into: Product,
    /// From the heads, side by side, to what the layer gives.
    out: Product,
    heads: usize,
    samples: usize,
    /// Whether a sample sees none that come after it.
    causal: bool,
}

impl Attention {
    /// `into` gives query, key and value of a sample, each as wide as what goes into `out`.
    pub fn new(into: Product, out: Product, heads: usize, samples: usize, causal: bool) -> Self {
        Self { arch: Arch::new(), into, out, heads, samples, causal }
    }

    fn features(&self) -> usize {
        self.out.depth()
    }
}

impl RowsLayer for Attention {
    const NAME: &'static str = "self_attention";

    fn inputs(&self) -> usize {
        self.samples * self.into.depth()
    }

    fn outputs(&self) -> usize {
        self.samples * self.out.outputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let features = self.features();
        let mut projected = vec![0.0; self.samples * 3 * features];
        let mut mixed = vec![0.0; self.samples * features];
        let mut scratch = Scratch {
            keys: vec![0.0; self.samples * (features / self.heads)],
            scores: vec![0.0; self.samples],
        };
        let rows = input.chunks_exact(self.inputs()).zip(output.chunks_exact_mut(self.outputs()));
        for (row, output) in rows {
            self.into.multiply(Rows::packed(row, self.into.depth()), Start::Bias, false, &mut projected);
            let (projected, mixed, scratch) = (&projected, &mut mixed, &mut scratch);
            self.arch.dispatch(Heads { layer: self, projected, mixed, scratch });
            self.out.multiply(Rows::packed(mixed, features), Start::Bias, false, output);
        }
    }
}

/// Reused from head to head.
struct Scratch {
    /// The keys of one head, `(width, samples)`.
    keys: Vec<f32>,
    /// Of one query to each sample.
    scores: Vec<f32>,
}

/// All heads of one row. Not a closure, which the compiler may leave without the processor's vectors.
struct Heads<'a> {
    layer: &'a Attention,
    /// `(samples, 3 features)`.
    projected: &'a [f32],
    /// `(samples, features)`.
    mixed: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, projected, mixed, scratch: Scratch { keys, scores } } = self;
        let (samples, features) = (layer.samples, layer.features());
        let width = features / layer.heads;
        let scale = 1.0 / (width as f32).sqrt();
        for head in 0..layer.heads {
            let part = |sample: usize, of: usize| {
                &projected[sample * 3 * features + of * features + head * width..][..width]
            };
            for sample in 0..samples {
                for (row, key) in keys.chunks_exact_mut(samples).zip(part(sample, 1)) {
                    row[sample] = *key;
                }
            }
            for sample in 0..samples {
                let seen = if layer.causal { sample + 1 } else { samples };
                let scores = &mut scores[..seen];
                scores.fill(0.0);
                for (key, query) in keys.chunks_exact(samples).zip(part(sample, 0)) {
                    let query = query * scale;
                    scores.iter_mut().zip(key).for_each(|(score, key)| *score += query * key);
                }
                let sum = exponentials(simd, scores);
                let head = &mut mixed[sample * features + head * width..][..width];
                head.fill(0.0);
                for (other, score) in scores.iter().enumerate() {
                    head.iter_mut().zip(part(other, 2)).for_each(|(mixed, value)| *mixed += score * value);
                }
                head.iter_mut().for_each(|mixed| *mixed /= sum);
            }
        }
    }
}

/// Makes `e^(score - largest)` of each score, and gives their sum. NaN makes all of them, and the sum, NaN.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, scores: &mut [f32]) -> f32 {
    let largest =
        scores.iter().fold(f32::NEG_INFINITY, |most, &score| if score > most { score } else { most });
    let largest = simd.splat_f32s(largest);
    for scores in scores.chunks_mut(S::F32_LANES) {
        let score = simd.partial_load_f32s(scores);
        simd.partial_store_f32s(scores, exp_minus(simd, simd.sub_f32s(largest, score), POWER_MAX));
    }
    scores.iter().sum()
}
