//! A part of a file as it stands, read without knowing what it may say; lines are
//! found again by their keys when they are needed.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::settings::{Setting, Value};

/// Any value.
pub struct Tree(pub Setting);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Self(Setting::of(value))
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, true, false, text, a list or a table")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Tree, E> {
        Ok(Value::Flag(flag).into())
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Tree, E> {
        Ok(Value::Whole(whole.into()).into())
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Tree, E> {
        Ok(Value::Whole(whole.into()).into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        Ok(Value::Number(number).into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Value::Text(text.to_owned()).into())
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Value::Nothing.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut table = Vec::new();
        while let Some((name, Tree(setting))) = entries.next_entry::<String, Tree>()? {
            table.push((name, setting));
        }
        Ok(Value::Table(table).into())
    }
}
