//! Our own form: `simulation`, `placements`, `networks`, `sensors`, `load`, `sweep` and `deadline_ms`.

use std::path::PathBuf;
use std::time::Duration;

use super::document::remark;
use super::{Arrivals, HybridPlacement, Load, Placement, Remark, Scenario, Sensor, Source, Sweep};
use crate::network::settings::{Read, shape};
use crate::network::{Preset, Profile, Shape};
use crate::placement;
use crate::sensors::recorded::{Decimal, Format};
use crate::settings::{Entry, SettingError, Table};

/// The longest experiment: a week.
const DURATION_S_MAX: f64 = 604_800.0;
/// The most repeats of an experiment.
const REPEATS_MAX: u32 = 1_000;
/// The most sensors of a kind.
const SENSORS_MAX: u32 = 1_000_000;
/// The most requests a second, of one sensor or of all.
const RATE_MAX: f64 = 1_000_000.0;
/// The most values of one sweep.
const VALUES_MAX: usize = 1_000;

/// `simulation`, which both forms have; ours adds `warm_up_s` and `repeats`.
pub fn simulation(mut table: Table<'_>, remarks: &mut Vec<Remark>) -> Result<Scenario, SettingError> {
    let duration_s = table.find_number("duration_s", 1e-3..=DURATION_S_MAX)?;
    let duration_s = table.required("duration_s", duration_s)?;
    let seed = table.find_number("seed", ..)?;
    let seed = table.required("seed", seed)?;
    if let Some(quantum) = table.find("time_quantum_us") {
        let text = "time is continuous here: an event happens when it does, not at the next quantum";
        remark(remarks, &quantum.setting().origin, "simulation.time_quantum_us", text);
    }
    let (mut warm_up, mut repeats) = (Duration::ZERO, 1);
    // With nothing behind it there would be nothing to compare.
    table.seconds("warm_up_s", 0.0..duration_s, &mut warm_up)?;
    table.number("repeats", 1..=REPEATS_MAX, &mut repeats)?;
    table.finish()?;
    Ok(Scenario {
        duration: Duration::from_secs_f64(duration_s),
        warm_up,
        repeats,
        seed,
        deadline: None,
        placements: Vec::new(),
        sensors: Vec::new(),
        load: None,
        sweeps: Vec::new(),
        remarks: Vec::new(),
    })
}

/// Reads what our own form has beside `simulation`: networks, placements, sensors, load, sweeps.
pub fn read(file: &mut Table<'_>, scenario: &mut Scenario, read: Read<'_>) -> Result<(), SettingError> {
    let networks = networks(file, scenario.seed, read)?;
    for entry in file.find_list("placements")?.unwrap_or_default() {
        let placement = placement(entry.table()?, &networks, scenario.seed)?;
        if scenario.placements.iter().any(|known| known.name == placement.name) {
            let problem = format!("there are two called {:?}, expected names that differ", placement.name);
            return Err(entry.invalid(problem));
        }
        scenario.placements.push(placement);
    }
    for entry in file.find_list("sensors")?.unwrap_or_default() {
        scenario.sensors.push(sensor(entry.table()?)?);
    }
    scenario.load = file.find_table("load")?.map(load).transpose()?;
    for entry in file.find_list("sweep")?.unwrap_or_default() {
        scenario.sweeps.push(sweep(entry.table()?)?);
    }
    if let Some(deadline) = file.find("deadline_ms") {
        scenario.deadline = Some(deadline.milliseconds(1e-3..=3.6e6)?);
    }
    Ok(())
}

/// `networks`: profiles by name.
fn networks(file: &mut Table<'_>, seed: u64, read: Read<'_>) -> Result<Vec<(String, Shape)>, SettingError> {
    let named = file.find_named("networks")?.into_iter().map(|(name, entry)| {
        let mut shape = shape(entry.table()?, name, read)?;
        // A repeat with another seed of the experiment meets another network, too.
        shape.seed ^= seed;
        Ok((name.to_owned(), shape))
    });
    named.collect()
}

fn placement(
    mut table: Table<'_>,
    networks: &[(String, Shape)],
    seed: u64,
) -> Result<Placement, SettingError> {
    let (name, model) = (table.find_text("name")?, table.find_text("model")?);
    let threshold = table.find_number("threshold", 0.0..=1.0)?;
    let network = network(&mut table, networks, seed)?.unwrap_or(Profile::NONE);
    let hybrid = table.find_table("cloud")?.map(|cloud| hybrid(cloud, networks, seed)).transpose()?;
    let placement = Placement {
        name: table.required("name", name)?.to_owned(),
        model: PathBuf::from(table.required("model", model)?),
        threshold,
        network,
        hybrid,
    };
    table.finish()?;
    Ok(placement)
}

