//! Settings as a tree, from TOML or YAML alike, and a reader that forgets nothing: a
//! key that nobody asked for is an error.

mod fields;

pub use self::fields::{Fields, SettingError};

/// A value and the line it stands on, from 1; 0 where the text is no longer known.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Line, from 1, or 0.
    pub line: usize,
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
    /// Values by name, in order; no name comes twice.
    Table(Vec<(String, Setting)>),
}

impl Setting {
    /// What it is, for an error that says what was found.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Nothing => "nothing".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Whole(whole) => whole.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}
