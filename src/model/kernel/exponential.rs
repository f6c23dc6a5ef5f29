//! `e^x` in vectors, exact enough for gates and weights of attention.

use pulp::Simd;

/// Beyond it, both ways, a gate is 0 or 1 to 2e-9; within it no product of three exponentials overflows.
pub const GATE_MAX: f32 = 20.0;
/// Within it, both ways, `e^x` is a number that f32 holds without a loss of bits.
pub const POWER_MAX: f32 = 87.0;

/// `e^-x`, with `x` clamped to `limit` both ways, which is at most [`POWER_MAX`]; NaN stays NaN. The relative
/// error is below 2e-7.
///
/// `x = n ln 2 + r`, so that `e^x = 2^n e^r` with `|r| <= ln 2 / 2`, where eight
/// terms of the series are exact enough.
#[inline(always)]
pub fn exp_minus<S: Simd>(simd: S, x: S::f32s, limit: f32) -> S::f32s {
    /// 1.5 * 2^23: added to a small number, it leaves the nearest integer in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first has few enough bits for its multiples to be exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    const EXPONENT_BIAS: u32 = 127;
    const MANTISSA_BITS: u32 = 23;
    const SERIES: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

    let (min, max) = (simd.splat_f32s(-limit), simd.splat_f32s(limit));
    // Selections, not minimum and maximum, which would make a bound of a NaN.
    let x = simd.select_f32s(simd.less_than_f32s(x, min), min, x);
    let x = simd.select_f32s(simd.less_than_f32s(max, x), max, x);
    let rounder = simd.splat_f32s(ROUNDER);
    let rounded = simd.mul_add_e_f32s(x, simd.splat_f32s(-std::f32::consts::LOG2_E), rounder);
    let n = simd.sub_f32s(rounded, rounder);
    // In two steps (W. J. Cody and W. Waite, "Software manual for the elementary functions", 1980): n ln 2 in
    // one f32 would be off by more than the series is.
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2[0]), simd.neg_f32s(x));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2[1]), r);
    let mut series = simd.splat_f32s(1.0 / 5_040.0);
    for term in SERIES {
        series = simd.mul_add_e_f32s(series, r, simd.splat_f32s(term));
    }
    let exponent = simd.add_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(EXPONENT_BIAS));
    let power = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(MANTISSA_BITS));
    simd.mul_f32s(series, simd.transmute_f32s_u32s(power))
}
