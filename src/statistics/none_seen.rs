//! What can be said where nothing happened, or everything did: a bootstrap of equal samples would say that
//! it is certain.

/// How often something happens in a unit of time, at most, that was not seen once in `exposure` units: the
/// rule of three (J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?",
/// JAMA 249(13), 1983), which holds with a probability of 95 %. Infinite where nothing was looked at.
pub fn per_unit_at_most(exposure: f64) -> f64 {
    3.0 / exposure
}

/// How large a share is at least of which all of `cases` were seen: the lower end of the one-sided exact
/// interval (C. J. Clopper and E. S. Pearson, 1934) at 95 %. The share is at most 1 less this where none was.
pub fn share_at_least(cases: usize) -> f64 {
    if cases == 0 { 0.0 } else { 0.05_f64.powf(1.0 / cases as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_is_not_nothing_there() {
        assert_eq!(per_unit_at_most(30.0), 0.1);
        // R's binom.test(6, 6, alternative = "greater")$conf.int is 0.6069622 to 1.
        assert!((share_at_least(6) - 0.606_962_2).abs() < 1e-6);
        assert_eq!(share_at_least(0), 0.0);
    }
}
