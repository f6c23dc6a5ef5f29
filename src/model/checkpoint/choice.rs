//! Which of a checkpoint's sets of tensors is meant: the only one, that at a key, or several joined.

use std::collections::HashSet;

use super::CheckpointError;
use super::limits::Limits;
use super::pickle::Pickle;
use super::state_dict::{self, ROOT_KEY, Set};
use super::value::{Arena, Id, Shortened};
use super::view::{self, View};

/// What data-parallel training and compilation put before every name.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];
/// Keys under which training scripts keep the model beside tensors of their own.
const MODEL_KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];
/// The set of tensors that was meant.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// By name, in the model's order.
    pub tensors: Vec<(String, View<'a>)>,
    /// What it is and where it was, in words.
    pub place: String,
}

/// Finds the tensors of the set at the only one of `keys`, or of the only set there is; of several keys those
/// of all of their sets, each under its key as a prefix.
pub fn find<'a>(
    pickle: &Pickle<'a>,
    keys: &[String],
    limits: &Limits,
) -> Result<Chosen<'a>, CheckpointError> {
    let arena = &pickle.arena;
    let mut sets = state_dict::sets(pickle, limits)?;
    if sets.is_empty() {
        return Err(CheckpointError::NoTensors { found: arena.describe(pickle.root) });
    }
    if let [] | [_] = keys {
        let at = choose(arena, &sets, keys.first().map(String::as_str), limits)?;
        return chosen(arena, sets.swap_remove(at), "", limits);
    }
    let mut joined = Chosen { tensors: Vec::new(), place: String::new() };
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].contains(key) {
            return Err(CheckpointError::KeyTwice { key: key.clone() });
        }
        let place = choose(arena, &sets, Some(key), limits)?;
        let Set { key: place_key, kind, tensors } = &mut sets[place];
        let set = Set { key: place_key.clone(), kind, tensors: std::mem::take(tensors) };
        let prefix = if key == ROOT_KEY { String::new() } else { format!("{key}.") };
        let set = chosen(arena, set, &prefix, limits)?;
        joined.tensors.extend(set.tensors);
        joined.place = if at == 0 { set.place } else { format!("{}, {}", joined.place, set.place) };
    }
    let mut names = HashSet::new();
    match joined.tensors.iter().find(|(name, _)| !names.insert(name)) {
        Some((twice, _)) => Err(CheckpointError::Tensor {
            name: twice.clone(),
            problem: "two of the sets have it".to_owned(),
        }),
        None => Ok(joined),
    }
}

/// The tensors of `set`, as they can be read, their names behind `prefix`.
fn chosen<'a>(
    arena: &Arena<'a>,
    set: Set,
    prefix: &str,
    limits: &Limits,
) -> Result<Chosen<'a>, CheckpointError> {
    let place = if set.key == ROOT_KEY {
        set.kind.to_owned()
    } else {
        format!("{} at {}", set.kind, Shortened(&set.key))
    };
    let mut tensors = Vec::with_capacity(set.tensors.len());
    for (name, id) in strip_prefixes(set.tensors) {
        let name = format!("{prefix}{name}");
        let bytes = name.len() as u64;
        limits.check("a name", "name_bytes_max", bytes, limits.name_bytes_max)?;
        let view = view::view(arena, id, limits).map_err(|problem| problem.of(&name))?;
        tensors.push((name, view));
    }
    Ok(Chosen { tensors, place })
}

fn choose(
    arena: &Arena<'_>,
    sets: &[Set],
    key: Option<&str>,
    limits: &Limits,
) -> Result<usize, CheckpointError> {
    let listed = || {
        const SETS_MAX: usize = 12;
        let sets = sets.iter().take(SETS_MAX);
        sets.map(|set| set.describe(arena, limits)).collect()
    };
    if let Some(key) = key {
        let found = sets.iter().position(|set| set.key == key);
        return found.ok_or_else(|| CheckpointError::NoSuchKey { key: key.to_owned(), sets: listed() });
    }
    // A lone score or step count beside the weights is no model.
    let mut likely: Vec<usize> =
        (0..sets.len()).filter(|&at| holds_weights(arena, &sets[at], limits)).collect();
    if likely.is_empty() {
        likely = (0..sets.len()).collect();
    }
    if likely.len() == 2
        && sets[likely[0]].key == ROOT_KEY
        && MODEL_KEYS.contains(&sets[likely[1]].key.as_str())
    {
        // Tensors of the training script's own beside its model.
        return Ok(likely[1]);
    }
    match likely.as_slice() {
        [only] => Ok(*only),
        _ => Err(CheckpointError::Ambiguous { sets: listed() }),
    }
}

fn holds_weights(arena: &Arena<'_>, set: &Set, limits: &Limits) -> bool {
    set.tensors.iter().any(|(_, id)| {
        // A tensor that cannot be read may be a weight: it must not vanish without an error.
        view::view(arena, *id, limits).map_or(true, |view| view.dtype.is_float() && !view.shape.is_empty())
    })
}

fn strip_prefixes(mut tensors: Vec<(String, Id)>) -> Vec<(String, Id)> {
    while let Some(prefix) =
        PREFIXES.into_iter().find(|&prefix| tensors.iter().all(|(name, _)| name.starts_with(prefix)))
    {
        tensors.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::super::pickle;
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A dict of protocol 2, without its header.
    fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
        [&b"}("[..], &entries.collect::<Vec<_>>(), b"u"].concat()
    }

    /// A tensor of two numbers, or of one that has no shape.
    fn tensor(is_number: bool) -> Vec<u8> {
        let (shape, stride) =
            if is_number { (&b")"[..], &b")"[..]) } else { (&b"K\x02\x85"[..], &b"K\x01\x85"[..]) };
        let storage =
            [b"(", &text("storage")[..], b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x02tQ"];
        let hooks = b"\x89ccollections\nOrderedDict\n)R";
        [
            &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
            &storage.concat(),
            b"K\x00",
            shape,
            stride,
            hooks,
            b"tR",
        ]
        .concat()
    }

    #[test]
    fn a_number_beside_sets_of_weights_is_listed_by_its_name() {
        let weights = || dict(&[("weight", tensor(false))]);
        let metrics = dict(&[("best", tensor(true)), ("last", tensor(true))]);
        let all = dict(&[("loss", tensor(true)), ("a", weights()), ("b", weights()), ("metrics", metrics)]);
        let file = [b"\x80\x02", &all[..], b"."].concat();
        let limits = Limits::default();
        let pickle = pickle::read(&file, &limits).unwrap();
        let Err(CheckpointError::Ambiguous { sets }) = find(&pickle, &[], &limits) else {
            panic!("it chooses one")
        };
        assert_eq!(
            sets,
            [
                "loss (1 number)",
                "a (state dict, 1 tensor: weight)",
                "b (state dict, 1 tensor: weight)",
                "metrics.best, last (2 numbers)"
            ]
        );
        assert_eq!(find(&pickle, &["b".to_owned()], &limits).unwrap().place, "state dict at b");
        let both = find(&pickle, &["b".to_owned(), "a".to_owned()], &limits).unwrap();
        let names: Vec<_> = both.tensors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            (names.as_slice(), both.place.as_str()),
            (&["b.weight", "a.weight"][..], "state dict at b, state dict at a")
        );
        let twice = find(&pickle, &["b".to_owned(), "b".to_owned()], &limits).unwrap_err();
        assert_eq!(twice, CheckpointError::KeyTwice { key: "b".to_owned() });
    }
}
