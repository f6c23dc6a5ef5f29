//! Reads a table key by key, and knows afterwards which keys nobody asked for.

use std::fmt;

use super::{Setting, Value};
use crate::suggestion;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// Line, from 1; 0 where the text is no longer known.
    pub line: usize,
    /// The key, with those of the tables it stands in.
    pub key: String,
    /// What was found and what was expected.
    pub problem: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "key `{}`: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for SettingError {}

/// How the problem with a key begins that nobody asks for.
const UNKNOWN_KEY: &str = "unknown key";

impl SettingError {
    /// Whether nobody asks for such a key. With the known one that was probably meant.
    pub fn unknown_key(&self) -> Option<Option<&str>> {
        let rest = self.problem.strip_prefix(UNKNOWN_KEY)?;
        let (_, meant) = rest.split_once("; did you mean `").unzip();
        Some(meant.and_then(|meant| meant.split('`').next()))
    }
}

/// A table under way.
pub struct Fields<'a> {
    path: String,
    line: usize,
    entries: &'a [(String, Setting)],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The table at `path`, which is empty for the whole file.
    ///
    /// # Errors
    /// When it is no table.
    pub fn of(setting: &'a Setting, path: impl Into<String>) -> Result<Self, SettingError> {
        let path = path.into();
        let entries: &[_] = match &setting.value {
            Value::Table(entries) => entries,
            Value::Nothing => &[],
            _ => return Err(mismatch(setting, path, "a table")),
        };
        Ok(Self { path, line: setting.line, entries, asked: Vec::new() })
    }

    /// What stands at `key`; nothing counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Setting> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let found = self.entries.iter().find(|(name, _)| name == key)?;
        (found.1.value != Value::Nothing).then_some(&found.1)
    }

    /// A number.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn number(&mut self, key: &'static str) -> Result<Option<f64>, SettingError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        match setting.value {
            Value::Number(number) => Ok(Some(number)),
            Value::Whole(whole) => Ok(Some(whole as f64)),
            _ => Err(mismatch(setting, self.join(key), "a number")),
        }
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn whole(&mut self, key: &'static str) -> Result<Option<u64>, SettingError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let whole = match setting.value {
            Value::Whole(whole) => u64::try_from(whole).ok(),
            // The replaced system reads 60.0 as 60.
            Value::Number(number) if number.fract() == 0.0 && (0.0..9e15).contains(&number) => {
                Some(number as u64)
            }
            _ => None,
        };
        whole.map(Some).ok_or_else(|| mismatch(setting, self.join(key), "a whole number of at least 0"))
    }

    /// Text.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, SettingError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        match &setting.value {
            Value::Text(text) => Ok(Some(text)),
            _ => Err(mismatch(setting, self.join(key), "text")),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>, SettingError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        match setting.value {
            Value::Flag(flag) => Ok(Some(flag)),
            _ => Err(mismatch(setting, self.join(key), "true or false")),
        }
    }

    /// A list.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn list(&mut self, key: &'static str) -> Result<&'a [Setting], SettingError> {
        let Some(setting) = self.get(key) else { return Ok(&[]) };
        match &setting.value {
            Value::List(items) => Ok(items),
            _ => Err(mismatch(setting, self.join(key), "a list")),
        }
    }

    /// A table within this one.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn table(&mut self, key: &'static str) -> Result<Option<Self>, SettingError> {
        let path = self.join(key);
        self.get(key).map(|setting| Self::of(setting, path)).transpose()
    }

    /// One of `known` names, of which each stands for a value.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&'static str, T)],
    ) -> Result<Option<T>, SettingError> {
        let Some(found) = self.text(key)? else { return Ok(None) };
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == found) {
            return Ok(Some(*value));
        }
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let hint = hint(found, &names);
        Err(self.invalid(key, format!("found {found:?}, expected one of {}{hint}", names.join(", "))))
    }

    /// What a table must say at `key`.
    ///
    /// # Errors
    /// When it does not.
    pub fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, SettingError> {
        value.ok_or_else(|| self.invalid(key, "is missing"))
    }

    /// The error for what stands at `key`, or should.
    pub fn invalid(&self, key: &str, problem: impl Into<String>) -> SettingError {
        let line = self.entries.iter().find(|(name, _)| name == key).map_or(self.line, |(_, at)| at.line);
        SettingError { line, key: self.join(key), problem: problem.into() }
    }

    /// The keys that nobody has asked for so far, with their lines.
    pub fn others(&self) -> impl Iterator<Item = (&'a str, usize)> {
        let unasked = |(name, _): &&(String, Setting)| !self.asked.contains(&name.as_str());
        self.entries.iter().filter(unasked).map(|(name, setting)| (name.as_str(), setting.line))
    }

    /// The table's own place.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line it begins on.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When there is a key that nobody asked for.
    pub fn finish(self) -> Result<(), SettingError> {
        self.refuse_others()
    }

    /// The same before the end: where one key may stand for another, a misspelt one is
    /// named rather than the other missed.
    ///
    /// # Errors
    /// When there is a key that nobody has asked for so far.
    pub fn refuse_others(&self) -> Result<(), SettingError> {
        self.others().next().map_or(Ok(()), |(other, line)| Err(self.unknown(other, line, &self.asked)))
    }

    /// The same before the beginning: so that no key is missed where the table has no business to be there.
    ///
    /// # Errors
    /// When there is a key that is none of those that can be asked for.
    pub fn refuse_unknown(&self, known: &[&'static str]) -> Result<(), SettingError> {
        let mut names = self.entries.iter().map(|(name, setting)| (name.as_str(), setting.line));
        let unknown = names.find(|(name, _)| !known.contains(name));
        unknown.map_or(Ok(()), |(name, line)| Err(self.unknown(name, line, known)))
    }

    fn unknown(&self, key: &str, line: usize, known: &[&'static str]) -> SettingError {
        let hint = hint(key, known);
        let problem = format!("{UNKNOWN_KEY}, expected one of {}{hint}", known.join(", "));
        SettingError { line, key: self.join(key), problem }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn mismatch(setting: &Setting, key: String, expected: &str) -> SettingError {
    let problem = format!("found {}, expected {expected}", setting.describe());
    SettingError { line: setting.line, key, problem }
}

fn hint(found: &str, known: &[&'static str]) -> String {
    suggestion::meant(found, known.iter().copied())
        .map(|known| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Setting {
        let entry = |name: &str, line, value| (name.to_owned(), Setting { line, value });
        let entries = vec![
            entry("rate", 2, Value::Whole(5)),
            entry("mdoel", 3, Value::Text("mmn".to_owned())),
            entry("empty", 4, Value::Nothing),
        ];
        Setting { line: 1, value: Value::Table(entries) }
    }

    #[test]
    fn a_key_that_nobody_asked_for_is_an_error_with_its_line() {
        let table = table();
        let mut fields = Fields::of(&table, "sensor").unwrap();
        assert_eq!(fields.number("rate").unwrap(), Some(5.0));
        assert_eq!((fields.text("model").unwrap(), fields.flag("empty").unwrap()), (None, None));
        assert_eq!(
            fields.required("model", None::<u8>).unwrap_err().to_string(),
            "line 1, key `sensor.model`: is missing"
        );
        assert_eq!(
            fields.finish().unwrap_err().to_string(),
            "line 3, key `sensor.mdoel`: unknown key, expected one of rate, model, empty; did you mean `model`?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named() {
        let table = table();
        let mut fields = Fields::of(&table, "").unwrap();
        assert_eq!(
            fields.text("rate").unwrap_err().to_string(),
            "line 2, key `rate`: found 5, expected text"
        );
        assert_eq!(fields.number("mdoel").unwrap_err().problem, "found \"mmn\", expected a number");
        let wrong = fields.choice("mdoel", &[("mm", 1), ("x", 2)]).unwrap_err();
        assert_eq!(wrong.problem, "found \"mmn\", expected one of mm, x; did you mean `mm`?");
        assert!(Fields::of(&Setting { line: 1, value: Value::Flag(true) }, "a").is_err());
    }
}
