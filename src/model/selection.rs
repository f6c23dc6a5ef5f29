//! Which of a file's tensors are meant, and what they are to be called.

use std::collections::HashSet;
use std::str::FromStr;

use super::glob;
use super::tensors::RawTensor;

/// The most patterns of one kind.
const PATTERNS_MAX: usize = 256;
/// The most names that an error lists.
const NAMES_TOLD_MAX: usize = 8;

/// Other names for the tensors that match a pattern: `decoder1.*=decoder.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    from: String,
    to: String,
}

impl FromStr for Rename {
    type Err = String;

    /// Reads `FROM=TO`, each with as many stars as the other, or `TO` with fewer.
    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('=').ok_or("expected FROM=TO, such as 'a.*=b.*'")?;
        let (had, wanted) = (from.matches('*').count(), to.matches('*').count());
        if from.is_empty() || to.is_empty() {
            return Err("expected a name on both sides of the =".to_owned());
        }
        if wanted > had {
            return Err(format!(
                "{to} has {wanted} stars, expected at most {had}, as many as {from} has texts for"
            ));
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

impl Rename {
    /// The new name of `name`, if it matches.
    fn apply(&self, name: &str) -> Option<String> {
        let mut stars = glob::stars(&self.from, name)?.into_iter();
        let mut parts = self.to.split('*');
        let mut new = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            new.push_str(stars.next().unwrap_or_default());
            new.push_str(part);
        }
        Some(new)
    }
}

/// Leaves out what matches one of `drop`, then gives each tensor the name that the first of `renames` that
/// matches has for it.
///
/// # Errors
/// A sentence: a pattern that matches nothing, or one name for two tensors.
pub fn select(tensors: &mut Vec<RawTensor>, drop: &[String], renames: &[Rename]) -> Result<(), String> {
    for (flag, count) in [("--drop", drop.len()), ("--rename", renames.len())] {
        if count > PATTERNS_MAX {
            return Err(format!("found {count} {flag}, expected at most {PATTERNS_MAX} (patterns_max)"));
        }
    }
    let mut used = vec![false; drop.len()];
    let mut is_kept = |name: &str| {
        // All are asked: of two patterns that match one tensor neither is a slip.
        let matching = drop.iter().zip(&mut used).filter(|(pattern, _)| glob::matches(pattern, name));
        matching.map(|(_, used)| *used = true).count() == 0
    };
    let kept: Vec<_> = tensors.iter().map(|tensor| is_kept(&tensor.info.name)).collect();
    if let Some(at) = used.iter().position(|used| !used) {
        return Err(unmatched("--drop", &drop[at], tensors));
    }
    if !kept.contains(&true) {
        return Err("--drop leaves no tensor".to_owned());
    }
    let mut used = vec![false; renames.len()];
    let mut names = Vec::with_capacity(tensors.len());
    for tensor in tensors.iter().zip(&kept).filter_map(|(tensor, kept)| kept.then_some(tensor)) {
        let name = &tensor.info.name;
        let found = renames.iter().enumerate().find_map(|(at, rename)| Some((at, rename.apply(name)?)));
        names.push(found.map_or_else(
            || name.clone(),
            |(at, new)| {
                used[at] = true;
                new
            },
        ));
    }
    if let Some(at) = used.iter().position(|used| !used) {
        return Err(unmatched("--rename", &renames[at].from, tensors));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(format!("two tensors would be called {twice}: rename or drop one of them"));
    }
    let mut kept = kept.into_iter();
    tensors.retain(|_| kept.next().unwrap_or(false));
    tensors.iter_mut().zip(names).for_each(|(tensor, name)| tensor.info.name = name);
    Ok(())
}

fn unmatched(flag: &str, pattern: &str, tensors: &[RawTensor]) -> String {
    let names: Vec<_> = tensors.iter().map(|tensor| tensor.info.name.as_str()).collect();
    format!("{flag} {pattern}: no tensor matches (`*` stands for any text); there are {}", listed(&names))
}

/// Some of `names`, and how many more there are.
pub fn listed(names: &[&str]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        1..=NAMES_TOLD_MAX => names.join(", "),
        all => format!("{} and {} more", names[..NAMES_TOLD_MAX].join(", "), all - NAMES_TOLD_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tensors::{Dtype, TensorInfo};
    use super::*;

    fn selected(drop: &[&str], renames: &[&str]) -> Result<Vec<String>, String> {
        let names = ["a.0.weight", "a.0.bias", "b.weight", "a.total_ops", "total_ops"];
        let tensor = |name: &&str| RawTensor {
            info: TensorInfo { name: (*name).to_owned(), dtype: Dtype::F32, shape: vec![] },
            bytes: vec![0; 4],
        };
        let mut tensors: Vec<_> = names.iter().map(tensor).collect();
        let drop: Vec<_> = drop.iter().map(|pattern| (*pattern).to_owned()).collect();
        let renames = renames.iter().map(|rename| rename.parse()).collect::<Result<Vec<_>, _>>()?;
        select(&mut tensors, &drop, &renames)?;
        Ok(tensors.into_iter().map(|tensor| tensor.info.name).collect())
    }

    #[test]
    fn tensors_are_left_out_and_renamed() {
        let found = selected(&["*total_ops", "a.total_ops"], &["a.0.*=encoder.*", "*=x.*"]).unwrap();
        assert_eq!(found, ["encoder.weight", "encoder.bias", "x.b.weight"]);
        assert_eq!(selected(&["a.*"], &["*.weight=w", "total_*=*"]).unwrap(), ["w", "ops"]);
    }

    #[test]
    fn slips_are_told() {
        for (drop, renames, expected) in [
            (&["c.*"][..], &[][..], "--drop c.*: no tensor matches"),
            (&["*"], &[], "--drop leaves no tensor"),
            (&[], &["c.*=d.*"], "--rename c.*: no tensor matches"),
            (&[], &["a.*=x"], "two tensors would be called x"),
            (&[], &["a.b"], "expected FROM=TO"),
            (&[], &["a=*"], "* has 1 stars, expected at most 0"),
            (&[], &["=a"], "expected a name"),
        ] {
            let error = selected(drop, renames).unwrap_err();
            assert!(error.contains(expected), "{expected:?} not in {error}");
        }
    }
}
