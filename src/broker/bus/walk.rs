//! An iterator that can be left and resumed: going through a tree of topics by a filter, a slice at a time:
//! where a slice ended is a topic, so that the tree may change in between.

use std::cmp::Ordering;
use std::ops::Bound;

use super::marks::{self, HASH, Mark, PLUS};
use super::tree::{Node, Tree, split_level};
use crate::broker::work::Slice;

/// How far a walk is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Position {
    /// Nothing has been looked at.
    #[default]
    Start,
    /// Every topic up to this one has been, in the order of their levels.
    Behind(String),
    /// There is no more.
    End,
}

/// A filter taken apart.
struct Filter<'a> {
    levels: Vec<&'a str>,
    marks: Vec<Mark>,
}

/// How many levels of the filter lead to a node; `None` where `#` takes in all that is below.
type At = Option<usize>;

/// A node whose children are looked at.
struct Place<'a, T> {
    node: &'a Node<T>,
    at: At,
    /// The children that are left.
    from: Bound<&'a str>,
    path_bytes: usize,
}

impl Filter<'_> {
    /// Where a child of a node leads, if the filter goes there.
    fn follow<T>(&self, at: At, level: &str, child: &Node<T>) -> Option<At> {
        let Some(at) = at else { return Some(None) };
        // A wildcard in the first level does not see the broker's own topics [MQTT-4.7.2-1].
        let is_hidden = at == 0 && level.starts_with('$');
        match *self.marks.get(at)? {
            HASH if !is_hidden => return Some(None),
            PLUS if !is_hidden => {}
            _ if self.levels[at] == level => {}
            _ => return None,
        }
        let (own, stretch) = (&self.marks[at + 1..], &*child.stretch.marks);
        let end = at + 1 + stretch.len();
        match own.split_last() {
            // `a/#` is for `a` too, so that its `#` may come where the stretch has ended.
            Some((&HASH, fixed)) if fixed.len() <= stretch.len() => {
                marks::agree(fixed, &stretch[..fixed.len()]).then_some(None)
            }
            _ => marks::agree(own.get(..stretch.len())?, stretch).then_some(Some(end)),
        }
    }

    /// Whether a node there is what the filter asks for.
    fn is_met(&self, at: At) -> bool {
        at.is_none_or(|at| at == self.levels.len())
    }

    /// The next child that the filter may go to.
    fn next_child<'n, T>(&self, place: &Place<'n, T>) -> Option<(&'n str, &'n Node<T>)> {
        let children = &place.node.children;
        let literal = match place.at {
            Some(at) => Some(*self.levels.get(at)?).filter(|level| !matches!(*level, "+" | "#")),
            None => None,
        };
        let found = match literal {
            Some(level) => {
                let (key, child) = children.get_key_value(level)?;
                let is_left = match place.from {
                    Bound::Unbounded => true,
                    Bound::Included(from) => **key >= *from,
                    Bound::Excluded(from) => **key > *from,
                };
                is_left.then_some((key, child))
            }
            None => children.range::<str, _>((place.from, Bound::Unbounded)).next(),
        };
        found.map(|(key, child)| (&**key, &**child))
    }
}

/// Goes on with a walk by `filter` until the slice is over, `visit` has had enough,
/// or everything has been looked at.
pub fn walk<'t, T>(
    tree: &'t Tree<T>,
    filter: &str,
    position: &mut Position,
    slice: &mut Slice,
    mut visit: impl FnMut(&str, &'t T) -> bool,
) {
    let filter = Filter { levels: filter.split('/').collect(), marks: marks::marks(filter).collect() };
    slice.spend_levels(filter.levels.len());
    let mut path = String::new();
    let mut open = match position {
        Position::End => return,
        Position::Start => vec![Place::whole(tree.root(), Some(0), 0)],
        Position::Behind(topic) => resume(tree, &filter, topic, &mut path),
    };
    while let Some(place) = open.last_mut() {
        if slice.is_over() {
            *position = Position::Behind(path);
            return;
        }
        let Some((level, child)) = filter.next_child(place) else {
            slice.spend(1);
            open.pop();
            continue;
        };
        place.from = Bound::Excluded(level);
        slice.spend_levels(child.stretch.marks.len());
        let (at, path_bytes) = (place.at, place.path_bytes);
        path.truncate(path_bytes);
        extend(&mut path, path_bytes == 0 && open.len() == 1, level, child);
        let Some(at) = filter.follow(at, level, child) else { continue };
        open.push(Place::whole(child, at, path.len()));
        if let Some(value) = child.value.as_ref().filter(|_| filter.is_met(at))
            && !visit(&path, value)
        {
            *position = Position::Behind(path);
            return;
        }
    }
    *position = Position::End;
}

impl<'a, T> Place<'a, T> {
    fn whole(node: &'a Node<T>, at: At, path_bytes: usize) -> Self {
        Self { node, at, from: Bound::Unbounded, path_bytes }
    }
}

/// Adds the levels that lead to a child.
fn extend<T>(path: &mut String, is_first: bool, level: &str, child: &Node<T>) {
    if !is_first {
        path.push('/');
    }
    path.push_str(level);
    if let Some(levels) = child.stretch.levels() {
        path.push('/');
        path.push_str(levels);
    }
}

