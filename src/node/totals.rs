//! What the deployments of a node have counted when it has ended.

use std::ops::{Deref, Index};
use std::vec;

use crate::ledger::Statistics;

/// The final counts of each deployment, by its name and in the order they were added.
///
/// ```
/// # let node = nearfar::Node::builder().deployment(nearfar::deployment::Config::edge(), "shipped").start()?;
/// let totals = node.stop();
/// assert_eq!(totals["edge"].answered, 0);
/// assert!(totals.of("elsewhere").is_none());
/// for (name, statistics) in &totals {
///     println!("{name}: {} answered", statistics.answered);
/// }
/// # Ok::<(), nearfar::node::NodeError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals(Vec<(String, Statistics)>);

impl Totals {
    /// Those of the deployment that was called `name`.
    pub fn of(&self, name: &str) -> Option<&Statistics> {
        self.0.iter().find_map(|(known, statistics)| (known == name).then_some(statistics))
    }
}

impl From<Vec<(String, Statistics)>> for Totals {
    fn from(totals: Vec<(String, Statistics)>) -> Self {
        Self(totals)
    }
}

impl Deref for Totals {
    type Target = [(String, Statistics)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Those of the deployment that was called so.
///
/// # Panics
/// When there was none; [`Totals::of`] does not.
impl Index<&str> for Totals {
    type Output = Statistics;

    fn index(&self, name: &str) -> &Statistics {
        self.of(name).unwrap_or_else(|| panic!("no deployment was called {name:?}"))
    }
}

/// Those of the deployment that was added as number `at`, from 0, with its name.
impl Index<usize> for Totals {
    type Output = (String, Statistics);

    fn index(&self, at: usize) -> &(String, Statistics) {
        &self.0[at]
    }
}

impl IntoIterator for Totals {
    type Item = (String, Statistics);
    type IntoIter = vec::IntoIter<(String, Statistics)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Totals {
    type Item = &'a (String, Statistics);
    type IntoIter = std::slice::Iter<'a, (String, Statistics)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
