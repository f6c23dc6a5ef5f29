//! The way of a row through the stages, and what is said of it.

use serde::Serialize;

use super::CONTRIBUTIONS;
use super::block::Word;
use super::controller::Controller;
use super::detect::{Detect, Row};
use super::episode::{Course, EpisodeRule};
use super::fusion::{Fused, Fusion};
use super::head::Head;
use super::seen::{Seen, State};
use super::tail::Tail;

/// How many detectors there may be.
pub const DETECTORS_MAX: usize = 8;
/// Contributions are named of rows of at most so many features.
pub const FEATURES_NAMED_MAX: usize = 512;
/// In the first of so many parts of the warm-up, detectors have seen so little that their scores say nothing
/// of those that come: the tails do not learn from them.
const UNRIPE: u64 = 4;
/// Features are named that contributed to rows from this share of the threshold on: what is further from an
/// alarm needs no reasons.
const NAMED_FROM: f64 = 0.5;

/// What a detection is made of.
pub struct Parts {
    /// The detectors, each with the tail of its scores; at most [`DETECTORS_MAX`].
    pub detectors: Vec<(Box<dyn Detect>, Tail)>,
    /// How they become one, where they are several.
    pub fusion: Fusion,
    /// So many rows of a device are learnt from before anything is said of it.
    pub warm_up: u64,
    /// From where on a row counts.
    pub controller: Controller,
    /// Whether the budget is one for all devices together, or else each device's own.
    pub is_together: bool,
    /// When that is an alarm.
    pub episode: EpisodeRule,
    /// How a machine is told that stands still; `None` where rows come only from one that runs.
    pub running: Option<Running>,
    /// After so many rows in a row that taught nothing, because of an alarm or because they counted, the
    /// device learns again from whatever comes: the new level becomes what is normal, and the alarm ends by
    /// itself. 0 for never, as suits machines that wear: what fails stays in alarm until somebody comes.
    pub adopt_after: u32,
}

/// A machine runs where this feature is above this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Running {
    /// The feature's place in the row.
    pub feature: usize,
    /// In its units after the model's normalisation.
    pub above: f32,
}

/// Detectors with all that comes after them.
pub struct Detection {
    parts: Parts,
    words: usize,
}

impl Detection {
    /// # Panics
    /// For more than [`DETECTORS_MAX`] detectors, which whoever reads settings refuses.
    pub fn new(parts: Parts) -> Self {
        assert!(parts.detectors.len() <= DETECTORS_MAX, "more than {DETECTORS_MAX} detectors");
        let detectors: usize = parts.detectors.iter().map(|(one, tail)| one.words() + tail.words()).sum();
        let words = Head::WORDS + detectors + parts.controller.words() + parts.episode.words();
        Self { parts, words }
    }

    /// How many words are kept of a device.
    pub fn words(&self) -> usize {
        self.words
    }

    /// What it is made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The state of a device of which nothing was seen; `block` is [`words`](Self::words) long.
    pub fn begin(&self, block: &mut [Word]) {
        self.parts.controller.begin(self.split(block).control);
        self.relearn(block);
    }

    /// Makes the device learn from the beginning: what it may cost in alarms is remembered, all else is not.
    pub fn relearn(&self, block: &mut [Word]) {
        let Blocks { head, course, mut rest, .. } = self.split(block);
        head.fill(0);
        course.fill(0);
        rest.fill(0);
        for (detector, tail) in &self.parts.detectors {
            let (own, behind) = rest.split_at_mut(detector.words());
            detector.begin(own);
            rest = &mut behind[tail.words()..];
        }
    }

    /// Takes the next row of the device whose state `block` is; its budget is its own.
    pub fn see(&self, row: &Row<'_>, block: &mut [Word]) -> Seen {
        self.take(row, block, None)
    }

