//! The users file: one `user:hash` a line. Blank lines, and lines that begin with `#`, are left alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::password::StoredPassword;
use super::rules::is_level;
use crate::text;

/// The largest users file that is read, in bytes.
pub const USERS_FILE_BYTES_MAX: usize = 16 << 20;
/// The most users in a file.
pub const USERS_MAX: usize = 100_000;
/// The longest user name, in bytes.
pub const USER_BYTES_MAX: usize = 128;

/// What is wrong with a users file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct UsersError {
    /// The line, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub problem: String,
}

/// What whoever names users should know of those names that cannot stand as one level of a topic, as a
/// sentence; none where there is none.
pub fn user_name_remark(names: &[&str]) -> Option<String> {
    let odd: Vec<_> = names.iter().copied().filter(|name| !is_level(name)).collect();
    let (whose, example) = match odd[..] {
        [] => return None,
        [name] => ("user", name),
        [name, ..] => ("users", name),
    };
    Some(format!(
        "no access rule with %u is about {whose} {}, because such a name cannot stand as one level of a topic ('/', '+', '#', or '$' in \
         front): take another name, or write rules that name the user (users = [{example:?}])",
        listed(odd)
    ))
}

/// The most names that a sentence lists.
const LISTED_MAX: usize = 10;

/// Some names, for a sentence.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let told: Vec<_> = names.by_ref().take(LISTED_MAX).map(|name| format!("{name:?}")).collect();
    match names.count() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

/// Who may connect, with which password.
#[derive(Clone, Default)]
pub struct Users {
    /// In the file's order.
    passwords: Vec<StoredPassword>,
    by_name: HashMap<Arc<str>, User>,
}

#[derive(Clone, Copy)]
struct User {
    index: usize,
    line: usize,
}

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    /// [`UsersError`] for the first thing that is wrong. A password's hash is never part of it.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        Self::parse_but(text, |_| false)
    }

    /// Makes sure that everything can be used but what the lines of `name` say, which may be anything.
    ///
    /// # Errors
    /// [`UsersError`] for the first thing that is wrong elsewhere.
    pub fn check_others(text: &str, name: &str) -> Result<(), UsersError> {
        Self::parse_but(text, |content| is_of(content, name)).map(|_| ())
    }

    fn parse_but(text: &str, is_left_out: impl Fn(&str) -> bool) -> Result<Self, UsersError> {
        let mut users = Self::default();
        for (index, content) in text::without_mark(text).lines().enumerate() {
            let content = content.trim();
            if !content.is_empty() && !content.starts_with('#') && !is_left_out(content) {
                let line = index + 1;
                users.add(content, line).map_err(|problem| UsersError { line, problem })?;
            }
        }
        Ok(users)
    }

    fn add(&mut self, content: &str, line: usize) -> Result<(), String> {
        let (name, stored) = content
            .split_once(':')
            .ok_or("found no colon, expected user:hash as `nearfar passwd` writes it")?;
        // Mosquitto takes spaces around either, so files have them.
        let (name, stored) = (name.trim(), stored.trim());
        check_user_name(name)?;
        let stored = StoredPassword::parse(stored).map_err(|problem| format!("user {name:?}: {problem}"))?;
        if let Some(known) = self.by_name.get(name) {
            return Err(format!("user {name:?} is on line {} already", known.line));
        }
        if self.passwords.len() >= USERS_MAX {
            return Err(format!("this is one user more than the {USERS_MAX} that a file may have"));
        }
        self.by_name.insert(name.into(), User { index: self.passwords.len(), line });
        self.passwords.push(stored);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.passwords.len()
    }

    /// Whether there is none, so that nobody may connect.
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }

    /// Their names, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    /// Those with a password that is hashed once and fast, as Mosquitto did before 1.6.10, by name.
    pub(crate) fn weak(&self) -> impl Iterator<Item = &str> {
        let weak = self.by_name.iter().filter(|(_, user)| self.passwords[user.index].is_weak());
        let mut names: Vec<_> = weak.map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// The user's name and password.
    pub(crate) fn find(&self, name: &str) -> Option<(&Arc<str>, &StoredPassword)> {
        let (name, user) = self.by_name.get_key_value(name)?;
        Some((name, &self.passwords[user.index]))
    }

    /// Some user's password, the same for the same `number`: what an unknown user's
    /// password is checked against, so that it takes as long as a known one's.
    pub(crate) fn decoy(&self, number: u64) -> Option<&StoredPassword> {
        let count = u64::try_from(self.passwords.len()).ok().filter(|&count| count > 0)?;
        usize::try_from(number % count).ok().and_then(|index| self.passwords.get(index))
    }

    /// `text`, a users file, with this user's password set or changed; everything else stays as it is. What
    /// the user's line said before may be anything, such as a hash that is not known here.
    ///
    /// # Errors
    /// [`UsersError`] when the rest of the file, the name or the password cannot be used; `line` is
    /// where the user's line would stand.
    pub fn with_password(text: &str, name: &str, password: &str) -> Result<String, UsersError> {
        let text = text::without_mark(text);
        Self::check_others(text, name)?;
        let known = text.lines().position(|line| is_of(line.trim(), name));
        let line = known.unwrap_or_else(|| text.lines().count()) + 1;
        let stored = check_user_name(name)
            .and_then(|()| StoredPassword::new(password).map(|stored| stored.to_string()));
        let entry = format!("{name}:{}", stored.map_err(|problem| UsersError { line, problem })?);
        let mut lines: Vec<&str> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match is_of(line.trim(), name) {
                false => lines.push(line),
                true if known == Some(index) => lines.push(&entry),
                // A second line of the user would be one too many.
                true => {}
            }
        }
        if known.is_none() {
            lines.push(&entry);
        }
        let changed = joined(&lines);
        // What is written must be readable: one user too many is noticed here.
        Self::parse(&changed).map(|_| changed)
    }

    /// `text`, a users file, without this user, whatever the user's line said; `None` when it is not in
    /// there.
    ///
    /// # Errors
    /// [`UsersError`] when the rest of the file cannot be used.
    pub fn without(text: &str, name: &str) -> Result<Option<String>, UsersError> {
        let text = text::without_mark(text);
        Self::check_others(text, name)?;
        let others: Vec<&str> = text.lines().filter(|line| !is_of(line.trim(), name)).collect();
        Ok((others.len() < text.lines().count()).then(|| joined(&others)))
    }
}

