//! What networks say of groups that they have not seen: when to stop, the threshold, and how good it is.

use super::fit::{Course, Fit};
use super::folds::Folds;
use super::{Group, Kind, Label, TrainingError};
use crate::statistics::roc_auc;

/// To choose an epoch, of each group at most so many rows are scored, evenly spaced.
const ROWS_COMPARED_MAX: usize = 1_024;
/// So many neighbours on each side an epoch's figure is averaged with: one epoch alone is luck.
const NEIGHBOURS: usize = 1;
/// An autoencoder's threshold is this quantile of the errors of healthy rows that were held back.
const HEALTHY_QUANTILE: f64 = 0.999;
/// How many scales the threshold is above the median error: a probability of 2 % there.
const SCALES: f32 = 4.0;
/// At how many values a threshold is tried.
const THRESHOLDS: usize = 512;

/// What networks say of groups that they have not seen.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// Whether whole groups were held back, or else pieces of time.
    pub by_group: bool,
    /// How many networks were trained for it.
    pub folds: usize,
    /// After how many epochs the others did best.
    pub epochs: usize,
    /// By which figure: the mean ROC AUC within groups, or the mean error with its sign turned; one an epoch.
    pub figures: Vec<f64>,
    /// Each group's figures.
    pub groups: Vec<HeldBackGroup>,
}

/// The figures of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBackGroup {
    /// The score of each row, by a network that has not seen it.
    pub scores: Vec<f32>,
    /// How probable it is that a failing row scores higher than a healthy one.
    pub roc_auc: Option<f64>,
    /// How probable it is that a healthy row of the later half scores higher than one of the earlier: 0.5 is
    /// ideal, and next to 1 the ROC AUC may be worth no more than a row's number.
    pub drift_auc: Option<f64>,
    labels: Vec<Label>,
}

impl HeldBack {
    /// Judges the networks that were trained without a fold, and says after how many epochs they did best.
    pub fn judge(
        fit: &Fit<'_>,
        groups: &[Group<'_>],
        rows: &[Vec<f32>],
        folds: &Folds<'_>,
        networks: &[Course],
    ) -> Result<(Self, usize), TrainingError> {
        let labels: Vec<Vec<Label>> = groups
            .iter()
            .zip(rows)
            .map(|(group, rows)| match group.labels {
                [] => vec![Label::Healthy; rows.len() / fit.inputs],
                labels => labels.to_vec(),
            })
            .collect();
        let score = |epoch: usize, step_rows: usize| -> Result<Vec<Vec<f32>>, TrainingError> {
            let mut scores: Vec<_> = labels.iter().map(|labels| vec![f32::NAN; labels.len()]).collect();
            for (at, rows) in rows.iter().enumerate() {
                let step = labels[at].len().div_ceil(step_rows).max(1);
                for (fold, network) in networks.iter().enumerate() {
                    let places: Vec<u32> = folds.held_back(at, fold).into_iter().step_by(step).collect();
                    let its = fit.scores(&network.epochs[epoch], rows, &places)?;
                    places.iter().zip(its).for_each(|(place, score)| scores[at][*place as usize] = score);
                }
            }
            Ok(scores)
        };
        let epochs = networks.first().map_or(0, |network| network.epochs.len());
        let figures: Vec<f64> = (0..epochs)
            .map(|epoch| Ok(figure(fit.kind, &score(epoch, ROWS_COMPARED_MAX)?, &labels)))
            .collect::<Result<_, TrainingError>>()?;
        let best = best_of(&figures);
        let scores = score(best, usize::MAX)?;
        let groups = scores.into_iter().zip(labels).map(|(scores, labels)| HeldBackGroup::of(scores, labels));
        let groups = groups.collect();
        let (by_group, folds) = (folds.by_group, folds.len());
        Ok((Self { by_group, folds, epochs: best + 1, figures, groups }, best + 1))
    }

    /// The threshold that served the held-back groups best, and its scale.
    pub fn threshold(&self, kind: Kind) -> (f32, f32) {
        let healthy: Vec<Vec<f32>> = self.groups.iter().map(|group| group.sorted(Label::Healthy)).collect();
        if kind == Kind::Classifier {
            let failing: Vec<_> = self.groups.iter().map(|group| group.sorted(Label::Failing)).collect();
            return (youden(&healthy, &failing), 1.0);
        }
        let mean = |share: f64| {
            let with = healthy.iter().filter(|scores| !scores.is_empty());
            let quantiles: Vec<f32> =
                with.map(|scores| scores[((scores.len() - 1) as f64 * share).round() as usize]).collect();
            quantiles.iter().sum::<f32>() / quantiles.len().max(1) as f32
        };
        let (threshold, median) = (mean(HEALTHY_QUANTILE), mean(0.5));
        (threshold, ((threshold - median) / SCALES).max(threshold.abs().max(1e-6) * 1e-3))
    }
}

impl HeldBackGroup {
    fn of(scores: Vec<f32>, labels: Vec<Label>) -> Self {
        let healthy: Vec<f64> = rows_of(&scores, &labels, Label::Healthy);
        let (early, late) = healthy.split_at(healthy.len() / 2);
        let drift_auc = auc(early, late);
        let roc_auc = auc(&healthy, &rows_of(&scores, &labels, Label::Failing));
        Self { scores, roc_auc, drift_auc, labels }
    }

