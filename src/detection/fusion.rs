//! How the rarities of several detectors become one: in logarithms, where nothing underflows.

use serde::Serialize;

use super::tail::{Rarity, SURPRISAL_MAX};

/// How the rarities of several detectors become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// The rarest decides (Z. Šidák, "Rectangular confidence regions for the means of multivariate normal
    /// distributions", JASA 62, 1967): whichever finds it. Detectors that agree make it cautious.
    Any,
    /// All together (R. A. Fisher's combined probability test, "Statistical Methods for Research Workers",
    /// 1932). Exact for detectors that know nothing of each other; ones that agree make it too sure, which
    /// the controller's offset takes back.
    #[default]
    Mean,
}

impl Fusion {
    /// Each with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("any", Self::Any), ("mean", Self::Mean)];
}

/// Rarities on their way to one.
#[derive(Debug, Clone, Copy)]
pub struct Fused {
    fusion: Fusion,
    sum: f64,
    most: f64,
    count: u32,
    is_extrapolated: bool,
}

impl Fused {
    pub fn new(fusion: Fusion) -> Self {
        Self { fusion, sum: 0.0, most: 0.0, count: 0, is_extrapolated: false }
    }

    pub fn take(&mut self, rarity: Rarity) {
        self.sum += rarity.surprisal;
        self.most = self.most.max(rarity.surprisal);
        self.count += 1;
        self.is_extrapolated |= rarity.is_extrapolated;
    }

    /// What came out; `None` of nothing.
    pub fn rarity(&self) -> Option<Rarity> {
        let surprisal = match (self.count, self.fusion) {
            (0, _) => return None,
            (1, _) => self.sum,
            // 1 - (1 - p)^n.
            (count, Fusion::Any) => {
                let log_of_none = f64::from(count) * ln_of_one_less(self.most);
                if log_of_none > -1e-12 {
                    self.most - f64::from(count).ln()
                } else {
                    -(-log_of_none.exp_m1()).ln()
                }
            }
            // Twice the sum has the chi-squared distribution of 2 n degrees of freedom, whose tail is
            // exp(-sum) times the first n terms of the series of exp(sum).
            (count, Fusion::Mean) => {
                let (mut term, mut series) = (1.0, 1.0);
                for k in 1..count {
                    term *= self.sum / f64::from(k);
                    series += term;
                }
                self.sum - f64::ln(series)
            }
        };
        Some(Rarity { surprisal: surprisal.clamp(0.0, SURPRISAL_MAX), is_extrapolated: self.is_extrapolated })
    }

    /// By how much a detector of this surprisal took part.
    pub fn share(&self, surprisal: f64) -> f64 {
        match self.fusion {
            Fusion::Any if surprisal < self.most => 0.0,
            _ => surprisal,
        }
    }
}

/// `ln(1 - p)` for `p = exp(-surprisal)`.
fn ln_of_one_less(surprisal: f64) -> f64 {
    if surprisal > 0.7 { (-(-surprisal).exp()).ln_1p() } else { (-(-surprisal).exp_m1()).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fused(fusion: Fusion, surprisals: &[f64]) -> f64 {
        let mut fused = Fused::new(fusion);
        surprisals.iter().for_each(|one| fused.take(Rarity { surprisal: *one, is_extrapolated: false }));
        fused.rarity().unwrap().surprisal
    }

    #[test]
    fn all_together_is_the_chi_squared_tail() {
        // By mpmath, in 60 digits.
        for (surprisals, expected) in [
            (&[3.0, 4.0][..], 4.920_558_458_320_164),
            (&[0.1, 0.2, 0.3], 0.023_386_635_696_006_22),
            (&[20.0, 30.0, 50.0, 1.0, 2.0], 87.599_928_468_970_8),
            (&[300.0, 300.0], 593.601_405_065_464_8),
        ] {
            let found = fused(Fusion::Mean, surprisals);
            assert!(
                (found - expected).abs() <= 1e-12 * expected.max(1.0),
                "{surprisals:?}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn the_rarest_of_several_is_corrected_for_their_number() {
        for (surprisals, expected) in [
            (&[3.0, 1.0][..], 2.332_061_437_676_974),
            (&[1e-3, 1e-4, 0.0], 9.985_012_497_488_606e-10),
            (&[100.0, 1.0, 2.0, 3.0], 98.613_705_638_880_1),
        ] {
            let found = fused(Fusion::Any, surprisals);
            assert!(
                (found - expected).abs() <= 1e-12 * expected.max(1.0),
                "{surprisals:?}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn one_is_what_it_is_and_none_is_nothing() {
        for fusion in [Fusion::Any, Fusion::Mean] {
            assert_eq!(fused(fusion, &[2.5]), 2.5);
            assert!(Fused::new(fusion).rarity().is_none());
            assert_eq!(fused(fusion, &[0.0, 0.0]), 0.0);
            assert_eq!(
                fused(fusion, &[700.0; 8]),
                if fusion == Fusion::Any { 700.0 - 8f64.ln() } else { 700.0 }
            );
        }
    }
}
