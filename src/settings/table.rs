//! Reads a table key by key, and knows afterwards which keys nobody asked for.

use std::ops::RangeBounds;
use std::time::Duration;

use super::entry::join;
use super::number::Number;
use super::tree::A_TABLE;
use super::{Entry, Origin, Problem, Setting, SettingError, Value};
use crate::suggestion;

/// A table under way.
///
/// Methods with a place to put what they find leave it alone where the key is absent, so that what stands
/// there before is the default. The others, which begin with `find`, say whether there was anything.
///
/// ```text
/// let mut table = Table::of(&file, "")?;
/// table.number("batch_max", 1.., &mut config.batch_max)?;
/// table.flag("ordered", &mut config.ordered)?;
/// table.finish()?;
/// ```
#[derive(Debug)]
pub struct Table<'a> {
    path: String,
    origin: &'a Origin,
    entries: &'a [(String, Setting)],
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The table at `path`, which is empty for the whole.
    ///
    /// # Errors
    /// When it is no table.
    pub fn of(setting: &'a Setting, path: impl Into<String>) -> Result<Self, SettingError> {
        let path = path.into();
        let entries: &[_] = match &setting.value {
            Value::Table(entries) => entries,
            Value::Nothing => &[],
            _ => return Err(Entry::new(path, setting).wrong(A_TABLE)),
        };
        Ok(Self { path, origin: &setting.origin, entries, asked: Vec::new() })
    }

    /// What stands at `key`; nothing counts as absent.
    pub fn find(&mut self, key: &'static str) -> Option<Entry<'a>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let setting = self.setting(key).filter(|setting| setting.value != Value::Nothing)?;
        Some(Entry::new(join(&self.path, key), setting))
    }

    fn setting(&self, key: &str) -> Option<&'a Setting> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, setting)| setting)
    }

    /// Puts the number at `key` into its place.
    ///
    /// # Errors
    /// When something else stands there than a number within `range`.
    pub fn number<T: Number>(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<T>,
        into: &mut T,
    ) -> Result<(), SettingError> {
        put(self.find_number(key, range)?, into)
    }

    /// The number at `key`.
    ///
    /// # Errors
    /// When something else stands there than a number within `range`.
    pub fn find_number<T: Number>(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<T>,
    ) -> Result<Option<T>, SettingError> {
        self.find(key).map(|entry| entry.number(range)).transpose()
    }

    /// Puts true or false at `key` into its place.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn flag(&mut self, key: &'static str, into: &mut bool) -> Result<(), SettingError> {
        put(self.find_flag(key)?, into)
    }

    /// True or false at `key`.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn find_flag(&mut self, key: &'static str) -> Result<Option<bool>, SettingError> {
        self.find(key).map(|entry| entry.flag()).transpose()
    }

    /// Puts the text at `key` into its place.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text(&mut self, key: &'static str, into: &mut String) -> Result<(), SettingError> {
        put(self.find_text(key)?.map(str::to_owned), into)
    }

    /// The text at `key`.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn find_text(&mut self, key: &'static str) -> Result<Option<&'a str>, SettingError> {
        self.find(key).map(|entry| entry.text()).transpose()
    }

    /// What `parse` makes of the text at `key`.
    ///
    /// # Errors
    /// When something else stands there than is `expected`, of which `parse` makes nothing.
    pub fn find_parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.find(key).map(|entry| entry.parsed(expected, parse)).transpose()
    }

    /// Puts what the name at `key` stands for into its place.
    ///
    /// # Errors
    /// When something else stands there than one of the `known` names.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
        into: &mut T,
    ) -> Result<(), SettingError> {
        put(self.find_choice(key, known)?, into)
    }

    /// What the name at `key` stands for.
    ///
    /// # Errors
    /// When something else stands there than one of the `known` names.
    pub fn find_choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
    ) -> Result<Option<T>, SettingError> {
        self.find(key).map(|entry| entry.choice(known)).transpose()
    }

    /// Puts the milliseconds at `key` into their place.
    ///
    /// # Errors
    /// When something else stands there than a number within `range`.
    pub fn milliseconds(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<f64>,
        into: &mut Duration,
    ) -> Result<(), SettingError> {
        put(self.find(key).map(|entry| entry.milliseconds(range)).transpose()?, into)
    }

    /// Puts the milliseconds at `key` into their place, where 0 is for none.
    ///
    /// # Errors
    /// When something else stands there than a number of at least 0.
    pub fn milliseconds_or_none(
        &mut self,
        key: &'static str,
        into: &mut Option<Duration>,
    ) -> Result<(), SettingError> {
        let time = self.find(key).map(|entry| entry.milliseconds(0.0..)).transpose()?;
        put(time.map(|time| (!time.is_zero()).then_some(time)), into)
    }

    /// Puts the seconds at `key` into their place.
    ///
    /// # Errors
    /// When something else stands there than a number within `range`.
    pub fn seconds(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<f64>,
        into: &mut Duration,
    ) -> Result<(), SettingError> {
        put(self.find(key).map(|entry| entry.seconds(range)).transpose()?, into)
    }

    /// The values of the list at `key`.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn find_list(&mut self, key: &'static str) -> Result<Option<Vec<Entry<'a>>>, SettingError> {
        self.find(key).map(|entry| entry.items().map(Iterator::collect)).transpose()
    }

    /// The numbers of the list at `key`.
    ///
    /// # Errors
    /// When something else stands there, or a number that is not within `range`.
    pub fn find_numbers<T: Number>(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<T> + Clone,
    ) -> Result<Option<Vec<T>>, SettingError> {
        let Some(entry) = self.find(key) else { return Ok(None) };
        entry.items()?.map(|item| item.number(range.clone())).collect::<Result<_, _>>().map(Some)
    }

    /// The table at `key`.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn find_table(&mut self, key: &'static str) -> Result<Option<Self>, SettingError> {
        self.find(key).map(|entry| entry.table()).transpose()
    }

    /// The values by name of the table at `key`, in the order in which they were written.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn find_named(&mut self, key: &'static str) -> Result<Vec<(&'a str, Entry<'a>)>, SettingError> {
        self.find(key).map_or(Ok(Vec::new()), |entry| entry.named().map(Iterator::collect))
    }

    /// What a table must say at `key`, once it was looked for.
    ///
    /// # Errors
    /// When it does not: that it is missing, or the key that is probably a slip of it.
    pub fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, SettingError> {
        value.ok_or_else(|| self.missing(key, ""))
    }

    /// The error for what a table must say at `key` and does not, with what is `expected`, which may be
    /// empty; or for the key that is probably a slip of it.
    pub fn missing(&self, key: &'static str, expected: &str) -> SettingError {
        let slip = self.others().find(|(other, _)| suggestion::meant(other, [key]).is_some());
        if let Some((other, setting)) = slip {
            return self.unknown(other, setting, &self.asked);
        }
        let comma = if expected.is_empty() { "" } else { ", expected " };
        self.invalid(key, format!("is missing{comma}{expected}"))
    }

    /// The error for what stands at `key`, or should, in words.
    pub fn invalid(&self, key: &str, problem: impl Into<String>) -> SettingError {
        let origin = self.setting(key).map_or(self.origin, |setting| &setting.origin);
        SettingError::new(origin.clone(), join(&self.path, key), problem)
    }

    /// The keys that nobody has asked for so far, and what stands there.
    pub fn others(&self) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        let unasked = |(name, _): &&(String, Setting)| !self.asked.contains(&name.as_str());
        self.entries.iter().filter(unasked).map(|(name, setting)| (name.as_str(), setting))
    }

    /// The table's own key, with those of the tables it stands in.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the table was written.
    pub fn origin(&self) -> &'a Origin {
        self.origin
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When there is a key that nobody asked for.
    pub fn finish(self) -> Result<(), SettingError> {
        self.refuse_others()
    }

    /// Makes sure, once everything was asked for, that no key is left over: where one key may stand for
    /// another, a misspelt one is named rather than the other missed.
    ///
    /// # Errors
    /// When there is a key that nobody has asked for so far.
    pub fn refuse_others(&self) -> Result<(), SettingError> {
        self.others().next().map_or(Ok(()), |(other, setting)| Err(self.unknown(other, setting, &self.asked)))
    }

    /// Makes sure, before anything is asked for, that there is no key but the `known` ones: for a table in
    /// which one value decides what else may be said.
    ///
    /// # Errors
    /// When there is another one.
    pub fn refuse_all_but(&self, known: &[&'static str]) -> Result<(), SettingError> {
        let unknown = self.entries.iter().find(|(name, _)| !known.contains(&name.as_str()));
        unknown.map_or(Ok(()), |(name, setting)| Err(self.unknown(name, setting, known)))
    }

    /// Makes sure, once everything was asked for, that no key is left over, and says of `foreign` ones, which
    /// another program has, what to do instead.
    ///
    /// # Errors
    /// When there is a key that nobody has asked for so far.
    pub fn refuse_foreign(&self, foreign: &[(&str, &str)]) -> Result<(), SettingError> {
        let Some((name, setting)) = self.others().next() else { return Ok(()) };
        match foreign.iter().find(|(key, _)| *key == name) {
            Some((_, instead)) => {
                let (origin, key) = (setting.origin.clone(), join(&self.path, name));
                Err(SettingError::wrong(origin, key, "a key that is not honoured", *instead))
            }
            None => Err(self.unknown(name, setting, &self.asked)),
        }
    }

    fn unknown(&self, key: &str, setting: &Setting, known: &[&'static str]) -> SettingError {
        let error = SettingError {
            origin: setting.origin.clone(),
            key: join(&self.path, key),
            problem: Problem::UnknownKey { known: known.to_vec() },
            suggestion: None,
        };
        error.suggesting(key, known.iter().copied())
    }
}

fn put<T>(found: Option<T>, into: &mut T) -> Result<(), SettingError> {
    if let Some(found) = found {
        *into = found;
    }
    Ok(())
}