    /// The share of rows with this label that score `threshold` or more.
    pub fn share_at(&self, label: Label, threshold: f32) -> Option<f64> {
        let rows = self.sorted(label);
        let below = rows.partition_point(|score| *score < threshold);
        (!rows.is_empty()).then(|| (rows.len() - below) as f64 / rows.len() as f64)
    }

    fn sorted(&self, label: Label) -> Vec<f32> {
        let its =
            self.scores.iter().zip(&self.labels).filter(|(score, its)| **its == label && !score.is_nan());
        let mut sorted: Vec<f32> = its.map(|(score, _)| *score).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        sorted
    }
}

fn rows_of(scores: &[f32], labels: &[Label], label: Label) -> Vec<f64> {
    let its = scores.iter().zip(labels).filter(|(score, its)| **its == label && !score.is_nan());
    its.map(|(score, _)| f64::from(*score)).collect()
}

fn auc(others: &[f64], anomalies: &[f64]) -> Option<f64> {
    let others = others.iter().map(|score| (*score, false));
    roc_auc(&others.chain(anomalies.iter().map(|score| (*score, true))).collect::<Vec<_>>())
}

/// How good scores are: higher is better.
fn figure(kind: Kind, scores: &[Vec<f32>], labels: &[Vec<Label>]) -> f64 {
    let each = |label| scores.iter().zip(labels).map(move |(scores, labels)| rows_of(scores, labels, label));
    let mean = |figures: Vec<f64>| figures.iter().sum::<f64>() / figures.len().max(1) as f64;
    if kind == Kind::Autoencoder {
        let errors = each(Label::Healthy).filter(|rows| !rows.is_empty());
        return -mean(errors.map(mean).collect());
    }
    let within: Vec<f64> = each(Label::Healthy)
        .zip(each(Label::Failing))
        .filter_map(|(healthy, failing)| auc(&healthy, &failing))
        .collect();
    if within.is_empty() {
        // Devices that failed and others that did not: all that can be asked is whether they are told apart.
        let (healthy, failing): (Vec<_>, Vec<_>) =
            (each(Label::Healthy).collect(), each(Label::Failing).collect());
        return auc(&healthy.concat(), &failing.concat()).unwrap_or(0.5);
    }
    mean(within)
}

/// The place of the best figure among those averaged with their neighbours, the first of equals.
fn best_of(figures: &[f64]) -> usize {
    let smooth = |at: usize| {
        let around = &figures[at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS + 1).min(figures.len())];
        around.iter().sum::<f64>() / around.len() as f64
    };
    (0..figures.len()).fold(0, |best, at| if smooth(at) > smooth(best) { at } else { best })
}

/// Where W. J. Youden's J is largest ("Index for rating diagnostic tests", Cancer 3, 1950): the mean share of
/// failing rows at or above, less that of healthy rows, all groups weighing the same. In the middle, where
/// several thresholds are as good.
fn youden(healthy: &[Vec<f32>], failing: &[Vec<f32>]) -> f32 {
    let mut all: Vec<f32> = healthy.iter().chain(failing).flatten().copied().collect();
    all.sort_unstable_by(f32::total_cmp);
    let share = |groups: &[Vec<f32>], threshold: f32| {
        let with: Vec<_> = groups.iter().filter(|scores| !scores.is_empty()).collect();
        let above = |scores: &&Vec<f32>| {
            1.0 - scores.partition_point(|score| *score < threshold) as f64 / scores.len() as f64
        };
        with.iter().map(above).sum::<f64>() / with.len().max(1) as f64
    };
    let last = all.len().saturating_sub(1);
    let tried: Vec<f32> =
        (0..=THRESHOLDS).filter_map(|at| all.get(at * last / THRESHOLDS).copied()).collect();
    let figures: Vec<f64> = tried.iter().map(|at| share(failing, *at) - share(healthy, *at)).collect();
    let best = figures.iter().copied().fold(f64::MIN, f64::max);
    let as_good = |figure: &f64| *figure >= best - 1e-9;
    let (Some(first), Some(last)) = (figures.iter().position(as_good), figures.iter().rposition(as_good))
    else {
        return 0.0;
    };
    (tried[first] + tried[last]) / 2.0
}
