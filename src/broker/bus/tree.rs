//! A radix tree of topic levels in which a stretch without branches is one node: it has at most twice
//! as many nodes as values, however many levels those have, and a stretch is compared as a whole.

use std::collections::BTreeMap;

use super::marks::{self, HASH, Mark};
use crate::broker::work::Slice;

/// Values by topic or filter. The wildcards `+` and `#` are levels like any other.
pub struct Tree<T> {
    root: Node<T>,
}

/// Every node but the root has a value, or at least two children.
pub struct Node<T> {
    /// The levels that lead here, behind the first, which is the key among the children above.
    pub stretch: Stretch,
    pub value: Option<T>,
    pub children: BTreeMap<Box<str>, Box<Node<T>>>,
}

/// Levels in a row; there may be none.
#[derive(Default)]
pub struct Stretch {
    pub text: Box<str>,
    pub marks: Box<[Mark]>,
}

/// The first level, and what follows it.
pub fn split_level(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(level, rest)| (level, Some(rest)))
}

/// Where the text behind the first `levels` levels begins, the slash not counted.
fn level_offset(text: &str, levels: usize) -> usize {
    let slash = levels.checked_sub(1).and_then(|last| text.match_indices('/').nth(last));
    slash.map_or(if levels == 0 { 0 } else { text.len() + 1 }, |(at, _)| at + 1)
}

impl Stretch {
    fn new(path: Option<&str>) -> Self {
        path.map_or_else(Self::default, |text| Self {
            text: text.into(),
            marks: marks::marks(text).collect(),
        })
    }

    /// What is left of `path` behind this stretch; `None` when it goes another way.
    fn strip<'a>(&self, path: Option<&'a str>) -> Option<Option<&'a str>> {
        if self.marks.is_empty() {
            return Some(path);
        }
        let rest = path?.strip_prefix(&*self.text)?;
        if rest.is_empty() { Some(None) } else { rest.strip_prefix('/').map(Some) }
    }

    /// How many levels this and the beginning of `path` have in common.
    fn common(&self, path: Option<&str>) -> usize {
        let own = self.text.split('/').take(self.marks.len());
        let others = path.into_iter().flat_map(|path| path.split('/'));
        own.zip(others).take_while(|(one, other)| one == other).count()
    }

    /// The text of the levels; `None` when there are none.
    pub fn levels(&self) -> Option<&str> {
        (!self.marks.is_empty()).then_some(&*self.text)
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::new(None) }
    }
}

impl<T> Tree<T> {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.root.children.is_empty()
    }

    pub fn root(&self) -> &Node<T> {
        &self.root
    }

    pub fn get(&self, path: &str) -> Option<&T> {
        let (mut node, mut rest) = (&self.root, Some(path));
        while let Some(text) = rest {
            let (level, behind) = split_level(text);
            node = node.children.get(level)?;
            rest = node.stretch.strip(behind)?;
        }
        node.value.as_ref()
    }

    pub fn get_mut(&mut self, path: &str) -> Option<&mut T> {
        let (mut node, mut rest) = (&mut self.root, Some(path));
        while let Some(text) = rest {
            let (level, behind) = split_level(text);
            node = node.children.get_mut(level)?;
            rest = node.stretch.strip(behind)?;
        }
        node.value.as_mut()
    }

    /// The place of `path`, where the caller leaves a value.
    pub fn place(&mut self, path: &str) -> &mut Option<T> {
        let (mut node, mut rest) = (&mut self.root, Some(path));
        while let Some(text) = rest {
            let (level, behind) = split_level(text);
            node = node.children.entry(level.into()).or_insert_with(|| Box::new(Node::new(behind)));
            let common = node.stretch.common(behind);
            if common < node.stretch.marks.len() {
                node.split(common);
            }
            rest = behind.and_then(|behind| behind.get(level_offset(behind, common)..));
        }
        &mut node.value
    }

    pub fn remove(&mut self, path: &str) -> Option<T> {
        let steps = self.steps(path)?;
        // Neither a loop nor the end of a tree may need a stack as deep as the tree.
        let (mut above, mut rest) = (&mut self.root, Some(path));
        for _ in 1..steps {
            let (level, behind) = split_level(rest?);
            above = above.children.get_mut(level)?;
            rest = above.stretch.strip(behind)?;
        }
        let (level, _) = split_level(rest?);
        let node = above.children.get_mut(level)?;
        let removed = node.value.take()?;
        match node.children.len() {
            0 => {
                above.children.remove(level);
                if steps > 1 && above.value.is_none() && above.children.len() == 1 {
                    above.absorb_child();
                }
            }
            1 => node.absorb_child(),
            _ => {}
        }
        Some(removed)
    }

    /// How many nodes below the root lead to `path`.
    fn steps(&self, path: &str) -> Option<usize> {
        let (mut node, mut rest, mut steps) = (&self.root, Some(path), 0);
        while let Some(text) = rest {
            let (level, behind) = split_level(text);
            node = node.children.get(level)?;
            rest = node.stretch.strip(behind)?;
            steps += 1;
        }
        Some(steps)
    }

    /// The values of a tree of filters that match `topic` by their marks, so that the
    /// caller looks at the text again.
    pub fn find<'a>(&'a self, topic: &str, slice: &mut Slice, mut found: impl FnMut(&'a T)) {
        let levels: Vec<_> = topic.split('/').collect();
        let marks: Vec<_> = marks::marks(topic).collect();
        // A wildcard in the first level does not see the broker's own topics [MQTT-4.7.2-1].
        let sees_first: &[&str] = if topic.starts_with('$') { &[] } else { &["#", "+"] };
        // Nodes, and how many of the topic's levels lead to each.
        let mut open = vec![(&self.root, 0)];
        while let Some((node, at)) = open.pop() {
            if at == levels.len() {
                node.value.iter().for_each(&mut found);
            }
            let wildcards = if at == 0 { sees_first } else { &["#", "+"] };
            for level in wildcards.iter().chain(levels.get(at)) {
                let Some(child) = node.children.get(*level) else { continue };
                // `a/#` is for `a` too.
                let at = if *level == "#" { levels.len() } else { at + 1 };
                slice.spend_levels(child.stretch.marks.len());
                if at <= levels.len()
                    && let Some(at) = child.stretch.follow(&marks, at)
                {
                    open.push((child, at));
                }
            }
        }
    }
}

