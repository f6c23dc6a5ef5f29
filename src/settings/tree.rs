//! Settings as a tree, in which every value knows where it came from.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::text;

/// A value, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Where it came from.
    pub origin: Origin,
    /// What stands there.
    pub value: Value,
}

/// What a setting may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, which counts as absent.
    Nothing,
    /// True or false.
    Flag(bool),
    /// A whole number.
    Whole(i128),
    /// Another number.
    Number(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Setting>),
    /// Values by name, in the order in which they were written; no name comes twice.
    Table(Vec<(String, Setting)>),
}

/// Where a value came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// From nobody who wrote: a default, or something that a program has made.
    #[default]
    Code,
    /// A text.
    Line {
        /// The file's name, for errors; none where the text is no file.
        file: Option<Arc<str>>,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(Arc<str>),
    /// A flag on the command line, such as `--listen`.
    Flag(&'static str),
}

impl Setting {
    /// A value that nobody wrote.
    pub fn of(value: Value) -> Self {
        Self { origin: Origin::Code, value }
    }

    /// What stands at `key` of a table.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Table(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, setting)| setting)
    }

    /// What stands at the end of a path through tables, or as far along it as there is anything.
    pub fn nearest(&self, path: &[&str]) -> &Self {
        match path.split_first().and_then(|(key, rest)| Some((self.get(key)?, rest))) {
            Some((setting, rest)) => setting.nearest(rest),
            None => self,
        }
    }

    /// Puts `setting` at the end of a path through tables. Tables that are not there are made, in place of
    /// what else stands there.
    pub fn set<'p>(&mut self, path: impl IntoIterator<Item = &'p str>, setting: Self) {
        let mut at = self;
        for key in path {
            if !matches!(at.value, Value::Table(_)) {
                *at = Self { origin: setting.origin.clone(), value: Value::Table(Vec::new()) };
            }
            let Value::Table(entries) = &mut at.value else { return };
            let known = entries.iter().position(|(name, _)| name == key);
            let index = known.unwrap_or_else(|| {
                let nothing = Self { origin: setting.origin.clone(), value: Value::Nothing };
                entries.push((key.to_owned(), nothing));
                entries.len() - 1
            });
            at = &mut entries[index].1;
        }
        *at = setting;
    }

    /// Whether this says what `other` says, wherever each of them does.
    pub fn says_as(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.says_as(other))
            }
            (Value::Table(one), Value::Table(other_entries)) => {
                let has = |(name, setting): &(String, Self)| {
                    other.get(name).is_some_and(|other| setting.says_as(other))
                };
                one.len() == other_entries.len() && one.iter().all(has)
            }
            (one, other) => one == other,
        }
    }

    /// What it is, for an error that says what was found.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Nothing => "nothing".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Whole(whole) => whole.to_string(),
            // `Debug` writes a very large or small one with its exponent, `Display` with all of its digits.
            Value::Number(number) if number.fract() != 0.0 || number.abs() >= 1e16 => format!("{number:?}"),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => format!("{:?}", text::excerpt(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => A_TABLE.to_owned(),
        }
    }
}

/// How a table is described.
pub const A_TABLE: &str = "a table";

impl Origin {
    /// The line, from 1, of what stands in a text.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// Whether all that can be written there is text, which is a number or true where one is asked for.
    pub(crate) fn is_text_alone(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => Ok(()),
            Self::Line { file: Some(file), line } => write!(f, "{file}, line {line}"),
            Self::Line { file: None, line } => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "environment, {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The entries of a table while it is read: no name may come twice.
#[derive(Default)]
pub struct Entries {
    entries: Vec<(String, Setting)>,
    lines: HashMap<String, usize>,
}

impl Entries {
    /// Adds a value, which stands on `line`.
    ///
    /// # Errors
    /// A sentence, when the name is there already.
    pub fn add(&mut self, name: String, line: usize, setting: Setting) -> Result<(), String> {
        match self.lines.insert(name.clone(), line) {
            Some(first) => Err(format!("the key `{name}` is there already, on line {first}")),
            None => {
                self.entries.push((name, setting));
                Ok(())
            }
        }
    }

    pub fn into_value(self) -> Value {
        Value::Table(self.entries)
    }
}
