//! How a trial gets on, for whoever watches.

/// Hears how a trial gets on; whoever needs nothing of that gives `()`.
pub trait Progress {
    /// Something to know that is no fault, in a sentence.
    fn say(&mut self, _sentence: &str) {}

    /// A part of the trial begins.
    fn begin(&mut self, _part: &Part) {}

    /// One more request of the part has its answer.
    fn answered(&mut self) {}

    /// The part is over, whether or not it succeeded.
    fn end(&mut self) {}
}

impl Progress for () {}

/// A part of a trial: one repeat, or the measurement of the way through client and broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What it is, in words, such as `repeat 1 of 3: 2400 requests`.
    pub what: String,
    /// How many requests have an answer at the end if none is lost.
    pub requests: usize,
    /// Whether it takes as long as it says. A part on a simulated clock is over soon,
    /// and its answers are not told one by one.
    pub is_real: bool,
}
