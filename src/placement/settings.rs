//! How a hybrid placement chooses, as settings say it; docs/placements.md has every key.

use super::{BreakerConfig, Config, Policy, RECENT_ANSWERS_MAX};
use crate::inference::{Site, Urgency};
use crate::settings::{SettingError, Table, Value};

/// The longest time that any of these settings may be: an hour, in milliseconds.
const MS_MAX: f64 = 3_600_000.0;
/// The most failures in a row before a breaker opens.
const FAILURES_MAX: u32 = 1_000_000;

/// Takes `policy`, which is a name or a table with a `name`, `cloud_timeout_ms`, `recent_window_s`,
/// `recent_answers_max` and `breaker` out of a table, in which everything else was asked for before.
///
/// # Errors
/// [`SettingError`] for the first thing that is wrong; a key of the table that nobody asked for included.
pub fn config(table: &mut Table<'_>) -> Result<Config, SettingError> {
    let mut config = Config::new(Policy::Shadow);
    if let Some(section) = table.find_table("breaker")? {
        config.breaker = breaker(section)?;
    }
    table.milliseconds("cloud_timeout_ms", 1.0..=MS_MAX, &mut config.cloud_timeout)?;
    table.seconds("recent_window_s", 1e-3..=MS_MAX / 1e3, &mut config.recent_window)?;
    table.number("recent_answers_max", 1..=RECENT_ANSWERS_MAX, &mut config.recent_answers_max)?;
    table.find("policy");
    // Before the policy is missed: a misspelt key alone makes no hybrid.
    table.refuse_others()?;
    config.policy = policy(table)?;
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

fn policy(table: &mut Table<'_>) -> Result<Policy, SettingError> {
    let Some(entry) = table.find("policy") else {
        let names: Vec<_> = Policy::NAMES.iter().map(|(name, _)| *name).collect();
        return Err(table.missing("policy", &format!("one of {}", names.join(", "))));
    };
    if !matches!(entry.setting().value, Value::Table(_)) {
        return entry.choice(Policy::NAMES);
    }
    let mut table = entry.table()?;
    table.refuse_all_but(POLICY_KEYS)?;
    let name = table.find_choice("name", Policy::NAMES)?;
    let mut policy = table.required("name", name)?;
    change(&mut policy, &mut table)?;
    table.finish()?;
    Ok(policy)
}

/// Changes a policy to what the table says of it.
fn change(policy: &mut Policy, table: &mut Table<'_>) -> Result<(), SettingError> {
    match policy {
        Policy::Deadline(probing) => {
            table.number("answers_min", 1..=RECENT_ANSWERS_MAX, &mut probing.answers_min)?;
            table.number("probe_share", 1e-6..=1.0, &mut probing.share)?;
            table.milliseconds("probe_every_ms", 1.0..=MS_MAX, &mut probing.every)
        }
        Policy::Confidence { band } => {
            let found = table.find_number("band", 0.0..=1.0)?;
            *band = found.map_or(*band, |wide: f64| wide as f32);
            Ok(())
        }
        Policy::Urgency { edge_from, default_site } => {
            table.choice("edge_from", Urgency::NAMES, edge_from)?;
            table.choice("default_site", Site::NAMES, default_site)
        }
        Policy::Hedged { first, after } => {
            table.choice("first", Site::NAMES, first)?;
            table.milliseconds("hedge_after_ms", 0.0..=MS_MAX, after)
        }
        Policy::Shadow => Ok(()),
    }
}

fn breaker(mut table: Table<'_>) -> Result<BreakerConfig, SettingError> {
    let mut config = BreakerConfig::default();
    table.number("failures_max", 1..=FAILURES_MAX, &mut config.failures_max)?;
    table.milliseconds("wait_ms", 1.0..=MS_MAX, &mut config.wait)?;
    config.wait_max = config.wait_max.max(config.wait);
    let (wait, wait_max) = (config.wait, table.find("wait_max_ms"));
    if let Some(entry) = wait_max {
        config.wait_max = entry.milliseconds(1.0..=MS_MAX)?;
        if config.wait_max < wait {
            return Err(entry.wrong(format!("at least wait_ms ({})", wait.as_secs_f64() * 1e3)));
        }
    }
    table.finish()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::toml;

    fn read(text: &str) -> Result<Config, String> {
        let tree = toml::parse(None, text).map_err(|error| error.to_string())?;
        let mut table = Table::of(&tree, "cloud").map_err(|error| error.to_string())?;
        config(&mut table).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_a_name_or_a_table_with_its_parameters() {
        assert_eq!(read("policy = \"shadow\""), Ok(Config::new(Policy::Shadow)));
        let config = read(
            "policy = { name = \"hedged\", first = \"cloud\", hedge_after_ms = 30 }\ncloud_timeout_ms = 250.5\n\
             breaker = { failures_max = 3, wait_ms = 90_000 }",
        )
        .unwrap();
        let after = Duration::from_millis(30);
        assert_eq!(config.policy, Policy::Hedged { first: Site::Cloud, after });
        assert_eq!(config.cloud_timeout, Duration::from_micros(250_500));
        let wait = Duration::from_secs(90);
        assert_eq!(config.breaker, BreakerConfig { failures_max: 3, wait, wait_max: wait });
    }

    #[test]
    fn every_policy_has_its_own_name() {
        for (name, policy) in Policy::NAMES {
            assert_eq!(policy.name(), *name);
        }
    }

    #[test]
    fn what_a_policy_does_not_know_is_named_with_its_line() {
        let of = |policy| read(&format!("# a cloud\npolicy = {policy}")).unwrap_err();
        assert_eq!(
            read("").unwrap_err(),
            "line 1, key `cloud.policy`: is missing, expected one of deadline, confidence, urgency, hedged, shadow"
        );
        assert_eq!(
            of("\"hedge\""),
            "line 2, key `cloud.policy`: found \"hedge\", expected one of deadline, confidence, urgency, hedged, shadow; \
             did you mean `hedged`?"
        );
        assert_eq!(
            of("{ name = \"shadow\", band = 0.1 }"),
            "line 2, key `cloud.policy.band`: unknown key, expected name"
        );
        assert_eq!(
            of("{ name = \"deadline\", probe_share = 2 }"),
            "line 2, key `cloud.policy.probe_share`: found 2, expected a number between 0.000001 and 1"
        );
        assert_eq!(
            read("policy = \"shadow\"\nbreaker = { wait_ms = 50, wait_max_ms = 20 }").unwrap_err(),
            "line 2, key `cloud.breaker.wait_max_ms`: found 20, expected at least wait_ms (50)"
        );
    }
}
