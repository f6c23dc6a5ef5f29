//! Which detector suits the rows, where nobody says: the one that finds most of the faults that are put into
//! rows it has not learnt from, among those that keep to the budget on the same rows without faults.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::faults::Fault;
use super::normalise::Normalisation;
use super::plan::{Choice, Plan};
use super::rows::{DeviceRows, Rows};
use super::trained::{Progress, TrainingError, described};
use crate::detection::{Detection, Kind, Row, State, T2};
use crate::sensors::recorded::Fleet;

/// The part of each device's rows that comes first and is learnt from; faults come into the rest.
const LEARNT_PART: f64 = 0.6;
/// How many faults of each kind are put into all devices together.
const FAULTS_OF_A_KIND: usize = 40;
/// So many episodes without a fault may be more than the budget allows, before a candidate is set back.
const SPARE_EPISODES: f64 = 1.0;

/// What can be a detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate(pub Vec<Choice>);

/// How a candidate did.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The candidate.
    pub candidate: Candidate,
    /// Of each kind of fault, how many were found and how many there were.
    pub found: Vec<(Fault, usize, usize)>,
    /// Alarms in the same rows without faults.
    pub false_episodes: usize,
    /// How many the budget allows there.
    pub allowed: f64,
}

impl Tried {
    /// The mean share of faults that were found, each kind alike.
    pub fn share(&self) -> f64 {
        let shares = self.found.iter().map(|(_, found, all)| *found as f64 / (*all).max(1) as f64);
        shares.sum::<f64>() / self.found.len().max(1) as f64
    }

    /// Whether it keeps to the budget.
    pub fn keeps_budget(&self) -> bool {
        self.false_episodes as f64 <= self.allowed + SPARE_EPISODES
    }
}

