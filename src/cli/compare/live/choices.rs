//! Where hybrids had results made, and why: one value for all results of which the same is true.

use std::sync::Arc;

use nearfar::inference::{Reason, Site};
use nearfar::lab::observation::Choice;

use crate::cli::requester::Answer;

/// The choices that were met. There are as many as sites and reasons, and no more: other words are not taken.
#[derive(Default)]
pub struct Choices {
    known: Vec<Arc<Choice>>,
}

impl Choices {
    /// What an answer says of it; nothing where it comes from a placement that does not choose, or is an error.
    pub fn of(&mut self, answer: &Answer) -> Option<Arc<Choice>> {
        let (made_by, reason) = (answer.body.placement.as_deref()?, answer.body.reason.as_deref()?);
        let is_same = |known: &&Arc<Choice>| known.made_by == made_by && known.reason == reason;
        if let Some(known) = self.known.iter().find(is_same) {
            return Some(Arc::clone(known));
        }
        let is_known = Site::ALL.iter().any(|site| site.as_str() == made_by)
            && Reason::ALL.iter().any(|known| known.as_str() == reason);
        if !is_known {
            return None;
        }
        let choice = Arc::new(Choice { made_by: made_by.to_owned(), reason: reason.to_owned() });
        self.known.push(Arc::clone(&choice));
        Some(choice)
    }
}