/// The cloud that makes a placement a hybrid.
fn hybrid(
    mut table: Table<'_>,
    networks: &[(String, Shape)],
    seed: u64,
) -> Result<HybridPlacement, SettingError> {
    Ok(HybridPlacement {
        model: table.find_text("model")?.map(PathBuf::from),
        threshold: table.find_number("threshold", 0.0..=1.0)?,
        network: network(&mut table, networks, seed)?.unwrap_or(Profile::CLOUD),
        placement: placement::settings::config(&mut table)?,
    })
}

/// The network that `network` names: one of the file's or a preset.
fn network(
    table: &mut Table<'_>,
    networks: &[(String, Shape)],
    seed: u64,
) -> Result<Option<Profile>, SettingError> {
    let Some(entry) = table.find("network") else { return Ok(None) };
    let wanted = entry.text()?;
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
            let expected = format!("one of networks or a preset: {}", known.join(", "));
            Err(entry.wrong(expected).suggesting(wanted, known))
        }
    }
}

fn sensor(mut table: Table<'_>) -> Result<Sensor, SettingError> {
    let id = table.find_text("id")?;
    let id = table.required("id", id)?.to_owned();
    let mut count = 1;
    table.number("count", 1..=SENSORS_MAX, &mut count)?;
    let source = match table.find_text("file")? {
        Some(file) => {
            let mut speed = 1.0;
            table.number("speed", 1e-6..=1e6, &mut speed)?;
            let label = table.find_text("label")?.map(str::to_owned);
            let anomalies = table.find_list("anomaly")?.unwrap_or_default();
            let anomalies = anomalies.iter().map(word).collect::<Result<_, _>>()?;
            let columns = table.find_named("features")?.into_iter();
            let columns = columns.map(|(input, column)| Ok((input.to_owned(), word(&column)?)));
            let columns = columns.collect::<Result<_, _>>()?;
            let format = format(&mut table)?;
            Source::Recorded { file: PathBuf::from(file), speed, label, anomalies, columns, format }
        }
        None => {
            table.find_choice("kind", &[("bearing", ())])?;
            let (mut rate_hz, mut noise_level) = (1.0, 1.0);
            table.number("rate_hz", 1e-6..=RATE_MAX, &mut rate_hz)?;
            table.number("noise_level", 0.0..=1e3, &mut noise_level)?;
            Source::Bearing { rate_hz, noise_level }
        }
    };
    table.finish()?;
    Ok(Sensor { id, count, source })
}

/// A label or a column's name, which may be a number.
fn word(entry: &Entry<'_>) -> Result<String, SettingError> {
    entry.number::<f64>(..).map(|number| number.to_string()).or_else(|_| entry.text().map(str::to_owned))
}

/// How a recording is written.
fn format(table: &mut Table<'_>) -> Result<Format, SettingError> {
    let mut format = Format::default();
    if let Some(entry) = table.find("delimiter") {
        format.delimiter = entry.parsed(Format::DELIMITERS, Format::delimiter_of)?;
    }
    if let Some(entry) = table.find("decimal") {
        format.decimal = entry.parsed("\".\" or \",\"", Decimal::of)?;
    }
    format.skips_bad_rows = table.find_flag("skip_bad_rows")?.unwrap_or(false);
    Ok(format)
}

fn load(mut table: Table<'_>) -> Result<Load, SettingError> {
    let requests_per_s = table.find_number("requests_per_s", 1e-6..=RATE_MAX)?;
    let requests_per_s = table.required("requests_per_s", requests_per_s)?;
    let mut arrivals = Arrivals::default();
    table.choice("arrivals", Arrivals::NAMES, &mut arrivals)?;
    table.finish()?;
    Ok(Load { requests_per_s, arrivals })
}

fn sweep(mut table: Table<'_>) -> Result<Sweep, SettingError> {
    let key = table.find_text("key")?;
    let key = table.required("key", key)?.to_owned();
    let listed = table.find_numbers::<f64>("values", ..)?.filter(|values| !values.is_empty());
    let (from, to) = (table.find_number::<f64>("from", ..)?, table.find_number::<f64>("to", ..)?);
    let steps = table.find_number("steps", 2..=VALUES_MAX)?;
    table.refuse_others()?;
    let values = match (listed, from, to, steps) {
        (Some(values), None, None, None) => values,
        (None, Some(from), Some(to), Some(steps)) => {
            (0..steps).map(|step| from + (to - from) * step as f64 / (steps - 1) as f64).collect()
        }
        _ => return Err(table.invalid("values", "expected values, a list, or from, to and steps")),
    };
    Ok(Sweep { key, values })
}
