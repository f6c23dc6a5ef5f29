//! Our own form: `simulation`, `placements`, `networks`, `sensors`, `load`, `sweep` and `deadline_ms`.

use std::path::PathBuf;
use std::time::Duration;

use super::document::remark;
use super::{Arrivals, HybridPlacement, Load, Placement, Remark, Scenario, Sensor, Source, Sweep};
use crate::network::settings::network_shape;
use crate::network::{Preset, Profile, Shape};
use crate::placement::settings::placement_config;
use crate::settings::old::{Fields, Setting, SettingError, Value};

/// The longest experiment: a week.
const DURATION_S_MAX: f64 = 604_800.0;
/// The most repeats.
const REPEATS_MAX: u64 = 1_000;
/// The most sensors of a kind.
const SENSORS_MAX: u64 = 1_000_000;
/// The most requests a second, of one sensor or of all.
const RATE_MAX: f64 = 1_000_000.0;
/// The most values of one sweep.
const VALUES_MAX: u64 = 1_000;

/// `simulation`, which both forms have; ours adds `warm_up_s` and `repeats`.
pub fn simulation(mut fields: Fields<'_>, remarks: &mut Vec<Remark>) -> Result<Scenario, SettingError> {
    let duration_s = fields.number("duration_s")?;
    let duration_s = fields.required("duration_s", duration_s)?;
    let duration_s = within(&fields, "duration_s", duration_s, 1e-3, DURATION_S_MAX)?;
    let seed = fields.whole("seed")?;
    let seed = fields.required("seed", seed)?;
    if let Some(quantum) = fields.get("time_quantum_us") {
        let text = "time is continuous here: an event happens when it does, not at the next quantum";
        remark(remarks, quantum.line, "simulation.time_quantum_us", text);
    }
    let warm_up_s = fields.number("warm_up_s")?.unwrap_or_default();
    let warm_up_s = within(&fields, "warm_up_s", warm_up_s, 0.0, duration_s)?;
    let repeats = fields.whole("repeats")?.unwrap_or(1);
    if !(1..=REPEATS_MAX).contains(&repeats) {
        let problem = format!("found {repeats}, expected between 1 and {REPEATS_MAX}");
        return Err(fields.invalid("repeats", problem));
    }
    fields.finish()?;
    Ok(Scenario {
        duration: Duration::from_secs_f64(duration_s),
        warm_up: Duration::from_secs_f64(warm_up_s),
        repeats: repeats as u32,
        seed,
        deadline: None,
        placements: Vec::new(),
        sensors: Vec::new(),
        load: None,
        sweeps: Vec::new(),
        remarks: Vec::new(),
    })
}

/// Everything else.
pub fn read(
    file: &mut Fields<'_>,
    scenario: &mut Scenario,
    read: &dyn Fn(&str) -> Result<Option<String>, String>,
) -> Result<(), SettingError> {
    let networks = networks(file, scenario.seed, read)?;
    for setting in file.list("placements")? {
        let placement = placement(Fields::of(setting, "placements")?, &networks, scenario.seed)?;
        scenario.placements.push(placement);
    }
    if let Some((twice, line)) = first_twice(scenario, file) {
        let problem = format!("there are two placements called {twice:?}, expected names that differ");
        return Err(SettingError { line, key: "placements".to_owned(), problem });
    }
    for setting in file.list("sensors")? {
        scenario.sensors.push(sensor(Fields::of(setting, "sensors")?)?);
    }
    scenario.load = file.table("load")?.map(load).transpose()?;
    for setting in file.list("sweep")? {
        scenario.sweeps.push(sweep(Fields::of(setting, "sweep")?)?);
    }
    if let Some(deadline_ms) = file.number("deadline_ms")? {
        let deadline_ms = within(file, "deadline_ms", deadline_ms, 1e-3, 3.6e6)?;
        scenario.deadline = Some(Duration::from_secs_f64(deadline_ms / 1e3));
    }
    Ok(())
}

/// `networks`: profiles by name.
fn networks(
    file: &mut Fields<'_>,
    seed: u64,
    read: &dyn Fn(&str) -> Result<Option<String>, String>,
) -> Result<Vec<(String, Shape)>, SettingError> {
    let Some(setting) = file.get("networks") else { return Ok(Vec::new()) };
    let Value::Table(entries) = &setting.value else {
        return Err(file.invalid("networks", "expected a table of profiles by name"));
    };
    let shape = |(name, setting): &(String, Setting)| {
        let mut shape = network_shape(setting, &format!("networks.{name}"), name, read)?;
        // A repeat with another seed of the experiment meets another network, too.
        shape.seed ^= seed;
        Ok((name.clone(), shape))
    };
    entries.iter().map(shape).collect()
}

fn placement(
    mut fields: Fields<'_>,
    networks: &[(String, Shape)],
    seed: u64,
) -> Result<Placement, SettingError> {
    let (name, model) = (fields.text("name")?, fields.text("model")?);
    let threshold = fields.number("threshold")?;
    let network = network(&mut fields, networks, seed)?.unwrap_or(Profile::NONE);
    let hybrid = fields.table("cloud")?.map(|cloud| hybrid(cloud, networks, seed)).transpose()?;
    let placement = Placement {
        name: fields.required("name", name)?.to_owned(),
        model: PathBuf::from(fields.required("model", model)?),
        threshold,
        network,
        hybrid,
    };
    fields.finish()?;
    Ok(placement)
}

