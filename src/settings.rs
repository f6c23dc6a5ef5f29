//! The one reader of settings: texts and variables become a tree that knows where each value came from, and
//! [`Table`] reads it key by key. What a setting means is nothing that is known here.
//!
//! A key nobody asks for is an error, with the one that was probably meant; every error names origin, key,
//! what was found and what was expected.

mod entry;
pub mod environment;
mod error;
pub mod json;
mod lines;
mod number;
mod table;
pub mod toml;
mod tree;
pub mod yaml;

pub use self::entry::{Entry, join};
pub use self::error::{Problem, SettingError};
pub use self::table::Table;
pub use self::tree::{Origin, Setting, Value};

/// How deep lists and tables may nest.
const DEPTH_MAX: usize = 32;

fn too_deep(origin: Origin) -> SettingError {
    SettingError::new(origin, "", format!("lists and tables are nested more than {DEPTH_MAX} deep"))
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;
    use std::time::Duration;

    use super::*;

    fn tree() -> Setting {
        toml::parse(Some("f"), "rate = 5\nmdoel = \"mmn\"\nlist = [1, 70]\n[inner]\nratio = 2.5\n").unwrap()
    }

    fn said<T: std::fmt::Debug>(found: Result<T, SettingError>) -> String {
        found.unwrap_err().to_string()
    }

    #[test]
    fn what_is_absent_keeps_its_default() {
        let tree = tree();
        let mut table = Table::of(&tree, "").unwrap();
        let (mut rate, mut other, mut name, mut ratio) = (0_u16, 7_usize, "x".to_owned(), 0.0);
        table.number("rate", .., &mut rate).unwrap();
        table.number("other", 1.., &mut other).unwrap();
        table.text("name", &mut name).unwrap();
        let mut inner = table.find_table("inner").unwrap().unwrap();
        inner.number("ratio", 0.0..=9.0, &mut ratio).unwrap();
        inner.finish().unwrap();
        assert_eq!((rate, other, name.as_str(), ratio), (5, 7, "x", 2.5));
    }

    #[test]
    fn a_number_is_named_as_it_can_be_read() {
        for (written, found) in
            [("1e300", "1e300"), ("2.5", "2.5"), ("-1e-9", "-1e-9"), ("70", "70"), ("3.0", "3")]
        {
            let tree = toml::parse(None, &format!("list = {written}")).unwrap();
            let mut table = Table::of(&tree, "").unwrap();
            let refused = said(table.find_list("list").map(drop));
            assert!(refused.ends_with(&format!("found {found}, expected a list")), "{refused}");
        }
    }

    #[test]
    fn a_key_that_nobody_asked_for_is_an_error_with_its_line() {
        let tree = tree();
        let mut table = Table::of(&tree, "").unwrap();
        let model = table.find_text("model").unwrap();
        let slip = "f, line 2, key `mdoel`: unknown key, expected model; did you mean `model`?";
        assert_eq!(said(table.required("model", model)), slip);
        let absent = table.find_flag("absent").unwrap();
        assert_eq!(said(table.required("absent", absent)), "f, line 1, key `absent`: is missing");
        for key in ["list", "inner", "rate"] {
            table.find(key);
        }
        let slip = "f, line 2, key `mdoel`: unknown key, expected one of model, absent, list, inner, rate; did you mean `model`?";
        assert_eq!(said(table.finish()), slip);
        let mut table = Table::of(&tree, "").unwrap();
        let error = table.refuse_all_but(&["rate"]).unwrap_err();
        assert!(error.is_unknown_key() && error.line() == Some(2), "{error}");
        let instead =
            "f, line 4, key `inner`: found a key that is not honoured, expected nothing of the kind";
        for key in ["rate", "mdoel", "list"] {
            table.find(key);
        }
        assert_eq!(said(table.refuse_foreign(&[("inner", "nothing of the kind")])), instead);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named() {
        let tree = tree();
        let mut table = Table::of(&tree, "top").unwrap();
        assert_eq!(said(table.find_text("rate")), "f, line 1, key `top.rate`: found 5, expected text");
        assert_eq!(
            said(table.find_flag("rate")),
            "f, line 1, key `top.rate`: found 5, expected true or false"
        );
        let range = |found: Result<Option<u16>, _>| said(found).split(": ").nth(1).unwrap().to_owned();
        assert_eq!(
            range(table.find_number("rate", 6..)),
            "found 5, expected a whole number between 6 and 65535"
        );
        assert_eq!(
            range(table.find_number("rate", 1..=4)),
            "found 5, expected a whole number between 1 and 4"
        );
        assert_eq!(
            range(table.find_number("mdoel", ..)),
            "found \"mmn\", expected a whole number between 0 and 65535"
        );
        let more_than_5 = (Bound::Excluded(5.0), Bound::Unbounded);
        assert!(said(table.find_number("rate", more_than_5)).ends_with("expected a number of more than 5"));
        let mut rate = Duration::ZERO;
        table.milliseconds("rate", .., &mut rate).unwrap();
        assert_eq!(rate, Duration::from_millis(5));
        assert_eq!(
            said(table.find_numbers::<u32>("list", 1..=64)),
            "f, line 3, key `top.list[1]`: found 70, expected a whole number between 1 and 64"
        );
        let words = [("mm", 1), ("x", 2)];
        assert_eq!(
            said(table.find_choice("mdoel", &words)),
            "f, line 2, key `top.mdoel`: found \"mmn\", expected one of mm, x; did you mean `mm`?"
        );
        assert!(said(table.find_choice("rate", &words)).ends_with("found 5, expected text: one of mm, x"));
        assert!(said(table.find_table("rate")).ends_with("found 5, expected a table"));
        assert!(table.find_text("inner").unwrap_err().has_found_table());
    }

    #[test]
    fn where_all_is_text_it_is_what_is_asked_for() {
        let of = |text: &str| Setting {
            origin: Origin::Variable("V".into()),
            value: Value::Text(text.to_owned()),
        };
        let (seven, yes, name) = (of("7"), of("Yes"), of("fast"));
        assert_eq!(Entry::new("k", &seven).number::<u64>(1..).unwrap(), 7);
        assert_eq!(Entry::new("k", &seven).text().unwrap(), "7");
        assert_eq!(Entry::new("k", &of("1e3")).number::<u32>(..).unwrap(), 1_000);
        assert!(Entry::new("k", &yes).flag().unwrap());
        let error = Entry::new("k", &name).number::<f64>(0.0..=1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment, V, key `k`: found \"fast\", expected a number between 0 and 1"
        );
    }
}
