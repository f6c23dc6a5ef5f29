//! Sources of settings become one: the `config` crate collects them, and a later one
//! goes over an earlier one.

use config::{ConfigError, Map, Source, ValueKind};

use crate::settings::{Origin, Setting, Value};

/// What all sources have below it: the crate takes names at the top for paths.
const ROOT: &str = "settings";

/// The `sources` one over another. Tables are joined, anything else takes the place of what was there; each
/// value keeps its origin, and of a table the first one counts.
///
/// # Errors
/// The crate's, though sources in memory give no reason for one.
pub fn merge(sources: &[&Setting]) -> Result<Setting, ConfigError> {
    let mut origins = Vec::new();
    let mut builder = config::Config::builder();
    for source in sources {
        builder = builder.add_source(Collected(value(source, &mut origins)));
    }
    let merged = builder.build()?.cache.into_table()?.remove(ROOT);
    Ok(merged.map_or_else(|| Setting::of(Value::Nothing), |merged| setting(merged, &origins, sources)))
}

/// A source that was collected before.
#[derive(Debug, Clone)]
struct Collected(config::Value);

impl Source for Collected {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        Ok(Map::from_iter([(ROOT.to_owned(), self.0.clone())]))
    }
}

/// A setting as the crate's value. Its origin there is the number of its own one in `origins`.
fn value(setting: &Setting, origins: &mut Vec<Origin>) -> config::Value {
    let origin = origins.len().to_string();
    origins.push(setting.origin.clone());
    let kind = match &setting.value {
        Value::Nothing => ValueKind::Nil,
        Value::Flag(flag) => ValueKind::Boolean(*flag),
        Value::Whole(whole) => ValueKind::I128(*whole),
        Value::Number(number) => ValueKind::Float(*number),
        Value::Text(text) => ValueKind::String(text.clone()),
        Value::List(items) => ValueKind::Array(items.iter().map(|item| value(item, origins)).collect()),
        Value::Table(entries) => ValueKind::Table(
            entries.iter().map(|(name, setting)| (name.clone(), value(setting, origins))).collect(),
        ),
    };
    config::Value::new(Some(&origin), kind)
}

/// The crate's value as a setting; `sources` are what has a table at its place, or something else.
fn setting(merged: config::Value, origins: &[Origin], sources: &[&Setting]) -> Setting {
    let origin = merged.origin().and_then(|number| origins.get(number.parse::<usize>().ok()?)).cloned();
    let value = match merged.kind {
        ValueKind::Nil => Value::Nothing,
        ValueKind::Boolean(flag) => Value::Flag(flag),
        ValueKind::I64(whole) => Value::Whole(whole.into()),
        ValueKind::I128(whole) => Value::Whole(whole),
        ValueKind::U64(whole) => Value::Whole(whole.into()),
        ValueKind::U128(whole) => Value::Whole(i128::try_from(whole).unwrap_or(i128::MAX)),
        ValueKind::Float(number) => Value::Number(number),
        ValueKind::String(text) => Value::Text(text),
        ValueKind::Array(items) => {
            Value::List(items.into_iter().map(|item| setting(item, origins, &[])).collect())
        }
        ValueKind::Table(entries) => return table(entries, origin, origins, sources),
    };
    Setting { origin: origin.unwrap_or_default(), value }
}

/// A table in the order of its sources: the crate's has none, nor an origin where tables were joined.
fn table(
    mut merged: Map<String, config::Value>,
    origin: Option<Origin>,
    origins: &[Origin],
    sources: &[&Setting],
) -> Setting {
    let tables: Vec<_> = sources
        .iter()
        .filter_map(|source| match &source.value {
            Value::Table(entries) => Some((&source.origin, entries)),
            _ => None,
        })
        .collect();
    let mut entries = Vec::with_capacity(merged.len());
    for (name, _) in tables.iter().flat_map(|(_, entries)| *entries) {
        if let Some(value) = merged.remove(name) {
            let below: Vec<_> = sources.iter().filter_map(|source| source.get(name)).collect();
            entries.push((name.clone(), setting(value, origins, &below)));
        }
    }
    // Of a table within a list nothing was joined, so the crate still knows its origin,
    // and its names are sorted.
    let mut others: Vec<_> = merged.into_iter().collect();
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    entries.extend(others.into_iter().map(|(name, value)| (name, setting(value, origins, &[]))));
    let joined = tables.first().map(|(origin, _)| (*origin).clone());
    Setting { origin: joined.or(origin).unwrap_or_default(), value: Value::Table(entries) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{environment, toml};

    #[test]
    fn later_sources_go_over_earlier_ones_and_every_value_keeps_its_origin() {
        let file = "b = 1\n\"x.y\" = true\n[t]\nu = \"file\"\nl = [{ z = 1, a = 2 }]\n[s]\n";
        let file = toml::parse(Some("f.toml"), file).unwrap();
        let variables = [("P_T__U", "over"), ("P_S", "5"), ("P_N__M", "1"), ("P_B__C", "2")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = environment::tree("P_", &variables.into());
        let merged = merge(&[&file, &environment]).unwrap();
        let at = |keys: &[&str]| {
            let found = merged.nearest(keys);
            (found.describe(), found.origin.to_string())
        };
        let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(at(&["t"]), is("a table", "f.toml, line 3"));
        assert_eq!(at(&["t", "u"]), is("\"over\"", "environment, P_T__U"));
        assert_eq!(at(&["t", "l"]), is("a list", "f.toml, line 5"));
        assert_eq!(at(&["s"]), is("\"5\"", "environment, P_S"));
        assert_eq!(at(&["n"]), is("a table", "environment, P_N__M"));
        assert_eq!(at(&["b", "c"]), is("\"2\"", "environment, P_B__C"));
        assert_eq!(at(&["x.y"]), is("true", "f.toml, line 2"));
        let Value::Table(entries) = &merged.value else { panic!("a table") };
        let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "x.y", "t", "s", "n"]);
    }
}
