//! How a hybrid placement chooses, as settings say it; docs/placements.md has every key.

use std::time::Duration;

use super::{BreakerConfig, Config, Policy, Probing, RECENT_ANSWERS_MAX};
use crate::inference::{Site, Urgency};
use crate::settings::old::{Fields, SettingError, Value};

/// The longest time that any of these settings may be: an hour, in milliseconds.
const MS_MAX: f64 = 3_600_000.0;
/// The most failures in a row before a breaker opens.
const FAILURES_MAX: u64 = 1_000_000;

#[derive(Clone, Copy)]
enum Name {
    Deadline,
    Confidence,
    Urgency,
    Hedged,
    Shadow,
}

const NAMES: &[(&str, Name)] = &[
    ("deadline", Name::Deadline),
    ("confidence", Name::Confidence),
    ("urgency", Name::Urgency),
    ("hedged", Name::Hedged),
    ("shadow", Name::Shadow),
];

const SITES: &[(&str, Site)] = &[("edge", Site::Edge), ("cloud", Site::Cloud)];

/// Takes `policy`, which is a name or a table with a `name`, `cloud_timeout_ms`,
/// `recent_window_s`, `recent_answers_max` and `breaker` out of a table.
///
/// # Errors
/// [`SettingError`] naming line and key.
pub fn placement_config(fields: &mut Fields<'_>) -> Result<Config, SettingError> {
    // Before the policy is missed: a misspelt key alone makes no hybrid.
    let breaker = fields.table("breaker")?.map(breaker).transpose()?;
    let mut config = Config::new(policy(fields)?);
    config.breaker = breaker.unwrap_or(config.breaker);
    set_ms(fields, "cloud_timeout_ms", 1.0, &mut config.cloud_timeout)?;
    if let Some(window_s) = fields.number("recent_window_s")? {
        let window_s = within(fields, "recent_window_s", window_s, 1e-3, MS_MAX / 1e3)?;
        config.recent_window = Duration::from_secs_f64(window_s);
    }
    if let Some(answers_max) = whole(fields, "recent_answers_max", RECENT_ANSWERS_MAX as u64)? {
        config.recent_answers_max = answers_max as usize;
    }
    Ok(config)
}

/// What the table of one or another policy may say.
const POLICY_KEYS: &[&str] = &[
    "name",
    "answers_min",
    "probe_share",
    "probe_every_ms",
    "band",
    "edge_from",
    "default_site",
    "first",
    "hedge_after_ms",
];

fn policy(fields: &mut Fields<'_>) -> Result<Policy, SettingError> {
    let Some(setting) = fields.get("policy") else {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        return Err(fields.invalid("policy", format!("is missing, expected one of {}", names.join(", "))));
    };
    if !matches!(setting.value, Value::Table(_)) {
        let name = fields.choice("policy", NAMES)?;
        return Ok(default_of(fields.required("policy", name)?));
    }
    let table = fields.table("policy")?;
    let mut table = fields.required("policy", table)?;
    table.refuse_unknown(POLICY_KEYS)?;
    let name = table.choice("name", NAMES)?;
    let policy = change(default_of(table.required("name", name)?), &mut table)?;
    table.finish()?;
    Ok(policy)
}

fn default_of(name: Name) -> Policy {
    match name {
        Name::Deadline => Policy::Deadline(Probing::default()),
        Name::Confidence => Policy::CONFIDENCE,
        Name::Urgency => Policy::URGENCY,
        Name::Hedged => Policy::HEDGED,
        Name::Shadow => Policy::Shadow,
    }
}

/// The policy with what the table says of it.
fn change(mut policy: Policy, table: &mut Fields<'_>) -> Result<Policy, SettingError> {
    match &mut policy {
        Policy::Deadline(probing) => {
            if let Some(answers_min) = whole(table, "answers_min", RECENT_ANSWERS_MAX as u64)? {
                probing.answers_min = answers_min as usize;
            }
            if let Some(share) = table.number("probe_share")? {
                probing.share = within(table, "probe_share", share, 1e-6, 1.0)?;
            }
            set_ms(table, "probe_every_ms", 1.0, &mut probing.every)?;
        }
        Policy::Confidence { band } => {
            if let Some(wide) = table.number("band")? {
                *band = within(table, "band", wide, 0.0, 1.0)? as f32;
            }
        }
        Policy::Urgency { edge_from, default_site } => {
            let words = Urgency::ALL.map(|urgency| (urgency.as_str(), urgency));
            *edge_from = table.choice("edge_from", &words)?.unwrap_or(*edge_from);
            *default_site = table.choice("default_site", SITES)?.unwrap_or(*default_site);
        }
        Policy::Hedged { first, after } => {
            *first = table.choice("first", SITES)?.unwrap_or(*first);
            set_ms(table, "hedge_after_ms", 0.0, after)?;
        }
        Policy::Shadow => {}
    }
    Ok(policy)
}

