//! Which rows are held back from which network.

use super::draw::Draw;
use super::fit::Piece;
use super::{Group, Label, Settings, TrainingError};

/// Where no groups can be held back: in so many pieces of time.
const PIECES: usize = 5;
/// The draws that deal the groups are others than those that train.
const DEALING: u64 = 0x6465_616c;

/// The rows of all groups, each dealt to one fold.
pub struct Folds<'a> {
    rows: &'a [Vec<f32>],
    groups: &'a [Group<'a>],
    inputs: usize,
    count: usize,
    of: Vec<Vec<u8>>,
    /// Whether whole groups are held back, and not pieces of time.
    pub by_group: bool,
}

impl<'a> Folds<'a> {
    /// Deals whole groups, so that failing and healthy ones are in each training; and pieces of time where
    /// there are too few groups for that.
    pub fn deal(
        groups: &'a [Group<'a>],
        rows: &'a [Vec<f32>],
        inputs: usize,
        settings: &Settings,
    ) -> Result<Self, TrainingError> {
        let with = |group: &Group<'_>, label| group.labels.contains(&label);
        let mut order = Draw::new(settings.seed ^ DEALING).shuffled(groups.len());
        order.retain(|at| !groups[*at].rows.is_empty());
        order.sort_by_key(|at| !with(&groups[*at], Label::Failing));
        let count = settings.folds_max.min(order.len()).min(usize::from(u8::MAX));
        let mut of: Vec<Vec<u8>> = groups.iter().map(|group| vec![0; group.rows.len() / inputs]).collect();
        if count >= 2 {
            order.iter().enumerate().for_each(|(place, at)| of[*at].fill((place % count) as u8));
            let folds = Self { rows, groups, inputs, count, of, by_group: true };
            if (0..count).all(|fold| folds.teaches(fold)) {
                return Ok(folds);
            }
            of = folds.of;
        }
        for (group, of) in groups.iter().zip(&mut of) {
            for label in [Label::Healthy, Label::Failing, Label::Unknown] {
                let has = |at: &usize| group.labels.get(*at).copied().unwrap_or(Label::Healthy) == label;
                let its: Vec<usize> = (0..of.len()).filter(has).collect();
                let all = its.len();
                its.into_iter().enumerate().for_each(|(place, at)| of[at] = (place * PIECES / all) as u8);
            }
        }
        Ok(Self { rows, groups, inputs, count: PIECES, of, by_group: false })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// All rows but those of `fold`, to train with.
    pub fn others(&self, fold: usize) -> Vec<Piece<'a>> {
        self.pieces(|one| usize::from(one) != fold)
    }

    /// All rows.
    pub fn all(&self) -> Vec<Piece<'a>> {
        self.pieces(|_| true)
    }

    /// The rows of `group` that are held back in `fold`.
    pub fn held_back(&self, group: usize, fold: usize) -> Vec<u32> {
        let of = self.of[group].iter().zip(0u32..);
        of.filter(|(one, _)| usize::from(**one) == fold).map(|(_, at)| at).collect()
    }

    fn teaches(&self, fold: usize) -> bool {
        let others = self.others(fold);
        let is_labelled = self.groups.iter().any(|group| !group.labels.is_empty());
        others.iter().any(|piece| !piece.healthy.is_empty())
            && (!is_labelled || others.iter().any(|piece| !piece.failing.is_empty()))
    }

    fn pieces(&self, takes: impl Fn(u8) -> bool) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        for ((group, rows), of) in self.groups.iter().zip(self.rows).zip(&self.of) {
            let those = |label| {
                let has = |at: &u32| {
                    let at = *at as usize;
                    takes(of[at]) && group.labels.get(at).copied().unwrap_or(Label::Healthy) == label
                };
                (0..of.len() as u32).filter(has).collect()
            };
            let piece = Piece { rows, healthy: those(Label::Healthy), failing: those(Label::Failing) };
            if !(piece.healthy.is_empty() && piece.failing.is_empty()) {
                pieces.push(piece);
            }
        }
        debug_assert!(pieces.iter().all(|piece| piece.rows.len() % self.inputs == 0));
        pieces
    }
}
