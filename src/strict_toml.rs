//! TOML read strictly: a wrong or misspelt key is an error that names line, key,
//! what was found and what is expected.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::suggestion;

/// What is wrong with a TOML text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlError {
    /// Line, from 1.
    pub line: usize,
    /// The key with its table, as `table.key`; empty when the text does not parse so far.
    pub key: String,
    /// What was found and what was expected.
    pub problem: String,
    /// The known key that a misspelt one most resembles.
    pub suggestion: Option<String>,
}

impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.key.is_empty() {
            write!(f, ", key `{}`", self.key)?;
        }
        write!(f, ": {}", self.problem)?;
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TomlError {}

/// Reads `text` as a `T`, which should deny unknown fields.
///
/// # Errors
/// [`TomlError`] for the first thing that is wrong.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let problem = error.message().trim().to_owned();
        let suggestion = suggest(&problem);
        TomlError { line: line_of(text, at), key: key_at(text, at), problem, suggestion }
    })
}

/// The error for a value that parses but makes no sense; `key` is `table.key` as the text spells it.
pub fn invalid(text: &str, key: &str, problem: impl Into<String>) -> TomlError {
    TomlError { line: line_of_key(text, key), key: key.to_owned(), problem: problem.into(), suggestion: None }
}

fn suggest(problem: &str) -> Option<String> {
    unknown_key(problem)?.1.map(str::to_owned)
}

/// The unknown key that serde's `problem` is about, and the known one that it most
/// resembles; none for other problems.
///
/// serde words it as: unknown field `x`, expected one of `a`, `b`.
pub fn unknown_key(problem: &str) -> Option<(&str, Option<&str>)> {
    let mut names = problem.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    Some((unknown, suggestion::meant(unknown, names)))
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// The key on the line that holds byte `at`, with the table it stands in.
fn key_at(text: &str, at: usize) -> String {
    let line = line_of(text, at);
    let mut table = "";
    for (number, content) in text.lines().enumerate().take(line) {
        let content = content.trim();
        if let Some(name) = table_name(content) {
            table = name;
        } else if number + 1 == line
            && let Some((key, _)) = content.split_once('=')
        {
            return join(table, key.trim());
        }
    }
    table.to_owned()
}

fn line_of_key(text: &str, key: &str) -> usize {
    let mut table = "";
    for (number, content) in text.lines().enumerate() {
        let content = content.trim();
        let found = match table_name(content) {
            Some(name) => {
                table = name;
                name == key
            }
            None => content.split_once('=').is_some_and(|(name, _)| join(table, name.trim()) == key),
        };
        if found {
            return number + 1;
        }
    }
    // A key that is not written out stands in its table, or its value was computed: the
    // nearest parent says most.
    key.rsplit_once('.').map_or(1, |(parent, _)| line_of_key(text, parent))
}

fn table_name(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[')?.split(']').next()?;
    Some(inner.trim_start_matches('[').trim())
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "server")]
        _server: Server,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Server {
        #[serde(rename = "port")]
        _port: u16,
    }

    #[test]
    fn a_misspelt_key_is_named_with_line_and_suggestion() {
        let error = parse::<Sample>("# comment\n[server]\nprt = 1\n").unwrap_err();
        assert_eq!((error.line, error.key.as_str()), (3, "server.prt"));
        assert_eq!(error.suggestion.as_deref(), Some("port"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_line_and_key() {
        let error = parse::<Sample>("[server]\nport = \"high\"\n").unwrap_err();
        assert_eq!((error.line, error.key.as_str()), (2, "server.port"));
        assert!(error.problem.contains("high") && error.problem.contains("u16"), "{error}");
    }

    #[test]
    fn a_senseless_value_is_found_again_by_its_key() {
        let text = "a = 1\n[server]\n# port\nport = 0\n";
        assert_eq!(invalid(text, "server.port", "must not be 0").line, 4);
        assert_eq!(invalid(text, "server.missing", "is missing").line, 2);
    }
}