/// The detectors that did best, and how all of them did, the best first.
pub fn choose(
    fleet: &Fleet,
    rows: &Rows,
    normalised: &Normalisation,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<Choice>, Vec<Tried>), TrainingError> {
    let candidates = candidates(rows);
    let of = candidates.len();
    let mut tried = Vec::new();
    for (done, candidate) in candidates.into_iter().enumerate() {
        progress(Progress { step: "trying detectors", done, of });
        // What the rows are not enough for cannot be chosen.
        if let Some(one) = attempt(candidate, fleet, rows, normalised, plan) {
            tried.push(one);
        }
    }
    tried.sort_by(|one, other| {
        (other.keeps_budget(), other.share())
            .partial_cmp(&(one.keeps_budget(), one.share()))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    match tried.first() {
        Some(best) if best.share() > 0.0 => Ok((best.candidate.0.clone(), tried)),
        _ => Err(TrainingError::NoneSuits),
    }
}

/// Each detector alone, and those together that see different things.
fn candidates(rows: &Rows) -> Vec<Candidate> {
    let alone = [Choice::Baseline, Choice::T2, Choice::Seasonal, Choice::Discord, Choice::Linear];
    let mut candidates: Vec<_> = alone.into_iter().map(|choice| Candidate(vec![choice])).collect();
    candidates.push(Candidate(vec![Choice::Baseline, Choice::Linear]));
    candidates.push(Candidate(vec![Choice::T2, Choice::Baseline]));
    if rows.features == 1 {
        candidates.push(Candidate(vec![Choice::Univariate]));
    }
    if rows.days().is_some_and(|days| days >= 2.0) {
        candidates.push(Candidate(vec![Choice::Seasonal, Choice::Linear]));
    }
    candidates
}

fn attempt(
    candidate: Candidate,
    fleet: &Fleet,
    rows: &Rows,
    normalised: &Normalisation,
    plan: &Plan,
) -> Option<Tried> {
    let mut settings = described(&candidate.0, rows, plan).ok()?;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut tried = Tried {
        candidate,
        found: Fault::ALL.iter().map(|fault| (*fault, 0, 0)).collect(),
        false_episodes: 0,
        allowed: 0.0,
    };
    let each = FAULTS_OF_A_KIND.div_ceil(rows.devices.len());
    for (device, recorded) in rows.devices.iter().zip(&fleet.devices) {
        let places = device.sound_places();
        let count = places.len();
        let learnt = (count as f64 * LEARNT_PART) as usize;
        settings.warm_up = (learnt as u64 / 2).clamp(1, 200);
        for one in &mut settings.detectors {
            if let Kind::T2 { rows, .. } = &mut one.kind {
                *rows = (*rows).min(learnt as u32 / 2).max(T2::WARM_UP_MIN);
            }
        }
        let detection = settings.build(rows.features, &mut Default::default()).ok()?;
        let mut trial =
            Trial { detection: &detection, rows, device, places, raw: &recorded.features, normalised };
        let mut block = vec![0; detection.words()];
        detection.begin(&mut block);
        for at in 0..learnt {
            trial.see(at, &mut block);
        }
        trial.clean(learnt, count, &block, plan, &mut tried);
        trial.faulty(learnt, count, &block, each, &mut rng, &mut tried);
    }
    Some(tried)
}

/// One device under trial.
struct Trial<'a> {
    detection: &'a Detection,
    rows: &'a Rows,
    device: &'a DeviceRows,
    /// Which of its rows take part.
    places: Vec<usize>,
    raw: &'a [f32],
    normalised: &'a Normalisation,
}

impl Trial<'_> {
    fn row(&self, at: usize) -> Row<'_> {
        let (features, at) = (self.rows.features, self.places[at]);
        Row {
            features: &self.device.normalised[at * features..(at + 1) * features],
            network: self.device.network.get(at).copied(),
            timestamp_us: self.device.timestamps_us[at],
        }
    }

    fn see(&mut self, at: usize, block: &mut [u64]) -> State {
        self.detection.see(&self.row(at), block).state
    }

    /// The rest of the rows as they are.
    fn clean(&mut self, from: usize, to: usize, block: &[u64], plan: &Plan, tried: &mut Tried) {
        let mut block = block.to_vec();
        let mut before = None;
        for at in from..to {
            let row = self.row(at);
            let elapsed = row.timestamp_us.zip(before).and_then(|(now, before): (i64, i64)| {
                u64::try_from(now.saturating_sub(before)).ok().map(std::time::Duration::from_micros)
            });
            before = row.timestamp_us.or(before);
            tried.allowed += plan.false_alarms.share(elapsed);
            tried.false_episodes += usize::from(self.detection.see(&row, &mut block).begins);
        }
    }

    /// The rest of the rows, with one fault each time.
    fn faulty(
        &mut self,
        from: usize,
        to: usize,
        block: &[u64],
        each: usize,
        rng: &mut ChaCha8Rng,
        tried: &mut Tried,
    ) {
        let features = self.rows.features;
        let changing: Vec<usize> =
            (0..features).filter(|feature| !self.normalised.constant[*feature]).collect();
        for (fault, found, all) in &mut tried.found {
            let length = fault.rows();
            if to < from + length + 1 {
                continue;
            }
            for _ in 0..each {
                let start = rng.random_range(from..to - length);
                let feature = changing[rng.random_range(0..changing.len())];
                let mut block = block.to_vec();
                // Up to the fault the device has gone on; the last of those rows are enough for what moves
                // on.
                for at in start.saturating_sub(200).max(from)..start {
                    self.see(at, &mut block);
                }
                let mut raw: Vec<f32> = self.places[start..start + length]
                    .iter()
                    .flat_map(|at| &self.raw[at * features..(at + 1) * features])
                    .copied()
                    .collect();
                let (centre, spread) = self.scale(feature);
                fault.inject(&mut raw, features, (feature, centre, spread), rng);
                let faulty = self.normalised.apply(&raw);
                let mut is_found = false;
                for (at, row) in faulty.chunks_exact(features).enumerate() {
                    let row = Row { features: row, ..self.row(start + at) };
                    is_found |= self.detection.see(&row, &mut block).begins;
                }
                *found += usize::from(is_found);
                *all += 1;
            }
        }
    }

    /// Centre and spread of a feature of this device in its own units.
    fn scale(&self, feature: usize) -> (f32, f32) {
        let mut values: Vec<f32> =
            self.places.iter().map(|at| self.raw[at * self.rows.features + feature]).collect();
        values.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
        // Half of the distance between the 16th and the 84th percentile of a normal distribution.
        let spread = (at(0.84) - at(0.16)) / 2.0;
        (at(0.5), if spread > 0.0 { spread } else { (at(1.0) - at(0.0)) / 4.0 })
    }
}
