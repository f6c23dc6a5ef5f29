//! exp, log, tanh, the logistic function and erf for f32, written so that loops over them become vector
//! instructions.
//!
//! There are no branches and no tables: a loop inside `pulp::Arch::dispatch` computes as many numbers at once
//! as the processor can. Each function is `#[inline(always)]` for that; outside of `dispatch` a fused
//! multiply-add may be a call of the C library, which is slow and gives the same bits.
//!
//! The polynomials are minimax fits by Remez's exchange, computed with 40 digits and rounded to f32; the
//! comment at each says what of, where, and the largest relative error in units of 2^-24. Stated errors of
//! functions are the largest found over all of f32, against f64; one ulp is the distance to the next f32.

/// 1.5 · 2^23: a number of at most 2^22 added to it is rounded to an integer, which its lowest bits then are.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2, of which `n * LN2_HIGH` is exact for the exponents n of f32, and the rest.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Beyond these e^x is infinite and 0.
const EXP_MAX: f32 = 89.0;
const EXP_MIN: f32 = -104.0;

/// Σ `coefficients[i]` x^i.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    let mut at = N - 1;
    while at > 0 {
        at -= 1;
        sum = sum.mul_add(x, coefficients[at]);
    }
    sum
}

/// 2^n for n from -126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// n and e^r - 1, where x = n ln 2 + r and |r| is at most ln 2 / 2.
#[inline(always)]
fn reduced(x: f32) -> (i32, f32) {
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let n = rounded - ROUNDING;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // (e^r - 1 - r) / r², so that e^r - 1 is off by 0.23.
    let rest = polynomial(r, [0.5, 0.166_665_42, 0.041_666_28, 0.008_366_644, 0.001_394_655_6]);
    let exponent = rounded.to_bits().wrapping_sub(ROUNDING.to_bits()) as i32;
    (exponent, (r * r).mul_add(rest, r))
}

/// e^x, within 1 ulp; numbers below f32's normal ones are right too.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Written so that what is not a number stays so.
    let x = if x > EXP_MAX { EXP_MAX } else { x };
    let x = if x < EXP_MIN { EXP_MIN } else { x };
    let (n, less_one) = reduced(x);
    // Twice half of it: 2^n itself may be no normal number.
    let half = n >> 1;
    (less_one + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// e^x - 1, within 2 ulp.
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    let bounded = if x > EXP_MAX { EXP_MAX } else { x };
    // Less gives -1 as well.
    let bounded = if bounded < -20.0 { -20.0 } else { bounded };
    let (n, less_one) = reduced(bounded);
    // Half of it, for 2^128 is no number.
    let scale = power_of_two(n.wrapping_sub(1));
    let result = less_one.mul_add(scale, scale - 0.5) * 2.0;
    // The sign of a zero, which the sum loses.
    if x == 0.0 { x } else { result }
}

/// The natural logarithm, within 1 ulp.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let is_small = x < f32::MIN_POSITIVE;
    let scaled = if is_small { x * 8_388_608.0 } else { x };
    // From sqrt(1/2) to sqrt(2), so that the logarithm of a number near 1 is not a difference of two others.
    let bits = scaled.to_bits().wrapping_sub(0x3f35_04f3);
    let n = (bits as i32 >> 23) as f32 - if is_small { 23.0 } else { 0.0 };
    let f = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    // (ln(1 + f) - f + f²/2) / f³, so that ln(1 + f) is off by 0.1.
    let rest = polynomial(
        f,
        [
            0.333_333_16,
            -0.250_008_1,
            0.200_022_86,
            -0.166_245_55,
            0.141_811_94,
            -0.131_287_53,
            0.128_816_35,
            -0.078_595_98,
        ],
    );
    let square = f * f;
    let low = n.mul_add(LN2_LOW, (square * f).mul_add(rest, -0.5 * square));
    let result = n.mul_add(LN2_HIGH, f + low);
    let result = if x == 0.0 { f32::NEG_INFINITY } else { result };
    let result = if x == f32::INFINITY { x } else { result };
    // Also for what is not a number.
    if x >= 0.0 { result } else { f32::NAN }
}

/// ln(1 + x), within 3 ulp.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    // What the sum lost of x, and what that makes of the logarithm: its derivative is 1 / sum.
    let lost = x - (sum - 1.0);
    let result = ln(sum) + lost / sum;
    let result = if x == f32::INFINITY || sum == 0.0 { ln(sum) } else { result };
    if x == 0.0 { x } else { result }
}

