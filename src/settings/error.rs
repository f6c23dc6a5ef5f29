//! A setting that cannot be used: where it stands, what was found and what was expected.

use std::fmt;

use super::{Origin, environment, tree};
use crate::suggestion;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// Where it was written; of something that is missing, the table that lacks it.
    pub origin: Origin,
    /// The key, with those of the tables it stands in, such as `layers[2].in`; empty for the whole.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
    /// The name that was probably meant.
    pub suggestion: Option<Box<str>>,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Nobody asks for such a key.
    UnknownKey {
        /// The keys that are asked for.
        known: Vec<&'static str>,
    },
    /// Another value stands there than was expected.
    Wrong {
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Anything else, in words.
    Other(String),
}

impl SettingError {
    /// An error in words.
    pub fn new(origin: Origin, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin, key: key.into(), problem: Problem::Other(problem.into()), suggestion: None }
    }

    /// An error for a value that is not what was expected.
    pub(crate) fn wrong(
        origin: Origin,
        key: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        let problem = Problem::Wrong { found: found.into(), expected: expected.into() };
        Self { origin, key: key.into(), problem, suggestion: None }
    }

    /// Adds the one of `known` that `name` was probably meant to be, where it looks like a slip of it.
    pub fn suggesting<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self { suggestion: suggestion::meant(name, known).map(Box::from), ..self }
    }

    /// The line, from 1, of what stands in a text.
    pub fn line(&self) -> Option<usize> {
        self.origin.line()
    }

    /// Whether nobody asks for such a key.
    pub fn is_unknown_key(&self) -> bool {
        matches!(self.problem, Problem::UnknownKey { .. })
    }

    /// Whether something else was found where a table belongs.
    pub fn wants_table(&self) -> bool {
        matches!(&self.problem, Problem::Wrong { expected, .. } if expected == tree::A_TABLE)
    }

    /// Whether a table was found where something else belongs.
    pub fn has_found_table(&self) -> bool {
        matches!(&self.problem, Problem::Wrong { found, .. } if found == tree::A_TABLE)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { known } => match known[..] {
                [] => f.write_str("unknown key, expected none"),
                [key] => write!(f, "unknown key, expected {key}"),
                _ => write!(f, "unknown key, expected one of {}", known.join(", ")),
            },
            Self::Wrong { found, expected } => write!(f, "found {found}, expected {expected}"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, problem, suggestion } = self;
        match (origin, key.as_str()) {
            (Origin::Code, "") => {}
            (Origin::Code, key) => write!(f, "key `{key}`: ")?,
            // A flag is a key, and so is a variable.
            (_, "") | (Origin::Flag(_), _) => write!(f, "{origin}: ")?,
            (Origin::Variable(name), key) if environment::is_for(name, key) => write!(f, "{origin}: ")?,
            (_, key) => write!(f, "{origin}, key `{key}`: ")?,
        }
        problem.fmt(f)?;
        match suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettingError {}