    /// What devices have in common whose budget is one for all together, at the beginning; `None` where each
    /// has its own.
    pub fn common(&self) -> Option<Vec<Word>> {
        self.parts.is_together.then(|| {
            let mut common = vec![0; Head::WORDS + self.parts.controller.words()];
            self.parts.controller.begin(&mut common[Head::WORDS..]);
            common
        })
    }

    /// Takes the next row of a device whose budget is one with all others', in the order of their rows: an
    /// episode of one leaves less for the rest. Time is that of whichever clock is ahead.
    pub fn see_together(&self, row: &Row<'_>, block: &mut [Word], common: &mut [Word]) -> Seen {
        self.take(row, block, Some(common))
    }

    fn take(&self, row: &Row<'_>, block: &mut [Word], common: Option<&mut [Word]>) -> Seen {
        let Parts { detectors, warm_up, controller, episode, adopt_after, .. } = &self.parts;
        let Blocks { head, control, course, rest } = self.split(block);
        if !self.is_running(row) {
            return Seen { state: State::Stopped, ..Seen::default() };
        }
        let mut head = Head(head);
        let elapsed = head.advance(row.timestamp_us);
        let (control, share) = match common {
            None => (control, controller.budget.share(elapsed)),
            Some(common) => {
                let (head, control) = common.split_at_mut(Head::WORDS);
                (control, controller.budget.share(Head(head).advance(row.timestamp_us)))
            }
        };
        controller.fill(share, control);
        let learnt = head.learnt();
        let mut surprisals = [f64::NAN; DETECTORS_MAX];
        let mut scores = [f32::NAN; DETECTORS_MAX];
        let fused = self.score(row, &mut *rest, &mut scores, &mut surprisals);
        let mut seen = Seen::default();
        let mut lesson = Lesson::All;
        if let (true, Some(rarity)) = (learnt >= *warm_up, fused.rarity()) {
            let (surprisal, threshold) =
                (rarity.surprisal, controller.threshold(episode.is_on(course), control));
            let may_begin = controller.allows(control);
            let Course { is_on, begins } = episode.see(surprisal, threshold, elapsed, may_begin, course);
            controller.judged(share, begins, control);
            let counts = surprisal >= threshold;
            let adopts = *adopt_after > 0 && head.untaught() >= *adopt_after;
            lesson = match is_on || counts {
                true if adopts => Lesson::All,
                // An alarm's first row stands for all of it: else what the tail knows would end here.
                true if begins || !is_on => Lesson::Censored,
                true => Lesson::Nothing,
                false => Lesson::All,
            };
            head.was_taught(!(is_on || counts));
            seen = Seen {
                score: if threshold.is_finite() { (surprisal / (surprisal + threshold)) as f32 } else { 0.0 },
                tail_probability: (-surprisal as f32).exp(),
                surprisal: surprisal as f32,
                is_extrapolated: rarity.is_extrapolated,
                threshold: (-threshold as f32).exp(),
                state: if is_on { State::Alarm } else { State::Normal },
                begins,
                contributions: Default::default(),
            };
            if is_on || surprisal >= NAMED_FROM * threshold {
                seen.contributions = self.contributions(row, &mut *rest, &fused, &surprisals);
            }
        }
        let is_ripe = learnt >= warm_up / UNRIPE;
        let mut behind = rest;
        for ((detector, tail), score) in detectors.iter().zip(scores) {
            let (own, after) = behind.split_at_mut(detector.words());
            let (its_tail, after) = after.split_at_mut(tail.words());
            behind = after;
            match lesson {
                Lesson::All => {
                    detector.learn(row, own);
                    if is_ripe {
                        tail.learn(score, its_tail);
                    }
                }
                Lesson::Censored => tail.learn_censored(score, its_tail),
                Lesson::Nothing => {}
            }
        }
        if lesson == Lesson::All {
            head.learns();
        }
        seen
    }

