//! The two sites of a hybrid placement, and why one of them answers.

use std::fmt;
use std::ops::{Index, IndexMut};

/// Where a hybrid placement has requests answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Near the sensors.
    Edge,
    /// Behind a network.
    Cloud,
}

impl Site {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Edge, Self::Cloud];
    /// Both with their names, on the wire and in settings.
    pub const NAMES: &[(&str, Self)] = &[("edge", Self::Edge), ("cloud", Self::Cloud)];

    /// The site's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
        }
    }

    /// The one that it is not.
    pub fn other(self) -> Self {
        match self {
            Self::Edge => Self::Cloud,
            Self::Cloud => Self::Edge,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerSite<T> {
    /// The edge's.
    pub edge: T,
    /// The cloud's.
    pub cloud: T,
}

impl<T> PerSite<T> {
    /// What `make` makes for each of them, the edge first.
    pub fn of(mut make: impl FnMut(Site) -> T) -> Self {
        let edge = make(Site::Edge);
        Self { edge, cloud: make(Site::Cloud) }
    }

    /// Both values, the edge's first.
    pub fn into_array(self) -> [T; 2] {
        [self.edge, self.cloud]
    }

    /// Each site with its value, the edge first.
    pub fn iter(&self) -> impl Iterator<Item = (Site, &T)> {
        [(Site::Edge, &self.edge), (Site::Cloud, &self.cloud)].into_iter()
    }

    /// Each site with its value to be changed, the edge first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Site, &mut T)> {
        [(Site::Edge, &mut self.edge), (Site::Cloud, &mut self.cloud)].into_iter()
    }
}

impl<T> Index<Site> for PerSite<T> {
    type Output = T;

    fn index(&self, site: Site) -> &T {
        match site {
            Site::Edge => &self.edge,
            Site::Cloud => &self.cloud,
        }
    }
}

impl<T> IndexMut<Site> for PerSite<T> {
    fn index_mut(&mut self, site: Site) -> &mut T {
        match site {
            Site::Edge => &mut self.edge,
            Site::Cloud => &mut self.cloud,
        }
    }
}

/// Why a hybrid placement has a request answered where it does. The names on the
/// wire are a contract with clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The site was expected to answer in time, or did before the other one was asked.
    InTime,
    /// The cloud was expected to miss the deadline.
    Deadline,
    /// The edge answered while the cloud was asked too, to see how it is.
    Probe,
    /// The request is urgent.
    Urgent,
    /// The request says that it is not urgent enough for the edge.
    NotUrgent,
    /// The request does not say how urgent it is.
    DefaultSite,
    /// The edge's score was far enough from its threshold.
    Confident,
    /// The edge's score was too near to its threshold, and the cloud has decided.
    Escalated,
    /// Both were asked, and this one was first.
    Hedge,
    /// The edge answered while the cloud was asked too, to compare them.
    Shadow,
    /// The cloud was asked and did not answer in time, or was lost on the way.
    CloudSilent,
    /// The cloud was asked and refused.
    CloudRefused,
    /// The circuit breaker lets nothing through to the cloud.
    BreakerOpen,
}

impl Reason {
    /// Every reason, in the order of the wire contract.
    pub const ALL: [Self; 13] = [
        Self::InTime,
        Self::Deadline,
        Self::Probe,
        Self::Urgent,
        Self::NotUrgent,
        Self::DefaultSite,
        Self::Confident,
        Self::Escalated,
        Self::Hedge,
        Self::Shadow,
        Self::CloudSilent,
        Self::CloudRefused,
        Self::BreakerOpen,
    ];

    /// The reason's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InTime => "in_time",
            Self::Deadline => "deadline",
            Self::Probe => "probe",
            Self::Urgent => "urgent",
            Self::NotUrgent => "not_urgent",
            Self::DefaultSite => "default_site",
            Self::Confident => "confident",
            Self::Escalated => "escalated",
            Self::Hedge => "hedge",
            Self::Shadow => "shadow",
            Self::CloudSilent => "cloud_silent",
            Self::CloudRefused => "cloud_refused",
            Self::BreakerOpen => "breaker_open",
        }
    }
}

/// Where a hybrid placement had a request answered, and why there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Where.
    pub site: Site,
    /// Why.
    pub reason: Reason,
}
