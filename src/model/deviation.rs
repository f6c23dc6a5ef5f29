//! How far inputs are from those that a model was normalised with, in standard deviations: what is far in
//! every row was sent in another unit, or in another feature's place.

use std::fmt;

use super::info::ModelInfo;

/// How many standard deviations are far: no fault of a machine takes a feature so far in every row.
const FAR_DEVIATIONS: f32 = 10.0;
/// In how many of all rows that is every row.
const EVERY_ROW: f64 = 0.95;
/// The most rows whose median is kept; they stand for all others.
const ROWS_KEPT_MAX: usize = 65_536;
/// The most features that are named.
const NAMED_MAX: usize = 3;

/// Watches a model's inputs row by row.
#[derive(Debug, Clone)]
pub struct Deviations {
    info: ModelInfo,
    rows: u64,
    /// For each feature, in how many rows it was far.
    far: Vec<u64>,
    /// Of each row, the median of its features' deviations.
    medians: Vec<f32>,
    /// One row's, kept between calls.
    deviations: Vec<f32>,
}

impl Deviations {
    /// A watch over inputs of the model that `info` describes; nothing where that says no means and standard
    /// deviations.
    pub fn of(info: &ModelInfo) -> Option<Self> {
        let normalisation = info.normalisation.as_ref()?;
        (normalisation.mean.is_some() && normalisation.std.is_some()).then(|| Self {
            info: info.clone(),
            rows: 0,
            far: vec![0; info.inputs],
            medians: Vec::new(),
            deviations: Vec::new(),
        })
    }

    /// Takes the next row. One of another length tells nothing.
    pub fn see(&mut self, row: &[f32]) {
        let Some(normalisation) = &self.info.config.normalisation else { return };
        if row.len() != self.far.len() {
            return;
        }
        normalisation.deviations(row, &mut self.deviations);
        self.rows += 1;
        for (far, deviation) in self.far.iter_mut().zip(&self.deviations) {
            // What is not a number is far from everything.
            *far += u64::from(deviation.is_nan() || *deviation > FAR_DEVIATIONS);
        }
        if self.medians.len() < ROWS_KEPT_MAX {
            self.medians.push(median(&mut self.deviations));
        }
    }

    /// How many rows were taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Forgets all rows.
    pub fn restart(&mut self) {
        self.rows = 0;
        self.far.fill(0);
        self.medians.clear();
    }

    /// What is far in every row, if anything is.
    pub fn found(&self) -> Option<Far> {
        let least = (self.rows as f64 * EVERY_ROW).ceil();
        let is_far = |far: u64| self.rows > 0 && far as f64 >= least;
        let places = (0..self.far.len()).filter(|&at| is_far(self.far[at]));
        let name = |at: usize| match self.info.features.get(at) {
            Some(feature) => feature.name.clone(),
            None => format!("features[{at}]"),
        };
        let names: Vec<_> = places.map(name).collect();
        (!names.is_empty()).then(|| Far {
            model: self.info.name.clone(),
            features: self.far.len(),
            median: median(&mut self.medians.clone()),
            names,
        })
    }
}

/// Inputs that are far from those that a model was normalised with.
#[derive(Debug, Clone, PartialEq)]
pub struct Far {
    /// The model's name.
    pub model: String,
    /// The features that are far in every row.
    pub names: Vec<String>,
    /// How many features the model has.
    pub features: usize,
    /// How many standard deviations half of all features, in half of all rows, are off.
    pub median: f32,
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, names, features, median } = self;
        let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
        write!(
            f,
            "{} of {features} features ({}{more}) are more than {FAR_DEVIATIONS} standard deviations from what model {model:?} was \
             normalised with, in every row (the median is {median:.1}): swapped, or other units?",
            names.len(),
            names[..names.len().min(NAMED_MAX)].join(", ")
        )
    }
}

/// The middle of `values`, whose order it changes.
fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { f32::NAN } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use super::super::Normalisation;
    use super::*;

    fn watch(clip: Option<f32>) -> Deviations {
        let mut info = ModelInfo::new("axes", 2);
        let (mean, std) = (Some(vec![1.0, 100.0]), Some(vec![0.5, 10.0]));
        info.normalisation = Some(Normalisation { log: None, mean, std, clip });
        Deviations::of(&info).expect("it has means and deviations")
    }

    #[test]
    fn what_is_far_in_every_row_is_found_whatever_is_clipped() {
        for clip in [None, Some(3.0)] {
            let mut watch = watch(clip);
            (0..20).for_each(|_| watch.see(&[100.0, 1.0]));
            let far = watch.found().expect("they are swapped");
            assert_eq!((far.names.as_slice(), far.median), (&["features[0]".to_owned()][..], 198.0));
            assert!(far.to_string().contains("1 of 2 features (features[0]) are more than 10"), "{far}");
        }
    }

    #[test]
    fn what_is_far_now_and_then_is_the_machine_s() {
        let mut watch = watch(None);
        assert_eq!(watch.found(), None);
        (0..18).for_each(|_| watch.see(&[1.2, 90.0]));
        (0..2).for_each(|_| watch.see(&[500.0, 90.0]));
        watch.see(&[1.0]);
        assert_eq!(watch.found(), None);
        assert!(Deviations::of(&ModelInfo::new("plain", 2)).is_none());
    }
}
