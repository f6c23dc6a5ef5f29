//! Why a connection to a broker elsewhere could not be made, or has ended: in words, and counted by its kind.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Nobody can be connected to there.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// The broker did not accept the connection in time.
    NoAnswer,
    /// The broker refused the connection.
    Refused,
    /// The broker ended the connection, and said so.
    Disconnected,
    /// The connection was closed or reset.
    Lost,
    /// The broker did not answer a ping in time.
    Silent,
    /// What the broker sent is against the standard.
    Protocol,
    /// The broker refused a subscription.
    SubscriptionRefused,
    /// Answers were lost, and the connection was made anew to fetch their requests again.
    AnswersLost,
}

impl Trouble {
    /// Every kind of trouble, in the order of its counters.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Tls,
        Self::NoAnswer,
        Self::Refused,
        Self::Disconnected,
        Self::Lost,
        Self::Silent,
        Self::Protocol,
        Self::SubscriptionRefused,
        Self::AnswersLost,
    ];

    /// The name of the trouble in metrics.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// The trouble in words, as docs/metrics.md says it.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Unreachable => ("unreachable", "nobody can be connected to there"),
            Self::Tls => ("tls_failed", "the TLS handshake failed"),
            Self::NoAnswer => ("no_answer", "the broker did not accept the connection in time"),
            Self::Refused => ("refused", "the broker refused the connection"),
            Self::Disconnected => ("disconnected", "the broker ended the connection, and said so"),
            Self::Lost => ("lost", "the connection was closed or reset"),
            Self::Silent => ("silent", "the broker did not answer a ping in time"),
            Self::Protocol => ("protocol_error", "what the broker sent is against the standard"),
            Self::SubscriptionRefused => ("subscription_refused", "the broker refused a subscription"),
            Self::AnswersLost => (
                "answers_lost",
                "answers were lost, and the connection was made anew to fetch their requests again",
            ),
        }
    }

    /// A failure of this kind, with its reason in words.
    pub(crate) fn because(self, reason: impl Into<String>) -> Failure {
        Failure { trouble: self, reason: reason.into() }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub struct Failure {
    pub trouble: Trouble,
    /// The trouble in words, with what is known of this one.
    pub reason: String,
}

impl Failure {
    /// What the broker sent cannot be read.
    pub fn unreadable(reason: String) -> Self {
        Trouble::Protocol.because(reason)
    }
}

/// How often connections could not be made or have ended, by the kind of trouble.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures([u64; Trouble::ALL.len()]);

impl Failures {
    /// How often connections failed by this kind of trouble.
    pub fn of(&self, trouble: Trouble) -> u64 {
        self.0[trouble as usize]
    }

    /// Each kind's name, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Trouble::ALL.into_iter().map(|trouble| (trouble.name(), self.of(trouble)))
    }
}

/// Counts failures of connections by the kind of trouble, from any thread.
#[derive(Default)]
pub struct FailureCounters([AtomicU64; Trouble::ALL.len()]);

impl FailureCounters {
    pub fn count(&self, trouble: Trouble) {
        self.0[trouble as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> Failures {
        Failures(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Trouble::ALL.iter().map(|trouble| trouble.name()).collect();
        assert_eq!(names.len(), Trouble::ALL.len());
        let counters = FailureCounters::default();
        for (index, trouble) in Trouble::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counters.count(trouble));
        }
        let counts: Vec<_> = counters.snapshot().iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Trouble::ALL.len() as u64).collect::<Vec<_>>());
    }
}