fn breaker(mut fields: Fields<'_>) -> Result<BreakerConfig, SettingError> {
    let mut config = BreakerConfig::default();
    if let Some(failures_max) = whole(&mut fields, "failures_max", FAILURES_MAX)? {
        config.failures_max = failures_max as u32;
    }
    set_ms(&mut fields, "wait_ms", 1.0, &mut config.wait)?;
    config.wait_max = config.wait_max.max(config.wait);
    let is_given = fields.get("wait_max_ms").is_some();
    set_ms(&mut fields, "wait_max_ms", 1.0, &mut config.wait_max)?;
    if is_given && config.wait_max < config.wait {
        let problem = format!("found {:?}, expected at least wait_ms ({:?})", config.wait_max, config.wait);
        return Err(fields.invalid("wait_max_ms", problem));
    }
    fields.finish()?;
    Ok(config)
}

/// Sets `time` to the milliseconds at `key`, if there are any.
fn set_ms(
    fields: &mut Fields<'_>,
    key: &'static str,
    least_ms: f64,
    time: &mut Duration,
) -> Result<(), SettingError> {
    if let Some(ms) = fields.number(key)? {
        *time = Duration::from_secs_f64(within(fields, key, ms, least_ms, MS_MAX)? / 1e3);
    }
    Ok(())
}

fn whole(fields: &mut Fields<'_>, key: &'static str, most: u64) -> Result<Option<u64>, SettingError> {
    let Some(found) = fields.whole(key)? else { return Ok(None) };
    if (1..=most).contains(&found) {
        return Ok(Some(found));
    }
    Err(fields.invalid(key, format!("found {found}, expected between 1 and {most}")))
}

fn within(fields: &Fields<'_>, key: &str, value: f64, least: f64, most: f64) -> Result<f64, SettingError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(fields.invalid(key, format!("found {value}, expected a number between {least} and {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::old::Setting;

    fn setting(line: usize, value: Value) -> Setting {
        Setting { line, value }
    }

    fn table(entries: Vec<(&str, Value)>) -> Value {
        let line = |at| at + 2;
        let entries = entries.into_iter().enumerate();
        Value::Table(entries.map(|(at, (key, value))| (key.to_owned(), setting(line(at), value))).collect())
    }

    fn read(entries: Vec<(&str, Value)>) -> Result<Config, String> {
        let table = setting(1, table(entries));
        let mut fields = Fields::of(&table, "cloud").map_err(|error| error.to_string())?;
        let config = placement_config(&mut fields).map_err(|error| error.to_string())?;
        fields.finish().map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_policy_is_a_name_or_a_table_with_its_parameters() {
        assert_eq!(read(vec![("policy", text("shadow"))]), Ok(Config::new(Policy::Shadow)));
        let hedged = table(vec![
            ("name", text("hedged")),
            ("first", text("cloud")),
            ("hedge_after_ms", Value::Whole(30)),
        ]);
        let breaker = table(vec![("failures_max", Value::Whole(3)), ("wait_ms", Value::Whole(90_000))]);
        let config =
            read(vec![("policy", hedged), ("cloud_timeout_ms", Value::Number(250.5)), ("breaker", breaker)])
                .unwrap();
        let after = Duration::from_millis(30);
        assert_eq!(config.policy, Policy::Hedged { first: Site::Cloud, after });
        assert_eq!(config.cloud_timeout, Duration::from_micros(250_500));
        let wait = Duration::from_secs(90);
        assert_eq!(config.breaker, BreakerConfig { failures_max: 3, wait, wait_max: wait });
    }

    #[test]
    fn what_a_policy_does_not_know_is_named_with_its_line() {
        let of = |policy| read(vec![("policy", policy)]).unwrap_err();
        assert_eq!(
            read(vec![]).unwrap_err(),
            "line 1, key `cloud.policy`: is missing, expected one of deadline, confidence, urgency, hedged, shadow"
        );
        assert_eq!(
            of(text("hedge")),
            "line 2, key `cloud.policy`: found \"hedge\", expected one of deadline, confidence, urgency, hedged, shadow; \
             did you mean `hedged`?"
        );
        assert_eq!(
            of(table(vec![("name", text("shadow")), ("band", Value::Number(0.1))])),
            "line 3, key `cloud.policy.band`: unknown key, expected one of name"
        );
        assert_eq!(
            of(table(vec![("name", text("deadline")), ("probe_share", Value::Whole(2))])),
            "line 3, key `cloud.policy.probe_share`: found 2, expected a number between 0.000001 and 1"
        );
        let breaker = table(vec![("wait_ms", Value::Whole(50)), ("wait_max_ms", Value::Whole(20))]);
        assert_eq!(
            read(vec![("policy", text("shadow")), ("breaker", breaker)]).unwrap_err(),
            "line 3, key `cloud.breaker.wait_max_ms`: found 20ms, expected at least wait_ms (50ms)"
        );
    }
}
