//! Finds the sets of tensors in what a pickle built: flat and nested state dicts,
//! whole modules, TorchScript objects.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::limits::Limits;
use super::limits::Over;
use super::pickle::Pickle;
use super::value::{Arena, Id, Shortened, Value};
use super::view;

/// The key of a set that is the pickled object itself.
pub const ROOT_KEY: &str = ".";

/// A set of tensors: a state dict, or a module.
#[derive(Debug)]
pub struct Set {
    /// The keys that lead to it, joined by dots.
    pub key: String,
    pub kind: &'static str,
    pub tensors: Vec<(String, Id)>,
}

impl Set {
    /// Key, kind, size and the first names. What is no set of weights, but a loss beside
    /// one, is called by its name.
    pub fn describe(&self, arena: &Arena<'_>, limits: &Limits) -> String {
        const NAMES_MAX: usize = 2;
        let count = self.tensors.len();
        let names: Vec<_> =
            self.tensors.iter().take(NAMES_MAX).map(|(name, _)| Shortened(name).to_string()).collect();
        let (plural, more) =
            (if count == 1 { "" } else { "s" }, if count > NAMES_MAX { ", ..." } else { "" });
        if self.tensors.iter().all(|(_, id)| is_number(arena, *id, limits)) {
            let place =
                if self.key == ROOT_KEY { String::new() } else { format!("{}.", Shortened(&self.key)) };
            return format!("{place}{}{more} ({count} number{plural})", names.join(", "));
        }
        format!(
            "{} ({}, {count} tensor{plural}: {}{more})",
            Shortened(&self.key),
            self.kind,
            names.join(", ")
        )
    }
}

/// Every set of tensors in what `pickle` built, outermost first.
pub fn sets(pickle: &Pickle<'_>, limits: &Limits) -> Result<Vec<Set>, Over> {
    let mut walk = Walk { arena: &pickle.arena, limits, steps: 0, tensors: 0, names_bytes: 0 };
    walk.sets(pickle.root)
}

/// Whether a tensor is a single number without a shape, as a loss is.
pub fn is_number(arena: &Arena<'_>, id: Id, limits: &Limits) -> bool {
    view::view(arena, id, limits).is_ok_and(|view| view.shape.is_empty())
}

struct Walk<'p, 'a> {
    arena: &'p Arena<'a>,
    limits: &'p Limits,
    steps: u64,
    tensors: u64,
    names_bytes: u64,
}