    fn is_running(&self, row: &Row<'_>) -> bool {
        let is_above = |running: &Running| {
            row.features.get(running.feature).is_some_and(|feature| *feature > running.above)
        };
        row.features.iter().all(|feature| feature.is_finite())
            && self.parts.running.as_ref().is_none_or(is_above)
    }

    /// Lets each detector score the row, and puts the rarities together; what has not seen enough stays
    /// not a number.
    fn score(
        &self,
        row: &Row<'_>,
        mut rest: &mut [Word],
        scores: &mut [f32; DETECTORS_MAX],
        surprisals: &mut [f64; DETECTORS_MAX],
    ) -> Fused {
        let mut fused = Fused::new(self.parts.fusion);
        for (at, (detector, tail)) in self.parts.detectors.iter().enumerate() {
            let (own, behind) = rest.split_at_mut(detector.words());
            let (its_tail, behind) = behind.split_at_mut(tail.words());
            rest = behind;
            let Some(score) = detector.score(row, own) else { continue };
            scores[at] = score;
            if let Some(mut rarity) = tail.rarity(score, its_tail) {
                if tail.surprisal_max > 0.0 {
                    rarity.surprisal = rarity.surprisal.min(tail.surprisal_max);
                }
                surprisals[at] = rarity.surprisal;
                fused.take(rarity);
            }
        }
        fused
    }

    /// The features with the largest shares in the score of a row, over all detectors that took part. Not
    /// inlined: its room on the stack is not for each row.
    #[inline(never)]
    fn contributions(
        &self,
        row: &Row<'_>,
        mut rest: &mut [Word],
        fused: &Fused,
        surprisals: &[f64; DETECTORS_MAX],
    ) -> [(u16, f32); CONTRIBUTIONS] {
        let mut largest = [(0, 0.0); CONTRIBUTIONS];
        let features = row.features.len();
        if features > FEATURES_NAMED_MAX {
            return largest;
        }
        let (mut sums, mut ones) = ([0f32; FEATURES_NAMED_MAX], [0f32; FEATURES_NAMED_MAX]);
        let (sums, ones) = (&mut sums[..features], &mut ones[..features]);
        for ((detector, tail), surprisal) in self.parts.detectors.iter().zip(surprisals) {
            let (own, behind) = rest.split_at_mut(detector.words());
            rest = &mut behind[tail.words()..];
            let weight = if surprisal.is_nan() { 0.0 } else { fused.share(*surprisal) as f32 };
            if weight == 0.0 {
                continue;
            }
            ones.fill(0.0);
            detector.contributions(row, own, ones);
            let total: f32 = ones.iter().sum();
            if total > 0.0 && total.is_finite() {
                sums.iter_mut().zip(&*ones).for_each(|(sum, one)| *sum += weight * one / total);
            }
        }
        let total: f32 = sums.iter().sum();
        if total > 0.0 {
            for (feature, sum) in sums.iter().enumerate() {
                let at = largest.partition_point(|(_, share)| *share >= sum / total);
                if at < CONTRIBUTIONS {
                    largest.copy_within(at..CONTRIBUTIONS - 1, at + 1);
                    largest[at] = (feature as u16, sum / total);
                }
            }
        }
        largest
    }

    fn split<'a>(&self, block: &'a mut [Word]) -> Blocks<'a> {
        let (head, rest) = block.split_at_mut(Head::WORDS);
        let (control, rest) = rest.split_at_mut(self.parts.controller.words());
        let (course, rest) = rest.split_at_mut(self.parts.episode.words());
        Blocks { head, control, course, rest }
    }
}

/// The parts of a device's block.
struct Blocks<'a> {
    head: &'a mut [Word],
    control: &'a mut [Word],
    course: &'a mut [Word],
    rest: &'a mut [Word],
}

/// What is learnt from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lesson {
    All,
    /// Only that something as rare as this occurs.
    Censored,
    Nothing,
}

#[cfg(test)]
#[path = "pipeline/tests.rs"]
mod tests;
