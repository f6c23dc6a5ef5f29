//! A step of a GRU with the usual functions, in one pass over the gates in vectors.
//!
//! ```text
//!  z = sigmoid(z)   r = sigmoid(r)   n = tanh(n + r (U_n h + b_n))   h = (1 - z) n + z h
//! ```

use pulp::{Simd, WithSimd};

use crate::model::kernel::exponential::{GATE_MAX, exp_minus};

pub struct Step<'a> {
    /// The input's part of the gates, `(rows, 3 padded)`.
    pub fed: &'a [f32],
    /// The hidden numbers' part of them.
    pub gates: &'a [f32],
    /// `(rows, padded)`.
    pub state: &'a mut [f32],
    pub padded: usize,
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { fed, gates, state, padded } = self;
        let rows = fed.chunks_exact(3 * padded).zip(gates.chunks_exact(3 * padded));
        for ((fed, gates), state) in rows.zip(state.chunks_exact_mut(padded)) {
            let vectors = |gate: usize| {
                let of_gate = gate * padded..(gate + 1) * padded;
                S::as_simd_f32s(&fed[of_gate.clone()]).0.iter().zip(S::as_simd_f32s(&gates[of_gate]).0)
            };
            let inputs = vectors(0).zip(vectors(1)).zip(vectors(2));
            for (h, ((z, r), n)) in S::as_mut_simd_f32s(state).0.iter_mut().zip(inputs) {
                *h = step(simd, [z, r, n].map(|(fed, gate)| (*fed, *gate)), *h);
            }
        }
    }
}

#[inline(always)]
fn step<S: Simd>(simd: S, [z, r, n]: [(S::f32s, S::f32s); 3], h: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let z = exp_minus(simd, simd.add_f32s(z.0, z.1), GATE_MAX);
    let r = simd.div_f32s(one, simd.add_f32s(one, exp_minus(simd, simd.add_f32s(r.0, r.1), GATE_MAX)));
    let n = simd.mul_add_e_f32s(r, n.1, n.0);
    let n = exp_minus(simd, simd.add_f32s(n, n), GATE_MAX);
    // As in an LSTM's step: over one common denominator, with z = 1 / (1 + e^-z) and n = (1 - e^-2n) / (1 +
    // e^-2n).
    let wide = simd.add_f32s(one, n);
    let above = simd.mul_add_e_f32s(h, wide, simd.mul_f32s(z, simd.sub_f32s(one, n)));
    simd.div_f32s(above, simd.mul_f32s(simd.add_f32s(one, z), wide))
}