/// Whether a line of a users file is about the user `name`.
fn is_of(content: &str, name: &str) -> bool {
    !content.starts_with('#') && content.split_once(':').is_some_and(|(user, _)| user.trim() == name)
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.passwords.len()).finish_non_exhaustive()
    }
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether `name` can stand in a users file.
///
/// # Errors
/// The sentence that says what is wrong with it.
pub fn check_user_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the user name is empty".to_owned());
    }
    if name.len() > USER_BYTES_MAX {
        return Err(format!("the user name has {} bytes, at most {USER_BYTES_MAX} are allowed", name.len()));
    }
    if name.starts_with('#') || name.trim() != name {
        return Err(format!("the user name {name:?} begins with '#', or has space around it"));
    }
    match name.chars().find(|c| *c == ':' || c.is_control()) {
        Some(bad) => {
            Err(format!("the user name {name:?} contains {bad:?}, which cannot stand in a users file"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$7$1$c2FsdHNhbHQ=$aGFzaGhhc2g=";

    #[test]
    fn a_user_is_added_changed_and_removed_and_the_rest_stays() {
        let text = format!("# presses\n\npress-1:{HASH}\n  press-2:{HASH}");
        let added = Users::with_password(&text, "press-3", "three").unwrap();
        assert!(added.starts_with(&text) && added.ends_with('\n'), "{added}");
        let changed = Users::with_password(&added, "press-1", "one").unwrap();
        let users = Users::parse(&changed).unwrap();
        assert_eq!(users.len(), 3);
        for (name, password) in [("press-1", "one"), ("press-3", "three")] {
            let (known, stored) = users.find(name).unwrap();
            assert!(known.as_ref() == name && stored.is(password.as_bytes()));
        }
        assert_eq!(changed.lines().next(), Some("# presses"));
        let removed = Users::without(&text, "press-1").unwrap().unwrap();
        assert_eq!(removed, format!("# presses\n\n  press-2:{HASH}\n"));
        assert_eq!(Users::without(&text, "press-9").unwrap(), None);
    }

    #[test]
    fn a_user_whose_line_cannot_be_used_is_set_anew_or_removed_and_no_other_fault_is_touched() {
        for line in ["old:$2b$12$abcdefghijklmnopqrstuv", " old : secret", "old:", "old:$7$x", "old:a\nold:b"]
        {
            let text = format!("# presses\n{line}\nother:{HASH}\n");
            assert!(Users::parse(&text).is_err(), "{line}");
            let changed = Users::with_password(&text, "old", "new").unwrap();
            assert!(Users::parse(&changed).unwrap().find("old").unwrap().1.is(b"new"), "{changed}");
            assert_eq!(changed.lines().count(), 3, "{changed}");
            assert_eq!(Users::without(&text, "old").unwrap().unwrap(), format!("# presses\nother:{HASH}\n"));
            for fault in [
                Users::with_password(&text, "other", "new").unwrap_err(),
                Users::without(&text, "other").unwrap_err(),
            ] {
                assert!((2..4).contains(&fault.line), "{fault}");
            }
        }
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let long = "n".repeat(USER_BYTES_MAX + 1);
        for (text, line, part) in [
            ("a".to_owned(), 1, "no colon"),
            (format!("# comment\na:{HASH}\n:{HASH}"), 3, "name is empty"),
            (format!("\n{long}:{HASH}"), 2, "129 bytes"),
            (format!("a:{HASH}\nb:{HASH}\na:{HASH}"), 3, "\"a\" is on line 1 already"),
            ("a:secret".to_owned(), 1, "no password hash that is known"),
            (
                "a:$7$9999999$c2FsdHNhbHQ=$aGFzaGhhc2g=".to_owned(),
                1,
                "user \"a\": found \"9999999\" iterations",
            ),
            (format!("a\u{1}b:{HASH}"), 1, "'\\u{1}'"),
        ] {
            let error = Users::parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!Users::parse("a:secret").unwrap_err().to_string().contains("secret"));
    }

    /// As `mosquitto_passwd` 2.1 writes it by default, for the password "pump-secret".
    const MOSQUITTO_2_1: &str = "$argon2id$v=19$m=47104,t=1,p=1$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$E1i0tKm5i8TY+wrAl01Q7qgOA3TzfHJDsKgH8p9Vys3XwacS9S1QugzmdOPeYYQMDGGEpgiX8g1r0yQq+FNUnQ";

    #[test]
    fn a_file_is_the_same_however_an_editor_saves_it() {
        let plain = format!("# pumps\npump:{MOSQUITTO_2_1}\n\nb:{HASH}\n");
        for text in [
            plain.clone(),
            format!("\u{feff}{plain}"),
            plain.replace("# pumps\n", "\u{feff}"),
            plain.replace('\n', "\r\n"),
            plain.replace('\n', " \t\n").replace(':', " : "),
        ] {
            let users = Users::parse(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            let (_, stored) = users.find("pump").expect("the first user is there");
            assert!(users.len() == 2 && stored.is(b"pump-secret") && !stored.is(b"secret"), "{text:?}");
            let changed = Users::with_password(&text, "pump", "new").unwrap();
            assert!(Users::parse(&changed).unwrap().find("pump").unwrap().1.is(b"new"), "{changed}");
            assert_eq!(Users::parse(&Users::without(&text, "pump").unwrap().unwrap()).unwrap().len(), 1);
        }
    }

    #[test]
    fn one_user_too_many_is_refused() {
        let mut text = String::new();
        for number in 0..USERS_MAX {
            text.push_str(&format!("u{number}:{HASH}\n"));
        }
        assert_eq!(Users::parse(&text).unwrap().len(), USERS_MAX);
        text.push_str(&format!("more:{HASH}\n"));
        assert_eq!(Users::parse(&text).unwrap_err().line, USERS_MAX + 1);
    }

    #[test]
    fn names_and_passwords_that_cannot_be_stored_are_refused() {
        for name in ["", "a:b", "#a", " a", "a\nb", "a\0"] {
            assert!(Users::with_password("", name, "x").is_err(), "{name:?}");
        }
        assert!(Users::with_password("", "a", "").unwrap_err().problem.contains("password is empty"));
        let long = "x".repeat(super::super::password::PASSWORD_BYTES_MAX + 1);
        assert!(Users::with_password("", "a", &long).unwrap_err().problem.contains("1025 bytes"));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_is_read_or_refused(
            text in r"([a-z:$#\t 0-9=,/]|\$7\$|\$argon2id\$|v=19|m=19456,t=2,p=1|\n|\PC){0,40}", user in "\\PC{0,8}", password in "\\PC{1,8}",
        ) {
            let known = Users::parse(&text);
            prop_assert!(known.is_err() || Users::without(&text, &user).is_ok());
            for changed in [Users::with_password(&text, &user, &password).ok(), Users::without(&text, &user).ok().flatten()] {
                prop_assert!(changed.is_none_or(|changed| Users::parse(&changed).is_ok()));
            }
        }
    }

    #[test]
    fn an_unknown_user_always_meets_the_same_decoy() {
        let users = Users::parse(&format!("a:{HASH}\nb:{HASH}")).unwrap();
        for number in [0, 1, 7, u64::MAX] {
            assert!(std::ptr::eq(users.decoy(number).unwrap(), users.decoy(number).unwrap()));
        }
        assert!(Users::default().decoy(3).is_none());
    }
}
