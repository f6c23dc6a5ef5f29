//! Which of two sites, the edge or the cloud, answers a request: the policies, and
//! what they know of the cloud.
//!
//! Nothing here waits, sends or looks at a clock: times are arguments, and what is to be done is a value
//! that is returned. For each request there is a [`Course`]; the [`Chooser`] begins it and is told how
//! each site's leg of it has ended. A [`Table`] holds the requests under way and does what comes of that.
//!
//! A hybrid has a model at the edge and one in the cloud, and a policy that chooses for each request:
//! ```
//! use std::time::Duration;
//!
//! use nearfar::deployment::{Config, Hybrid};
//! use nearfar::inference::{Reason, Request, Site, Urgency};
//! use nearfar::placement::Policy;
//! use nearfar::{Detector, Node};
//!
//! let config = Config::edge().hybrid(Hybrid::new(Policy::URGENCY));
//! let node = Node::builder().hybrid(config, Detector::shipped()?, Detector::shipped()?).start()?;
//! let urgent = Request::new([0.5; 32]).urgent(Urgency::Critical);
//! let decision = node.ask(urgent, Duration::from_secs(10))?.decision.expect("it is a hybrid");
//! assert_eq!((decision.site, decision.reason), (Site::Edge, Reason::Urgent));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod breaker;
mod chooser;
mod course;
mod recent;
pub mod settings;
mod table;

use std::fmt;
use std::time::Duration;

use crate::inference::{Site, Urgency};

pub use self::breaker::{Breaker, BreakerChange, BreakerConfig, BreakerState, Pass, Permit};
pub use self::chooser::{Asked, Chooser, Counts, Sites};
pub use self::course::{Course, LegEnd, Score, Step};
pub use self::recent::Recent;
pub use self::table::{Ends, Request, Table};

/// How requests are shared between edge and cloud.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Who answers.
    pub policy: Policy,
    /// How long the cloud may be silent about a request before the edge is asked too,
    /// and the cloud counts as having failed. Default 1 s.
    pub cloud_timeout: Duration,
    /// The cloud's answers that count as recent: no older than this. Default 30 s.
    pub recent_window: Duration,
    /// And no more than this many, the last ones; at most [`RECENT_ANSWERS_MAX`]. Default 100.
    pub recent_answers_max: usize,
    /// When the cloud is left alone.
    pub breaker: BreakerConfig,
}

/// Longer than anybody waits, and no longer than twice as much could be added to a moment: a century.
const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The most answers that may count as recent.
pub const RECENT_ANSWERS_MAX: usize = 10_000;

impl Config {
    /// `policy`, and the defaults of everything else.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            cloud_timeout: Duration::from_secs(1),
            recent_window: Duration::from_secs(30),
            recent_answers_max: 100,
            breaker: BreakerConfig::default(),
        }
    }

    /// This configuration with no wait that could not be added to a moment, as [`Duration::MAX`] cannot.
    fn within_time(mut self) -> Self {
        let mut waits = vec![&mut self.cloud_timeout, &mut self.breaker.wait, &mut self.breaker.wait_max];
        if let Policy::Hedged { after, .. } = &mut self.policy {
            waits.push(after);
        }
        waits.into_iter().for_each(|wait| *wait = (*wait).min(WAIT_MAX));
        self
    }
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// The edge when the cloud's recent p95 would miss the request's deadline, otherwise the cloud.
    Deadline(Probing),
    /// The edge, and the cloud where the edge's score lies within a band around its threshold.
    Confidence {
        /// Scores this near to the threshold, or nearer, are escalated.
        band: f32,
    },
    /// The edge for urgent requests, otherwise the cloud.
    Urgency {
        /// From this urgency on a request goes to the edge.
        edge_from: Urgency,
        /// Where a request goes that does not say how urgent it is, or not in a word that is known.
        default_site: Site,
    },
    /// Both, and the first answer counts.
    Hedged {
        /// Which one is asked first.
        first: Site,
        /// How long it may be silent before the other one is asked too.
        after: Duration,
    },
    /// The edge; the cloud is asked too, and its answer is only compared.
    Shadow,
}

/// How the cloud is kept in sight while the edge answers. A probe is a copy: the
/// edge answers its request all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probing {
    /// With fewer recent answers of the cloud than this, every request is a probe. Default 20.
    pub answers_min: usize,
    /// The share of the edge's requests that are probes, in `(0, 1]`. Default 0.02.
    pub share: f64,
    /// After this long without a probe, the next request is one. Default 1 s.
    pub every: Duration,
}

impl Default for Probing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Probing {
    const DEFAULT: Self = Self { answers_min: 20, share: 0.02, every: Duration::from_secs(1) };
}

impl Policy {
    /// Every one, with its defaults, by its name in settings.
    pub const NAMES: &[(&str, Self)] = &[
        ("deadline", Self::Deadline(Probing::DEFAULT)),
        ("confidence", Self::CONFIDENCE),
        ("urgency", Self::URGENCY),
        ("hedged", Self::HEDGED),
        ("shadow", Self::Shadow),
    ];
    /// `confidence` with its default band of 0.1.
    pub const CONFIDENCE: Self = Self::Confidence { band: 0.1 };
    /// `urgency` with its defaults: `high` and above to the edge, what does not say to the cloud.
    pub const URGENCY: Self = Self::Urgency { edge_from: Urgency::High, default_site: Site::Cloud };
    /// `hedged` with its defaults: both at once.
    pub const HEDGED: Self = Self::Hedged { first: Site::Edge, after: Duration::ZERO };

    /// The policy's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deadline(_) => "deadline",
            Self::Confidence { .. } => "confidence",
            Self::Urgency { .. } => "urgency",
            Self::Hedged { .. } => "hedged",
            Self::Shadow => "shadow",
        }
    }
}

/// The policy's name, and in brackets the parameters that say where requests go,
/// such as `hedged (edge first, cloud after 20 ms)`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Deadline(_) | Self::Shadow => Ok(()),
            Self::Confidence { band } => write!(f, " (band {band})"),
            Self::Urgency { edge_from, default_site } => {
                write!(f, " (edge from {}, otherwise {default_site})", edge_from.as_str())
            }
            Self::Hedged { after, .. } if after.is_zero() => f.write_str(" (both at once)"),
            Self::Hedged { first, after } => {
                write!(f, " ({first} first, {} after {} ms)", first.other(), after.as_secs_f64() * 1e3)
            }
        }
    }
}

#[cfg(test)]
mod tests;
