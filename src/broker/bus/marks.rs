//! Topic levels as numbers, so that long names are compared many levels at a time.
//!
//! Equal levels have equal marks. Others may have too, once in four thousand
//! million, so whoever must be sure compares the text of what has agreed. Nobody can
//! choose such levels, because the marks of each process are others.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// A level's number.
pub type Mark = u32;

/// The level `+`.
pub const PLUS: Mark = 0;
/// The level `#`.
pub const HASH: Mark = 1;
/// Compared between two looks at whether they agree: wide enough for the processor's vectors.
const BLOCK_MARKS: usize = 16;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The mark of one level.
fn mark(level: &str) -> Mark {
    match level {
        "+" => PLUS,
        "#" => HASH,
        // The lower half: hashes are as good as any number there.
        _ => (HASHER.hash_one(level) as Mark).max(HASH + 1),
    }
}

/// The marks of a topic's or filter's levels.
pub fn marks(levels: &str) -> impl Iterator<Item = Mark> {
    levels.split('/').map(mark)
}

/// Whether each level of one agrees with the same of the other: both are equal, or
/// one is `+`. Given as many of both.
pub fn agree(ones: &[Mark], others: &[Mark]) -> bool {
    let mut blocks = ones.chunks(BLOCK_MARKS).zip(others.chunks(BLOCK_MARKS));
    // Without a way out within a block, so that a block is a few instructions.
    blocks.all(|(ones, others)| {
        ones.iter()
            .zip(others)
            .fold(true, |agree, (&one, &other)| agree & (one == other || one == PLUS || other == PLUS))
    })
}

/// Whether some topic's levels agree with both filters.
pub fn overlap(one: &[Mark], other: &[Mark]) -> bool {
    let fixed = |filter: &[Mark]| filter.len() - usize::from(filter.last() == Some(&HASH));
    let (one_fixed, other_fixed) = (fixed(one), fixed(other));
    let common = one_fixed.min(other_fixed);
    let is_long_enough = |fixed: usize, is_open: bool, other_fixed: usize| is_open || fixed >= other_fixed;
    is_long_enough(one_fixed, one_fixed < one.len(), other_fixed)
        && is_long_enough(other_fixed, other_fixed < other.len(), one_fixed)
        && agree(&one[..common], &other[..common])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::{filters_overlap, is_topic_filter};

    #[test]
    fn levels_agree_where_they_are_equal_or_one_is_a_plus() {
        let all = |text: &str| marks(text).collect::<Vec<_>>();
        assert!(agree(&all("a/+/c"), &all("a/b/c")) && agree(&all("a/b"), &all("+/+")));
        assert!(!agree(&all("a/b/c"), &all("a/b/d")));
        let long = vec!["x"; 128].join("/");
        assert!(agree(&all(&long), &all(&vec!["+"; 128].join("/"))));
        assert!(!agree(&all(&long), &all(&format!("{}y", &long[..long.len() - 1]))));
    }

    proptest! {
        #[test]
        fn filters_overlap_by_their_marks_as_by_their_text(one in "([+ab]?)(/[+ab]?){0,3}(/#)?", other in "([+ab]?)(/[+ab]?){0,3}(/#)?") {
            prop_assume!(is_topic_filter(&one) && is_topic_filter(&other));
            let all = |text: &str| marks(text).collect::<Vec<_>>();
            prop_assert_eq!(overlap(&all(&one), &all(&other)), filters_overlap(&one, &other));
        }
    }
}
