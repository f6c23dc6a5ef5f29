//! What was asked over HTTP and not answered: counted by the reason.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

/// Why something was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No more connections may be open, and this was the oldest of the address with most.
    ConnectionsMax,
    /// The request's line and headers were too large.
    TooLarge,
    /// What was said is no HTTP.
    NotHttp,
    /// The headers did not come in time, or not all of the answer was taken.
    Timeout,
    /// There is nothing at that path.
    NotFound,
    /// Something else than reading was wanted.
    Method,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::ConnectionsMax, Self::TooLarge, Self::NotHttp, Self::Timeout, Self::NotFound, Self::Method];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ConnectionsMax => (
                "connections_max",
                "as many connections were open as may be, and this was the oldest of the address with most",
            ),
            Self::TooLarge => ("too_large", "the request's line and headers were too large (431)"),
            Self::NotHttp => ("not_http", "what was said is no HTTP (400)"),
            Self::Timeout => {
                ("timeout", "the headers did not come in time, or not all of the answer was taken")
            }
            Self::NotFound => ("not_found", "there is nothing at that path (404)"),
            Self::Method => ("method", "something else than reading was wanted (405)"),
        }
    }

    /// Why an answer with this status is none.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::NOT_FOUND => Some(Self::NotFound),
            StatusCode::METHOD_NOT_ALLOWED => Some(Self::Method),
            _ => None,
        }
    }

    /// Why a connection has ended so, unless the caller is gone.
    pub fn of_error(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            Some(Self::TooLarge)
        } else if error.is_parse() {
            Some(Self::NotHttp)
        } else if error.is_timeout() {
            Some(Self::Timeout)
        } else {
            None
        }
    }
}

/// The counters.
#[derive(Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each reason's name, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL
            .into_iter()
            .map(|refusal| (refusal.name(), self.0[refusal as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        let refusals = Refusals::default();
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| refusals.count(refusal));
        }
        let counts: Vec<_> = refusals.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Refusal::ALL.len() as u64).collect::<Vec<_>>());
    }
}