/// 1 / (1 + e^-x), within 2 ulp.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    // Of the negative one, whose power is at most 1: nothing overflows, and small answers keep their digits.
    let power = exp(-x.abs());
    let above = if x < 0.0 { power } else { 1.0 };
    above / (1.0 + power)
}

/// The hyperbolic tangent, within 2 ulp.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    // From here on it is 1.
    let size = if size > 9.1 { 9.1 } else { size };
    let power = exp_m1(2.0 * size);
    (power / (power + 2.0)).copysign(x)
}

/// The error function, within 2 ulp.
#[allow(clippy::approx_constant, reason = "a coefficient that was fitted, one ulp off 2 over the root of pi")]
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let size = x.abs();
    let size = if size > 4.0 { 4.0 } else { size };
    // erf(x) / x of x² up to 1, off by 0.03.
    let near = polynomial(
        x * x,
        [
            1.128_379_1,
            -0.376_126_26,
            0.112_835_854,
            -0.026_853_813,
            0.005_188_327_7,
            -0.000_801_019_4,
            7.853_863e-5,
        ],
    );
    // ln(1 - erf(x)) from 1 to 4, so that erf(x) is off by 0.02.
    let far = polynomial(
        size,
        [
            -0.000_353_740_73,
            -1.127_039_9,
            -0.638_225_8,
            -0.103_037_25,
            0.021_805_262,
            -0.002_939_593_7,
            0.000_185_572_66,
        ],
    );
    let far = (1.0 - exp(far)).copysign(x);
    if size > 1.0 { far } else { near * x }
}

/// ln(1 + e^x), within 3 ulp.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let above = if x < 0.0 { 0.0 } else { x };
    above + ln_1p(exp(-x.abs()))
}

#[cfg(test)]
mod tests {
    /// A number, its neighbour, its neighbour's, ...: how many there are between two of them.
    fn distance(a: f32, b: f32) -> u64 {
        let place = |x: f32| {
            let bits = i64::from(x.to_bits() & 0x7fff_ffff);
            if x.is_sign_negative() { -bits } else { bits }
        };
        if a.is_nan() && b.is_nan() { 0 } else { place(a).abs_diff(place(b)) }
    }

    fn farthest(ours: fn(f32) -> f32, exact: fn(f64) -> f64) -> (u64, f32) {
        // A step that shares no factor with the mantissas: all exponents, and mantissas of all kinds.
        let all = (0..=u32::MAX).step_by(40_009).map(f32::from_bits);
        let near = (-40_000..40_000).map(|at| at as f32 * 0.0025);
        all.chain(near)
            .map(|x| (distance(ours(x), exact(f64::from(x)) as f32), x))
            .max_by_key(|(distance, _)| *distance)
            .unwrap()
    }

    type Row = (&'static str, fn(f32) -> f32, fn(f64) -> f64, u64);

    const ALL: [Row; 8] = [
        ("exp", super::exp, f64::exp, 1),
        ("exp_m1", super::exp_m1, f64::exp_m1, 2),
        ("ln", super::ln, f64::ln, 1),
        ("ln_1p", super::ln_1p, f64::ln_1p, 3),
        ("sigmoid", super::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 2),
        ("tanh", super::tanh, f64::tanh, 2),
        ("erf", super::erf, libm::erf, 2),
        ("softplus", super::softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), 3),
    ];

    #[test]
    fn functions_are_within_their_stated_error() {
        for (name, ours, exact, expected) in ALL {
            let (found, x) = farthest(ours, exact);
            assert!(
                found <= expected,
                "{name} is off by {found} at {x:e}, {} of {}",
                ours(x),
                exact(f64::from(x))
            );
        }
    }

    #[test]
    fn special_values_are_exact() {
        let infinity = f32::INFINITY;
        for (name, ours, exact, _) in ALL {
            for x in [0.0, -0.0, infinity, -infinity, f32::NAN, f32::MAX, f32::MIN, 1e-40, -1e-40] {
                let expected = exact(f64::from(x)) as f32;
                let found = ours(x);
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(
                    same || distance(found, expected) <= 1 && found != 0.0,
                    "{name}({x}) is {found}, expected {expected}"
                );
            }
        }
        assert!(super::softplus(f32::NAN).is_nan());
    }
}
