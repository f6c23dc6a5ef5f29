//! What is said of the times that a simulated clock does not simulate, in place of measuring them.

use super::TrialError;
use super::virtual_time::Path;
use crate::lab::CostModel;
use crate::lab::observation::BySite;
use crate::lab::scenario::Placement;

/// What is said of forward passes and of the way through client and broker. What nothing is said of is
/// measured; where something is said of any site, the way takes no time where nothing is said of it.
///
/// ```
/// use std::time::Duration;
///
/// use nearfar::lab::CostModel;
/// use nearfar::trial::{Given, Said};
///
/// let cost = CostModel { per_batch: Duration::from_micros(20), ..CostModel::default() };
/// let given = Given { costs: vec![Said::of_all(cost)], ..Given::default() };
/// # assert!(!given.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// What forward passes take.
    pub costs: Vec<Said<CostModel>>,
    /// What the way through client and broker takes.
    pub paths: Vec<Said<Path>>,
}

/// Something that is said of every site, or of one. The last word counts, and that
/// of a site more than that of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Said<T> {
    /// The site: a placement's name, and `NAME/cloud` for a hybrid's cloud. None for every site.
    pub site: Option<String>,
    /// What is said of it.
    pub value: T,
}

impl<T> Said<T> {
    /// Said of every site.
    pub fn of_all(value: T) -> Self {
        Self { site: None, value }
    }

    /// Said of one site.
    pub fn of(site: impl Into<String>, value: T) -> Self {
        Self { site: Some(site.into()), value }
    }
}

impl Given {
    /// Whether nothing is said at all.
    pub fn is_empty(&self) -> bool {
        self.costs.is_empty() && self.paths.is_empty()
    }

    /// What is said of each site's forward passes, if anything.
    pub fn costs_of(&self, placements: &[Placement]) -> Result<Vec<BySite<Option<CostModel>>>, TrialError> {
        by_site("cost", &self.costs, placements)
    }

    /// What the way to each site takes. That to a cloud of which nothing is said is like the one to the edge.
    pub fn paths_of(&self, placements: &[Placement]) -> Result<Vec<BySite<Path>>, TrialError> {
        let of = |BySite { edge, cloud }: BySite<Option<Path>>| {
            let edge = edge.unwrap_or_default();
            BySite { cloud: cloud.map(|said| said.unwrap_or_else(|| edge.clone())), edge }
        };
        Ok(by_site("path", &self.paths, placements)?.into_iter().map(of).collect())
    }
}

/// What a placement's sites are called: by its name, and a hybrid's cloud `NAME/cloud`.
pub fn names(placement: &Placement) -> BySite<String> {
    let cloud = placement.hybrid.as_ref().map(|_| format!("{}/cloud", placement.name));
    BySite { edge: placement.name.clone(), cloud }
}

fn by_site<T: Clone>(
    said_of: &'static str,
    all: &[Said<T>],
    placements: &[Placement],
) -> Result<Vec<BySite<Option<T>>>, TrialError> {
    let known: Vec<_> = placements.iter().flat_map(names).collect();
    if let Some((_, twice)) = known.iter().enumerate().find(|(at, name)| known[..*at].contains(name)) {
        return Err(TrialError::NamedLikeACloud(twice.clone()));
    }
    for site in all.iter().filter_map(|said| said.site.as_ref()) {
        if !known.contains(site) {
            return Err(TrialError::NoSuchSite { said_of, site: site.clone(), known: known.join(", ") });
        }
    }
    let last = |wanted: Option<&str>| all.iter().rev().find(|said| said.site.as_deref() == wanted);
    let of = |name: String| last(Some(&name)).or_else(|| last(None)).map(|said| said.value.clone());
    Ok(placements.iter().map(|placement| names(placement).map(of)).collect())
}