impl Stretch {
    /// How many of a topic's levels lead to the end of this stretch of a filter, if `at`
    /// lead to its beginning.
    fn follow(&self, topic: &[Mark], at: usize) -> Option<usize> {
        let (fixed, end) = match self.marks.split_last() {
            Some((&HASH, fixed)) => (fixed, topic.len()),
            _ => (&*self.marks, at + self.marks.len()),
        };
        marks::agree(fixed, topic.get(at..at + fixed.len())?).then_some(end)
    }
}

impl<T> Node<T> {
    fn new(stretch: Option<&str>) -> Self {
        Self { stretch: Stretch::new(stretch), value: None, children: BTreeMap::new() }
    }

    /// Ends the stretch after its first `levels` levels; a child has the rest, and everything that was here.
    fn split(&mut self, levels: usize) {
        let Stretch { text, marks } = std::mem::take(&mut self.stretch);
        let at = level_offset(&text, levels);
        let (level, behind) = split_level(&text[at..]);
        let stretch = Stretch { text: behind.unwrap_or_default().into(), marks: marks[levels + 1..].into() };
        let (value, children) = (self.value.take(), std::mem::take(&mut self.children));
        self.children.insert(level.into(), Box::new(Self { stretch, value, children }));
        self.stretch = Stretch { text: text[..at.saturating_sub(1)].into(), marks: marks[..levels].into() };
    }

    /// Takes the place of its only child as well.
    fn absorb_child(&mut self) {
        let Some((level, child)) = self.children.pop_first() else { return };
        let levels = [self.stretch.levels(), Some(&*level), child.stretch.levels()];
        let text = levels.into_iter().flatten().collect::<Vec<_>>().join("/");
        self.stretch = Stretch::new(Some(&text));
        self.value = child.value;
        self.children = child.children;
    }
}

impl<T> Drop for Tree<T> {
    fn drop(&mut self) {
        let mut open = vec![std::mem::take(&mut self.root.children)];
        while let Some(children) = open.pop() {
            open.extend(children.into_values().map(|mut child| std::mem::take(&mut child.children)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl<T> Tree<T> {
        /// Every node has its reason.
        fn assert_sound(&self) {
            let mut open: Vec<_> = self.root.children.values().collect();
            while let Some(node) = open.pop() {
                assert!(node.value.is_some() || node.children.len() > 1);
                let marks: Vec<_> = node.stretch.levels().into_iter().flat_map(marks::marks).collect();
                assert_eq!(*node.stretch.marks, *marks);
                open.extend(node.children.values());
            }
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_not_removed(
            paths in prop::collection::vec("[ab+]?(/[ab+]?){0,5}", 1..30), removed in prop::collection::vec("[ab+]?(/[ab+]?){0,5}", 0..30),
        ) {
            let (mut tree, mut expected) = (Tree::default(), BTreeMap::new());
            for (number, path) in paths.iter().enumerate() {
                *tree.place(path) = Some(number);
                expected.insert(path.clone(), number);
                tree.assert_sound();
            }
            for path in paths.iter().step_by(2).chain(&removed) {
                prop_assert_eq!(tree.remove(path), expected.remove(path));
                tree.assert_sound();
            }
            for path in paths.iter().chain(&removed) {
                prop_assert_eq!(tree.get(path), expected.get(path));
                prop_assert_eq!(tree.get_mut(path).copied(), expected.get(path).copied());
            }
        }
    }

    #[test]
    fn a_long_name_is_one_node_and_a_deep_tree_needs_no_deep_stack() {
        let mut tree = Tree::default();
        let long = vec!["a"; 10_000].join("/");
        *tree.place(&long) = Some(0);
        assert!(tree.root.children["a"].children.is_empty());
        let depths = 1..=2_000;
        for depth in depths.clone() {
            *tree.place(&long[..2 * depth - 1]) = Some(depth);
        }
        tree.assert_sound();
        for depth in depths.step_by(2) {
            assert_eq!(tree.remove(&long[..2 * depth - 1]), Some(depth));
        }
        tree.assert_sound();
        assert_eq!(tree.get(&long), Some(&0));
    }
}