impl<'a> Walk<'_, 'a> {
    /// Every set of tensors below `root`, outermost first. Each container is entered
    /// once, however many share it.
    fn sets(&mut self, root: Id) -> Result<Vec<Set>, Over> {
        let mut sets = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![(root, String::new(), 0)];
        let mut at = 0;
        while let Some((id, key, depth)) = waiting.get(at).cloned() {
            at += 1;
            self.step()?;
            if !seen.insert(id) || is_optimizer(self.arena, id) {
                continue;
            }
            if let Some(kind) = module_kind(self.arena, id) {
                let tensors = self.flatten(id)?;
                if !tensors.is_empty() {
                    sets.push(Set { key: key_or_root(key), kind, tensors });
                }
                continue;
            }
            let mut tensors = Vec::new();
            for (name, child) in self.children(id) {
                self.step()?;
                if view::is_tensor(self.arena, child) {
                    self.count_tensor()?;
                    tensors.push((self.joined("", &name)?, child));
                } else if self.is_container(child) && !seen.contains(&child) {
                    self.limits.check("the nesting", "nesting_max", depth + 1, self.limits.nesting_max)?;
                    let prefix = if key.is_empty() { String::new() } else { format!("{key}.") };
                    waiting.push((child, self.joined(&prefix, &name)?, depth + 1));
                }
            }
            if !tensors.is_empty() {
                sets.push(Set { key: key_or_root(key), kind: "state dict", tensors: last_of_each(tensors) });
            }
        }
        // A bare tensor is a set of one.
        if sets.is_empty() && view::is_tensor(self.arena, root) {
            sets.push(Set {
                key: ROOT_KEY.to_owned(),
                kind: "tensor",
                tensors: vec![("tensor".to_owned(), root)],
            });
        }
        Ok(sets)
    }

    fn is_container(&self, id: Id) -> bool {
        matches!(self.arena.get(id), Value::Dict(_) | Value::List(_) | Value::Tuple(_) | Value::Object(_))
    }

    /// What `id` contains, by name: entries of a dict, elements of a list, attributes of an object.
    fn children(&self, id: Id) -> Vec<(Cow<'a, str>, Id)> {
        let name = |key| match self.arena.str(key) {
            Some(key) => Cow::Borrowed(key),
            None => Cow::Owned(self.arena.describe_key(key)),
        };
        let by_key = |entries: &[(Id, Id)]| entries.iter().map(|&(key, value)| (name(key), value)).collect();
        let by_place = |elements: &[Id]| {
            elements.iter().enumerate().map(|(at, &element)| (Cow::Owned(at.to_string()), element)).collect()
        };
        if let Some(entries) = self.arena.entries(id) {
            return by_key(entries);
        }
        match self.arena.get(id) {
            Value::Tuple(elements) | Value::List(elements) => by_place(elements),
            Value::Object(object) => match object.state {
                Some(state) => self.arena.entries(state).map(by_key).unwrap_or_default(),
                // A named tuple: its elements are what its class was called with.
                None => self.arena.elements(object.args).map(by_place).unwrap_or_default(),
            },
            _ => Vec::new(),
        }
    }

    /// The tensors of a module and of the modules within it, in the order of PyTorch's `state_dict()`.
    fn flatten(&mut self, module: Id) -> Result<Vec<(String, Id)>, Over> {
        let mut tensors = Vec::new();
        let mut kinds: HashMap<Id, bool> = HashMap::new();
        let mut waiting = vec![(module, String::new(), 0)];
        while let Some((module, prefix, depth)) = waiting.pop() {
            self.step()?;
            let mut inner = Vec::new();
            for (name, child) in self.members(module)? {
                self.step()?;
                if view::is_tensor(self.arena, child) {
                    self.count_tensor()?;
                    tensors.push((self.joined(&prefix, &name)?, child));
                } else if *kinds.entry(child).or_insert_with(|| module_kind(self.arena, child).is_some()) {
                    self.limits.check("the nesting", "nesting_max", depth + 1, self.limits.nesting_max)?;
                    inner.push((child, self.joined(&prefix, &name)? + ".", depth + 1));
                }
            }
            // The stack gives back what was put there last, and the first module comes first.
            waiting.extend(inner.into_iter().rev());
        }
        Ok(last_of_each(tensors))
    }

    /// Parameters, buffers and modules of a module, by name.
    fn members(&mut self, module: Id) -> Result<Vec<(Cow<'a, str>, Id)>, Over> {
        let Some(state) = state(self.arena, module) else { return Ok(Vec::new()) };
        // A module may be met again under any number of names, and finding its parts takes
        // a look at each attribute.
        self.steps += self.arena.entries(state).map_or(0, |attributes| attributes.len() as u64);
        self.step()?;
        if is_script(self.arena, module) {
            return Ok(self.children(state));
        }
        // `state_dict()` leaves these out, as `register_buffer(..., persistent=False)` says, and a model that
        // was saved whole has them.
        let transient = self.arena.entry(state, "_non_persistent_buffers_set");
        let transient = transient.map(|set| self.texts(set)).unwrap_or_default();
        self.steps += transient.len() as u64;
        let mut members = Vec::new();
        // The order of `state_dict()`: a module's parameters, its buffers, then the modules within it.
        // Without a config.json the layers may have to be told by that order (`inferred`).
        for part in ["_parameters", "_buffers", "_modules"] {
            let children = self.arena.entry(state, part).map(|part| self.children(part)).unwrap_or_default();
            let kept = children
                .into_iter()
                .filter(|(name, _)| part != "_buffers" || !transient.contains(name.as_ref()));
            members.extend(kept);
        }
        Ok(members)
    }

    /// The texts in a set: a list, or the call `set([...])` of protocols before 4. An
    /// attribute's name is short.
    fn texts(&self, set: Id) -> HashSet<&'a str> {
        let elements = match self.arena.get(set) {
            Value::Object(object) => {
                let first = self.arena.elements(object.args).and_then(|args| args.first().copied());
                first.and_then(|list| self.arena.elements(list)).unwrap_or_default()
            }
            _ => self.arena.elements(set).unwrap_or_default(),
        };
        elements
            .iter()
            .filter_map(|&element| self.arena.str(element))
            .filter(|text| text.len() < 256)
            .collect()
    }

    fn step(&mut self) -> Result<(), Over> {
        self.steps += 1;
        self.limits.check("the search for tensors", "walk_steps_max", self.steps, self.limits.walk_steps_max)
    }

    fn count_tensor(&mut self) -> Result<(), Over> {
        self.tensors += 1;
        self.limits.check("the number of tensors", "tensors_max", self.tensors, self.limits.tensors_max)
    }

    /// `prefix` and `name` together, unless that is too long: the file may repeat one
    /// long key at no cost to itself.
    fn joined(&mut self, prefix: &str, name: &str) -> Result<String, Over> {
        let bytes = (prefix.len() + name.len()) as u64;
        self.limits.check("a name", "name_bytes_max", bytes, self.limits.name_bytes_max)?;
        self.names_bytes += bytes;
        self.limits.check("all names", "names_bytes_max", self.names_bytes, self.limits.names_bytes_max)?;
        Ok(format!("{prefix}{name}"))
    }
}

fn key_or_root(key: String) -> String {
    if key.is_empty() { ROOT_KEY.to_owned() } else { key }
}

/// Of equal names the last one counts, at the place of the first, as in a Python dict.
fn last_of_each(tensors: Vec<(String, Id)>) -> Vec<(String, Id)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<(String, Id)> = Vec::with_capacity(tensors.len());
    for (name, id) in tensors {
        match places.get(&name) {
            Some(&place) => kept[place].1 = id,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, id));
            }
        }
    }
    kept
}

/// What an optimizer's `state_dict()` looks like: its moments are tensors, and no model's.
fn is_optimizer(arena: &Arena<'_>, id: Id) -> bool {
    matches!(arena.get(id), Value::Dict(_))
        && arena.entry(id, "state").is_some()
        && arena.entry(id, "param_groups").is_some()
}

fn module_kind(arena: &Arena<'_>, id: Id) -> Option<&'static str> {
    let state = state(arena, id)?;
    if is_script(arena, id) {
        return Some("TorchScript module");
    }
    let has = |part| arena.entry(state, part).is_some();
    (has("_parameters") && has("_modules")).then_some("whole module")
}

/// The attributes of an object.
fn state(arena: &Arena<'_>, id: Id) -> Option<Id> {
    match arena.get(id) {
        Value::Object(object) => object.state,
        _ => None,
    }
}

/// Whether the class of `id` was compiled by TorchScript: all of its attributes are
/// parameters, buffers or modules.
fn is_script(arena: &Arena<'_>, id: Id) -> bool {
    let Value::Object(object) = arena.get(id) else { return false };
    let class = arena.global(object.callee);
    class.is_some_and(|(module, _)| module == "__torch__" || module.starts_with("__torch__."))
}
