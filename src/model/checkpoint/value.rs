//! The inert values that a pickle builds, in an arena: they refer to each other by
//! index, so that sharing costs nothing.

use std::fmt;

/// A value's place in its arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// A value. Text and bytes stay in the file.
#[derive(Debug)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: its little-endian bytes.
    BigInt(&'a [u8]),
    Float,
    Str(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    /// A list or a set.
    List(Vec<Id>),
    /// A dict or an `OrderedDict`, in the order in which it was filled; of equal keys the last one counts.
    Dict(Vec<(Id, Id)>),
    /// The name of a class or a function: never looked up, never called.
    Global {
        module: &'a str,
        name: &'a str,
    },
    /// What a persistent id stands for: the id itself.
    Persistent(Id),
    /// A call that was asked for and not made, and what was to be done with its result.
    Object(Box<Object>),
}

/// A call that was asked for and not made.
#[derive(Debug)]
pub struct Object {
    pub callee: Id,
    pub args: Id,
    /// What BUILD gave it: usually the dict of its attributes.
    pub state: Option<Id>,
    /// What was appended to it.
    pub items: Vec<Id>,
    /// What was stored in it by key.
    pub entries: Vec<(Id, Id)>,
}

/// Every value of one pickle.
#[derive(Debug, Default)]
pub struct Arena<'a>(Vec<Value<'a>>);

impl<'a> Arena<'a> {
    /// Keeps `value`. The number of opcodes is bounded far below 2^32, and each adds at most two values.
    pub fn add(&mut self, value: Value<'a>) -> Id {
        let id = u32::try_from(self.0.len()).expect("opcodes_max keeps the arena below 2^32 values");
        self.0.push(value);
        Id(id)
    }

    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.0[id.0 as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.0[id.0 as usize]
    }

    /// Every value's place.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..u32::try_from(self.0.len()).unwrap_or(u32::MAX)).map(Id)
    }

    pub fn str(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            // A dict that Python 2 pickled, read by Python 3 as bytes.
            Value::Bytes(bytes) if bytes.len() < 4_096 => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of a tuple or a list.
    pub fn elements(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(elements) | Value::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The entries of a dict, or of an object that behaves as one.
    pub fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) if !object.entries.is_empty() => Some(&object.entries),
            _ => None,
        }
    }

    /// The value under the text `key`; the last one of several.
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        self.entries(id)?
            .iter()
            .rev()
            .find(|(found, _)| self.str(*found) == Some(key))
            .map(|(_, value)| *value)
    }

    /// The name of a class or a function, as `module` and `name`.
    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// The value in a few words, for an error.
    pub fn describe(&self, id: Id) -> String {
        match self.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Int(_) | Value::BigInt(_) => "an integer".to_owned(),
            Value::Float => "a number".to_owned(),
            Value::Str(_) => "a text".to_owned(),
            Value::Bytes(_) => "a byte string".to_owned(),
            Value::Tuple(elements) => format!("a tuple of {}", elements.len()),
            Value::List(elements) => format!("a list of {}", elements.len()),
            Value::Dict(entries) if entries.is_empty() => "an empty dict".to_owned(),
            Value::Dict(entries) => format!("a dict with keys {}", self.keys(entries)),
            Value::Global { module, name } => format!("the name {}", Shortened(&format!("{module}.{name}"))),
            Value::Persistent(_) => "a storage".to_owned(),
            Value::Object(object) => match self.global(object.callee) {
                Some((module, name)) => {
                    format!("an object of {} (not called)", Shortened(&format!("{module}.{name}")))
                }
                None => "an object of unknown class".to_owned(),
            },
        }
    }

    fn keys(&self, entries: &[(Id, Id)]) -> String {
        const KEYS_MAX: usize = 8;
        let name = |id| self.str(id).map_or_else(|| self.describe_key(id), |key| Shortened(key).to_string());
        let mut keys: Vec<_> = entries.iter().take(KEYS_MAX).map(|(key, _)| name(*key)).collect();
        if entries.len() > KEYS_MAX {
            keys.push(format!("and {} more", entries.len() - KEYS_MAX));
        }
        keys.join(", ")
    }

    /// A key that is no text.
    pub fn describe_key(&self, id: Id) -> String {
        self.int(id).map_or_else(|| "?".to_owned(), |key| key.to_string())
    }
}

/// Text from a file in an error: without control characters, and not longer than a line.
pub struct Shortened<'a>(pub &'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS_MAX: usize = 80;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(CHARACTERS_MAX) {
            write!(f, "{}", if character.is_control() { '\u{fffd}' } else { character })?;
        }
        if characters.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}
