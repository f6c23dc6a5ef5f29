//! A factor and a summand that weights and a bias may take over from what comes after them.

/// What a number is multiplied with, and what is added then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub factor: f64,
    pub summand: f64,
}

impl Line {
    pub fn is_finite(self) -> bool {
        self.factor.is_finite() && self.summand.is_finite()
    }

    /// A weight that takes over the factor; `None` where float32 has no room for it, or not all of its
    /// digits.
    pub fn weight(self, weight: f32) -> Option<f32> {
        let scaled = (f64::from(weight) * self.factor) as f32;
        let is_zero = self.factor == 0.0 && weight.is_finite() || weight == 0.0;
        (is_zero || scaled.is_normal()).then_some(scaled)
    }

    /// A bias that takes over both; `None` where float32 has no room for it.
    pub fn bias(self, bias: f32) -> Option<f32> {
        let moved = (f64::from(bias) * self.factor + self.summand) as f32;
        moved.is_finite().then_some(moved)
    }
}
