//! Intervals for figures of things that are in clusters: rows of devices, events of files.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bootstrap::{Bootstrap, Interval};

/// The most clusters that are drawn for one interval: with many clusters there are fewer resamples.
const DRAWN_MAX: usize = 4_000_000;
/// So many resamples are drawn all the same, unless fewer were asked for.
const RESAMPLES_MIN: usize = 200;

impl Bootstrap {
    /// An interval for a figure of `clusters` clusters: whole clusters are drawn anew and the figure is made
    /// of those, because rows of one device are no independent samples (the cluster bootstrap; A. C. Davison
    /// and D. V. Hinkley, "Bootstrap Methods and their Application", 1997, 3.8). The percentile interval.
    ///
    /// `figure` is given the numbers of the clusters that were drawn, some of them several times, and says
    /// nothing where they have no figure; such resamples are left out. Nothing with fewer than two clusters,
    /// or when more than half of the resamples have no figure. The same seed draws the same clusters for
    /// every figure, so that figures can be compared.
    pub fn of_clusters(&self, clusters: usize, figure: impl Fn(&[usize]) -> Option<f64>) -> Option<Interval> {
        if clusters < 2 {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let resamples = self.resamples.min((DRAWN_MAX / clusters).max(RESAMPLES_MIN));
        let mut drawn = vec![0; clusters];
        let mut figures = Vec::with_capacity(resamples);
        for _ in 0..resamples {
            drawn.fill_with(|| rng.random_range(0..clusters));
            figures.extend(figure(&drawn).filter(|figure| !figure.is_nan()));
        }
        figures.sort_unstable_by(f64::total_cmp);
        (figures.len() * 2 > resamples).then(|| self.middle(&figures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_drawn_whole() {
        // Ten clusters whose ten members are all alike tell as much as ten samples: the standard error of the
        // mean of 0 to 9 is 2.87 / sqrt(10) = 0.91.
        let mean =
            |drawn: &[usize]| Some(drawn.iter().map(|at| *at as f64).sum::<f64>() / drawn.len() as f64);
        let interval = Bootstrap::default().of_clusters(10, mean).unwrap();
        assert!((interval.low - (4.5 - 1.78)).abs() < 0.15, "{interval:?}");
        assert!((interval.high - (4.5 + 1.78)).abs() < 0.15, "{interval:?}");
        assert_eq!(Bootstrap::default().of_clusters(10, mean), Some(interval));
    }

    #[test]
    fn one_cluster_has_no_interval_nor_has_a_figure_that_seldom_exists() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.of_clusters(1, |_| Some(1.0)), None);
        // A resample of 5 holds the first with a probability of 0.67, and it alone with one of 0.0003.
        assert!(bootstrap.of_clusters(5, |drawn| drawn.contains(&0).then_some(1.0)).is_some());
        assert_eq!(bootstrap.of_clusters(5, |drawn| drawn.iter().all(|at| *at == 0).then_some(1.0)), None);
    }
}