/// The cloud that makes a placement a hybrid.
fn hybrid(
    mut fields: Fields<'_>,
    networks: &[(String, Shape)],
    seed: u64,
) -> Result<HybridPlacement, SettingError> {
    let hybrid = HybridPlacement {
        model: fields.text("model")?.map(PathBuf::from),
        threshold: fields.number("threshold")?,
        network: network(&mut fields, networks, seed)?.unwrap_or(Profile::CLOUD),
        placement: placement_config(&mut fields)?,
    };
    fields.finish()?;
    Ok(hybrid)
}

/// The network that `network` names: one of the file's or a preset.
fn network(
    fields: &mut Fields<'_>,
    networks: &[(String, Shape)],
    seed: u64,
) -> Result<Option<Profile>, SettingError> {
    let Some(wanted) = fields.text("network")? else { return Ok(None) };
    match (networks.iter().find(|(name, _)| name == wanted), Preset::named(wanted)) {
        (Some((_, shape)), _) => Ok(Some(Profile::shaped(shape.clone()))),
        (None, Some(preset)) => {
            let (uplink, downlink) = preset.links();
            let shape = Shape { seed, link: wanted.to_owned(), uplink, downlink };
            Ok(Some(Profile::shaped(shape)))
        }
        (None, None) => {
            let known = networks.iter().map(|(name, _)| name.as_str());
            let known: Vec<_> = known.chain(Preset::ALL.iter().map(|preset| preset.name)).collect();
            let problem =
                format!("found {wanted:?}, expected one of networks or a preset: {}", known.join(", "));
            Err(fields.invalid("network", problem))
        }
    }
}

/// The first name that two placements have.
fn first_twice(scenario: &Scenario, file: &Fields<'_>) -> Option<(String, usize)> {
    let names: Vec<_> = scenario.placements.iter().map(|placement| placement.name.as_str()).collect();
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))?;
    Some(((*twice.1).to_owned(), file.invalid("placements", "").line))
}

fn sensor(mut fields: Fields<'_>) -> Result<Sensor, SettingError> {
    let id = fields.text("id")?;
    let id = fields.required("id", id)?.to_owned();
    let count = fields.whole("count")?.unwrap_or(1);
    if !(1..=SENSORS_MAX).contains(&count) {
        return Err(fields.invalid("count", format!("found {count}, expected between 1 and {SENSORS_MAX}")));
    }
    let source = match fields.text("file")? {
        Some(file) => {
            let speed = fields.number("speed")?.unwrap_or(1.0);
            Source::Recorded {
                file: PathBuf::from(file),
                speed: within(&fields, "speed", speed, 1e-6, 1e6)?,
                label: fields.text("label")?.map(str::to_owned),
            }
        }
        None => {
            fields.choice("kind", &[("bearing", ())])?;
            let rate_hz = fields.number("rate_hz")?.unwrap_or(1.0);
            let noise_level = fields.number("noise_level")?.unwrap_or(1.0);
            Source::Bearing {
                rate_hz: within(&fields, "rate_hz", rate_hz, 1e-6, RATE_MAX)?,
                noise_level: within(&fields, "noise_level", noise_level, 0.0, 1e3)?,
            }
        }
    };
    fields.finish()?;
    Ok(Sensor { id, count: count as u32, source })
}

fn load(mut fields: Fields<'_>) -> Result<Load, SettingError> {
    let requests_per_s = fields.number("requests_per_s")?;
    let requests_per_s = fields.required("requests_per_s", requests_per_s)?;
    let load = Load {
        requests_per_s: within(&fields, "requests_per_s", requests_per_s, 1e-6, RATE_MAX)?,
        arrivals: fields
            .choice("arrivals", &[("regular", Arrivals::Regular), ("poisson", Arrivals::Poisson)])?
            .unwrap_or_default(),
    };
    fields.finish()?;
    Ok(load)
}

fn sweep(mut fields: Fields<'_>) -> Result<Sweep, SettingError> {
    let key = fields.text("key")?;
    let key = fields.required("key", key)?.to_owned();
    let listed = fields.list("values")?;
    let (from, to, steps) = (fields.number("from")?, fields.number("to")?, fields.whole("steps")?);
    fields.refuse_others()?;
    let values = match (listed, from, to, steps) {
        ([], Some(from), Some(to), Some(steps)) if (2..=VALUES_MAX).contains(&steps) => {
            (0..steps).map(|step| from + (to - from) * step as f64 / (steps - 1) as f64).collect()
        }
        ([], _, _, Some(steps)) if !(2..=VALUES_MAX).contains(&steps) => {
            let problem = format!("found {steps}, expected between 2 and {VALUES_MAX}");
            return Err(fields.invalid("steps", problem));
        }
        ([_, ..], None, None, None) => listed.iter().map(number).collect::<Result<_, _>>()?,
        _ => {
            let problem = "expected values, a list, or from, to and steps";
            return Err(fields.invalid("values", problem));
        }
    };
    Ok(Sweep { key, values })
}

fn number(setting: &Setting) -> Result<f64, SettingError> {
    match setting.value {
        Value::Whole(whole) => Ok(whole as f64),
        Value::Number(number) => Ok(number),
        _ => {
            let problem = format!("found {}, expected a number", setting.describe());
            Err(SettingError { line: setting.line, key: "sweep.values".to_owned(), problem })
        }
    }
}

pub(super) fn within(
    fields: &Fields<'_>,
    key: &str,
    value: f64,
    least: f64,
    most: f64,
) -> Result<f64, SettingError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(fields.invalid(key, format!("found {value}, expected a number between {least} and {most}")))
}
