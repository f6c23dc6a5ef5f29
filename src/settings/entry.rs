//! One value at its key: what it is asked to be, or the error that names it.

use std::ops::RangeBounds;
use std::time::Duration;

use super::number::{Number, expected};
use super::tree::A_TABLE;
use super::{Setting, SettingError, Table, Value};

/// A value and the key it stands at.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    key: String,
    setting: &'a Setting,
}

impl<'a> Entry<'a> {
    /// The value `setting` at `key`, which is empty for the whole.
    pub fn new(key: impl Into<String>, setting: &'a Setting) -> Self {
        Self { key: key.into(), setting }
    }

    /// The key, with those of the tables it stands in.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    pub fn setting(&self) -> &'a Setting {
        self.setting
    }

    /// A number within `range`.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn number<T: Number>(&self, range: impl RangeBounds<T>) -> Result<T, SettingError> {
        let number = match &self.setting.value {
            Value::Text(text) if self.setting.origin.is_text_alone() => T::parse(text),
            value => T::of(value),
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| self.wrong(expected(&range)))
    }

    /// True or false.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn flag(&self) -> Result<bool, SettingError> {
        let flag = match &self.setting.value {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) if self.setting.origin.is_text_alone() => match text.to_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => Some(true),
                "false" | "0" | "off" | "no" => Some(false),
                _ => None,
            },
            _ => None,
        };
        flag.ok_or_else(|| self.wrong("true or false"))
    }

    /// Text.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text(&self) -> Result<&'a str, SettingError> {
        self.text_or("text")
    }

    /// Text, which is `expected` to be something.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text_or(&self, expected: &str) -> Result<&'a str, SettingError> {
        match &self.setting.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(expected)),
        }
    }

    /// What `parse` makes of a text, unless it makes nothing of it.
    ///
    /// # Errors
    /// When something else stands there than is `expected`.
    pub fn parsed<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, SettingError> {
        parse(self.text_or(expected)?).ok_or_else(|| self.wrong(expected))
    }

    /// One of `known` names, of which each stands for a value.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn choice<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, SettingError> {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let expected = match names[..] {
            [name] => name.to_owned(),
            _ => format!("one of {}", names.join(", ")),
        };
        let Value::Text(found) = &self.setting.value else {
            return Err(self.wrong(format!("text: {expected}")));
        };
        match known.iter().find(|(name, _)| name == found) {
            Some((_, value)) => Ok(*value),
            None => Err(self.wrong(expected).suggesting(found, names)),
        }
    }

    /// A time in milliseconds.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn milliseconds(&self, range: impl RangeBounds<f64>) -> Result<Duration, SettingError> {
        self.time(range, 1e3)
    }

    /// A time in seconds.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn seconds(&self, range: impl RangeBounds<f64>) -> Result<Duration, SettingError> {
        self.time(range, 1.0)
    }

    fn time(&self, range: impl RangeBounds<f64>, per_second: f64) -> Result<Duration, SettingError> {
        let number = self.number((range.start_bound().cloned(), range.end_bound().cloned()))?;
        Duration::try_from_secs_f64(number / per_second)
            .map_err(|_| self.wrong(format!("{} that is a time", expected(&range))))
    }

    /// The values of a list.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn items(&self) -> Result<impl ExactSizeIterator<Item = Entry<'a>> + use<'a>, SettingError> {
        let Value::List(items) = &self.setting.value else { return Err(self.wrong("a list")) };
        let key = self.key.clone();
        Ok(items.iter().enumerate().map(move |(at, item)| Entry::new(format!("{key}[{at}]"), item)))
    }

    /// The values of a table whose keys are names that somebody has given.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn named(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = (&'a str, Entry<'a>)> + use<'a>, SettingError> {
        let entries: &'a [_] = match &self.setting.value {
            Value::Table(entries) => entries,
            Value::Nothing => &[],
            _ => return Err(self.wrong(A_TABLE)),
        };
        let key = self.key.clone();
        Ok(entries.iter().map(move |(name, setting)| (name.as_str(), Entry::new(join(&key, name), setting))))
    }

    /// A table.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn table(&self) -> Result<Table<'a>, SettingError> {
        Table::of(self.setting, self.key.as_str())
    }

    /// The error for another value than is `expected`.
    pub fn wrong(&self, expected: impl Into<String>) -> SettingError {
        let Setting { origin, .. } = self.setting;
        SettingError::wrong(origin.clone(), self.key.as_str(), self.setting.describe(), expected)
    }

    /// The error for a value that cannot be used, in words.
    pub fn invalid(&self, problem: impl Into<String>) -> SettingError {
        SettingError::new(self.setting.origin.clone(), self.key.as_str(), problem)
    }
}

/// The key of what stands at `key` in the table at `path`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