/// The places that a walk which has looked at everything up to `topic` comes back to.
fn resume<'t, T>(
    tree: &'t Tree<T>,
    filter: &Filter<'_>,
    topic: &str,
    path: &mut String,
) -> Vec<Place<'t, T>> {
    let mut open = vec![Place::whole(tree.root(), Some(0), 0)];
    let mut rest = Some(topic);
    while let (Some(text), Some(place)) = (rest, open.last_mut()) {
        let (level, behind) = split_level(text);
        // The key that is there, or the one after it where it has gone.
        let next = place.node.children.range::<str, _>((Bound::Included(level), Bound::Unbounded)).next();
        let Some((key, child)) = next else {
            open.pop();
            break;
        };
        place.from = Bound::Included(key);
        if **key != *level {
            break;
        }
        match compare(child.stretch.levels(), behind) {
            // It is behind the topic itself.
            Way::Later => break,
            Way::Earlier => {
                place.from = Bound::Excluded(key);
                break;
            }
            Way::Through(left) => {
                place.from = Bound::Excluded(key);
                let Some(at) = filter.follow(place.at, key, child) else { break };
                let is_first = open.len() == 1;
                extend(path, is_first, key, child);
                open.push(Place::whole(child, at, path.len()));
                rest = left;
            }
        }
    }
    open
}

/// Where a node is, seen from a topic.
enum Way<'a> {
    Earlier,
    /// The topic is the node's, or below it by these levels.
    Through(Option<&'a str>),
    Later,
}

/// Compares the levels that lead to a node with what is left of a topic.
fn compare<'a>(stretch: Option<&str>, mut topic: Option<&'a str>) -> Way<'a> {
    for own in stretch.into_iter().flat_map(|levels| levels.split('/')) {
        // The topic ends above the node.
        let Some(text) = topic else { return Way::Later };
        let (level, behind) = split_level(text);
        match own.cmp(level) {
            Ordering::Less => return Way::Earlier,
            Ordering::Greater => return Way::Later,
            Ordering::Equal => topic = behind,
        }
    }
    Way::Through(topic)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::{filter_matches, is_topic_filter};

    fn tree<'a>(topics: impl IntoIterator<Item = &'a str>) -> Tree<()> {
        let mut tree = Tree::default();
        topics.into_iter().for_each(|topic| *tree.place(topic) = Some(()));
        tree
    }

    /// Everything that a walk finds in slices of at most so many topics and so many
    /// units, while `change` changes the tree in between.
    fn found(
        tree: &mut Tree<()>,
        filter: &str,
        topics_max: usize,
        mut change: impl FnMut(&mut Tree<()>),
    ) -> Vec<String> {
        let (mut position, mut all) = (Position::Start, Vec::new());
        while position != Position::End {
            let mut slice = Slice::new();
            let mut left = topics_max;
            walk(tree, filter, &mut position, &mut slice, |topic, ()| {
                all.push(topic.to_owned());
                left -= 1;
                left > 0
            });
            change(tree);
        }
        all
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_matches_once_and_in_order_however_it_is_cut(
            topics in prop::collection::btree_set("[ab$]?(/[ab]?){0,4}", 1..20), filter in "([+ab]?)(/[+ab]?){0,3}(/#)?|#", topics_max in 1usize..4,
        ) {
            prop_assume!(is_topic_filter(&filter));
            let mut tree = tree(topics.iter().map(String::as_str));
            let mut expected: Vec<_> = topics.into_iter().filter(|topic| filter_matches(&filter, topic)).collect();
            expected.sort_by(|one, other| one.split('/').cmp(other.split('/')));
            prop_assert_eq!(found(&mut tree, &filter, topics_max, |_| ()), expected);
        }

        #[test]
        fn what_is_there_all_the_time_is_found_once_whatever_comes_and_goes(
            lasting in prop::collection::btree_set("[ab]?(/[ab]?){0,4}", 1..10), others in prop::collection::vec("[ab]?(/[ab]?){0,4}", 1..10),
            filter in "([+ab]?)(/[+ab]?){0,3}(/#)?|#",
        ) {
            prop_assume!(is_topic_filter(&filter));
            let mut tree = tree(lasting.iter().map(String::as_str));
            let mut turn = others.iter().filter(|topic| !lasting.contains(*topic)).cycle();
            let all = found(&mut tree, &filter, 1, |tree| {
                let Some(topic) = turn.next() else { return };
                if tree.remove(topic).is_none() {
                    *tree.place(topic) = Some(());
                }
            });
            for topic in &lasting {
                let times = all.iter().filter(|found| *found == topic).count();
                prop_assert_eq!(times, usize::from(filter_matches(&filter, topic)), "{}", topic);
            }
        }
    }

    #[test]
    fn a_filter_that_matches_little_looks_at_little() {
        let topics: Vec<_> = (0..10_000).map(|number| format!("plant/{number}/state")).collect();
        let tree = tree(topics.iter().map(String::as_str));
        for filter in ["plant/77/state", "plant/77/#", "plant/77/+", "other/#", "plant/x/+/y"] {
            let mut slice = Slice::new();
            let mut position = Position::Start;
            walk(&tree, filter, &mut position, &mut slice, |_, ()| true);
            assert!(position == Position::End && !slice.is_over(), "{filter}: {position:?}, {slice:?}");
        }
    }

    #[test]
    fn ten_thousand_deep_topics_are_a_few_slices_for_the_worst_filter() {
        let topics: Vec<_> = (0..10_000).map(|number| format!("{number}{}", "/a".repeat(120))).collect();
        let tree = tree(topics.iter().map(String::as_str));
        let filter = format!("+{}/b", "/+".repeat(119));
        let (mut position, mut slices) = (Position::Start, 0);
        while position != Position::End {
            walk(&tree, &filter, &mut position, &mut Slice::new(), |_, ()| true);
            slices += 1;
        }
        assert!(slices <= 30, "{slices}");
    }
}
