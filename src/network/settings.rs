//! What a simulated network is like, as settings say it; docs/networks.md has every key.

use std::sync::Arc;

use super::{
    Bandwidth, DELAY_MAX, Delay, LinkProfile, Loss, Lost, Outages, ParameterError, Policy, Preset, Profile,
    Reorder, Samples, Shape, TimeSeries, Window,
};
use crate::settings::{SettingError, Table};

/// Gives the text of a file that settings name; or nothing, while they are only checked.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// The longest one-way latency, in milliseconds.
pub const LATENCY_MS_MAX: f64 = DELAY_MAX.as_secs() as f64 * 1e3;

/// The network that a table describes; its link is called `link` unless the table says otherwise. `read`
/// gives the text of a file of recorded delays.
///
/// # Errors
/// [`SettingError`] for the first thing that is wrong.
pub fn shape(mut table: Table<'_>, link: &str, read: Read<'_>) -> Result<Shape, SettingError> {
    let presets = Preset::ALL.each_ref().map(|preset| (preset.name, preset));
    let (mut uplink, mut downlink) = match table.find_choice("preset", &presets)? {
        Some(preset) => preset.links(),
        None => Default::default(),
    };
    let mut seed = 0;
    table.number("seed", .., &mut seed)?;
    let mut link = link.to_owned();
    table.text("link", &mut link)?;
    let lost = table.find_choice("lost", Lost::NAMES)?;
    for (key, link) in [("uplink", &mut uplink), ("downlink", &mut downlink)] {
        link.lost = lost.unwrap_or(link.lost);
        if let Some(section) = table.find_table(key)? {
            change(link, section, read)?;
        }
    }
    table.finish()?;
    Ok(Shape { seed, link, uplink, downlink })
}

/// The network of a table that may say `one_way_latency_ms`, each way, instead of all that [`shape`] reads.
///
/// # Errors
/// [`SettingError`] for the first thing that is wrong.
pub fn shape_or_latency(mut table: Table<'_>, link: &str, read: Read<'_>) -> Result<Profile, SettingError> {
    let Some(profile) = latency(&mut table)? else { return shape(table, link, read).map(Profile::shaped) };
    if let Some((other, _)) = table.others().next() {
        return Err(table.invalid(other, "stands beside one_way_latency_ms, expected one or the other"));
    }
    Ok(profile)
}

/// Takes `one_way_latency_ms` out of a table.
///
/// # Errors
/// When something else stands there than a latency.
pub fn latency(table: &mut Table<'_>) -> Result<Option<Profile>, SettingError> {
    let latency = table.find("one_way_latency_ms");
    latency.map(|entry| entry.milliseconds(0.0..=LATENCY_MS_MAX).map(Profile::constant)).transpose()
}

/// Changes `link` to what the table says, and leaves what it does not say.
fn change(link: &mut LinkProfile, mut table: Table<'_>, read: Read<'_>) -> Result<(), SettingError> {
    if let Some(section) = table.find_table("delay")? {
        link.delay = delay(section, read)?;
    }
    if let Some(section) = table.find_table("loss")? {
        link.loss = loss(section)?;
    }
    table.choice("lost", Lost::NAMES, &mut link.lost)?;
    if let Some(section) = table.find_table("bandwidth")? {
        link.bandwidth = Some(bandwidth(section)?);
    }
    if let Some(section) = table.find_table("reorder")? {
        link.reorder = Some(reorder(section)?);
    }
    if let Some(duplicates) = table.find_number("duplicates", ..)? {
        *link = std::mem::take(link).duplicating(duplicates).map_err(|error| named(&table, error))?;
    }
    if let Some(section) = table.find_table("outages")? {
        link.outages = Some(outages(section)?);
    }
    table.finish()
}

#[derive(Clone, Copy)]
enum Model {
    Constant,
    Uniform,
    Normal,
    Lognormal,
    Pareto,
    Empirical,
    Series,
}

const MODELS: &[(&str, Model)] = &[
    ("constant", Model::Constant),
    ("uniform", Model::Uniform),
    ("normal", Model::Normal),
    ("lognormal", Model::Lognormal),
    ("pareto", Model::Pareto),
    ("empirical", Model::Empirical),
    ("series", Model::Series),
];

/// What the delay of one or another model may say.
const DELAY_KEYS: &[&str] =
    &["model", "ms", "least_ms", "most_ms", "mean_ms", "sd_ms", "shape", "file", "plus_ms"];

fn delay(mut table: Table<'_>, read: Read<'_>) -> Result<Delay, SettingError> {
    table.refuse_all_but(DELAY_KEYS)?;
    let model = table.find_choice("model", MODELS)?;
    let delay = match table.required("model", model)? {
        Model::Constant => Delay::default().plus(number(&mut table, "ms")?).map_err(|error| {
            // A constant is nothing but what is added.
            ParameterError { parameter: "ms", ..error }
        }),
        Model::Uniform => Delay::uniform(number(&mut table, "least_ms")?, number(&mut table, "most_ms")?),
        Model::Normal => Delay::normal(number(&mut table, "mean_ms")?, number(&mut table, "sd_ms")?),
        Model::Lognormal => Delay::lognormal(number(&mut table, "mean_ms")?, number(&mut table, "sd_ms")?),
        Model::Pareto => Delay::pareto(number(&mut table, "least_ms")?, number(&mut table, "shape")?),
        Model::Empirical => Ok(match recorded(&mut table, read)? {
            Some((file, text)) => Samples::parse(&text)
                .map(|samples| Delay::empirical(Arc::new(samples)))
                .map_err(|error| table.invalid("file", format!("{file}, {error}")))?,
            None => Delay::default(),
        }),
        Model::Series => Ok(match recorded(&mut table, read)? {
            Some((file, text)) => TimeSeries::parse(&text)
                .map(|series| Delay::series(Arc::new(series)))
                .map_err(|error| table.invalid("file", format!("{file}, {error}")))?,
            None => Delay::default(),
        }),
    };
    let plus_ms = table.find_number("plus_ms", ..)?.unwrap_or_default();
    let delay = delay.and_then(|delay| delay.plus(plus_ms)).map_err(|error| named(&table, error))?;
    table.finish()?;
    Ok(delay)
}

/// A file of recorded delays and its text.
fn recorded<'a>(table: &mut Table<'a>, read: Read<'_>) -> Result<Option<(&'a str, String)>, SettingError> {
    let file = table.find_text("file")?;
    let file = table.required("file", file)?;
    let text = read(file).map_err(|problem| table.invalid("file", problem))?;
    Ok(text.map(|text| (file, text)))
}

fn loss(mut table: Table<'_>) -> Result<Loss, SettingError> {
    let probability = table.find_number("probability", ..)?;
    let [enter, leave] = [table.find_number("good_to_bad", ..)?, table.find_number("bad_to_good", ..)?];
    let [in_good, in_bad] = [table.find_number("loss_in_good", ..)?, table.find_number("loss_in_bad", ..)?];
    table.refuse_others()?;
    let loss = match probability {
        Some(_) if [enter, leave, in_good, in_bad].iter().any(Option::is_some) => {
            let problem = "stands beside good_to_bad and the like, expected one or the other";
            return Err(table.invalid("probability", problem));
        }
        Some(probability) => Loss::independent(probability),
        None => Loss::gilbert_elliott(
            table.required("good_to_bad", enter)?,
            table.required("bad_to_good", leave)?,
            in_good.unwrap_or(0.0),
            in_bad.unwrap_or(1.0),
        ),
    };
    loss.map_err(|error| named(&table, error))
}

fn bandwidth(mut table: Table<'_>) -> Result<Bandwidth, SettingError> {
    let [bits_per_s, queue_bytes_max, overhead_bytes] = [
        table.find_number("bits_per_s", ..)?,
        table.find_number("queue_bytes_max", ..)?,
        table.find_number("overhead_bytes", ..)?,
    ];
    table.refuse_others()?;
    let bits_per_s = table.required("bits_per_s", bits_per_s)?;
    let queue_bytes_max = table.required("queue_bytes_max", queue_bytes_max)?;
    Bandwidth::new(bits_per_s, queue_bytes_max, overhead_bytes.unwrap_or_default())
        .map_err(|error| named(&table, error))
}

fn reorder(mut table: Table<'_>) -> Result<Reorder, SettingError> {
    let (share, held_back_ms) = (table.find_number("share", ..)?, table.find_number("held_back_ms", ..)?);
    table.refuse_others()?;
    Reorder::new(table.required("share", share)?, table.required("held_back_ms", held_back_ms)?)
        .map_err(|error| named(&table, error))
}

fn outages(mut table: Table<'_>) -> Result<Outages, SettingError> {
    table.refuse_all_but(&["policy", "schedule", "mean_up_s", "mean_down_s"])?;
    let mut policy = Policy::default();
    table.choice("policy", Policy::NAMES, &mut policy)?;
    let outages = match table.find_list("schedule")? {
        Some(windows) => {
            let windows = windows.iter().map(|entry| window(entry.table()?));
            Outages::scheduled(policy, windows.collect::<Result<_, _>>()?)
        }
        None => Outages::random(policy, number(&mut table, "mean_up_s")?, number(&mut table, "mean_down_s")?),
    };
    let outages = outages.map_err(|error| named(&table, error))?;
    table.finish()?;
    Ok(outages)
}

fn window(mut table: Table<'_>) -> Result<Window, SettingError> {
    let (at_s, for_s) = (number(&mut table, "at_s")?, number(&mut table, "for_s")?);
    let every_s = table.find_number("every_s", ..)?;
    let window = Window::new(at_s, for_s, every_s).map_err(|error| named(&table, error))?;
    table.finish()?;
    Ok(window)
}

/// A number that must be there.
fn number(table: &mut Table<'_>, key: &'static str) -> Result<f64, SettingError> {
    let number = table.find_number(key, ..)?;
    table.required(key, number)
}

fn named(table: &Table<'_>, error: ParameterError) -> SettingError {
    table.invalid(error.parameter, error.problem)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::toml;

    fn read(text: &str) -> Result<Shape, SettingError> {
        let recorded = |file: &str| match file {
            "samples.csv" => Ok(Some("5\n".to_owned())),
            "bad.csv" => Ok(Some("5\nx\n".to_owned())),
            _ => Err(format!("{file} cannot be read")),
        };
        shape(Table::of(&toml::parse(None, text)?, "network")?, "edge", &recorded)
    }

    fn uplink(text: &str) -> Result<LinkProfile, SettingError> {
        read(&format!("[uplink]\n{text}")).map(|shape| shape.uplink)
    }

    #[test]
    fn a_table_changes_what_it_says_and_keeps_the_preset_s_rest() {
        let found = read(&format!(
            "preset = \"4g\"\nseed = {}\nlost = \"report\"\nuplink.loss.probability = 0.1",
            u64::MAX
        ))
        .unwrap();
        let (up, down) = Preset::named("4g").unwrap().links();
        let loss = Loss::independent(0.1).unwrap();
        assert_eq!(found.uplink, LinkProfile { loss, lost: Lost::Report, ..up });
        assert_eq!(found.downlink, LinkProfile { lost: Lost::Report, ..down });
        assert_eq!((found.seed, found.link.as_str()), (u64::MAX, "edge"));
    }

    #[test]
    fn every_model_can_be_said() {
        let delay = |delay: &str| uplink(&format!("delay = {{ {delay} }}")).unwrap().delay;
        let constant = delay("model = \"constant\", ms = 5, plus_ms = 1.5");
        assert_eq!(constant.as_constant(), Some(Duration::from_micros(6_500)));
        let normal = delay("model = \"normal\", mean_ms = 5.0, sd_ms = 1.0");
        assert_eq!(normal, Delay::normal(5.0, 1.0).unwrap());
        let pareto = delay("model = \"pareto\", least_ms = 5, shape = 3.0");
        assert_eq!(pareto, Delay::pareto(5.0, 3.0).unwrap());
        let empirical = delay("model = \"empirical\", file = \"samples.csv\"");
        assert_eq!(empirical, Delay::empirical(Arc::new(Samples::parse("5").unwrap())));
        let random = "outages = { mean_up_s = 5, mean_down_s = 1, policy = \"fail\" }";
        let found = uplink(random).unwrap().outages;
        assert_eq!(found, Some(Outages::random(Policy::Fail, 5.0, 1.0).unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |text: &str| uplink(text).unwrap_err().to_string();
        let delay = |delay: &str| problem(&format!("delay = {{ {delay} }}"));
        assert!(delay("model = \"normal\"").contains("`network.uplink.delay.mean_ms`: is missing"));
        let foreign = delay("model = \"constant\", ms = 5, sd_ms = 1");
        let expected = "line 2, key `network.uplink.delay.sd_ms`: unknown key, expected one of model, ms";
        assert!(foreign.starts_with(expected), "{foreign}");
        assert!(delay("model = \"constant\", ms = 1e6").contains("`network.uplink.delay.ms`: found 1000000"));
        let bad = |file| delay(&format!("model = \"empirical\", file = \"{file}\""));
        assert!(bad("bad.csv").contains("bad.csv, line 2: found \"x\""));
        assert!(bad("none.csv").contains("none.csv cannot be read"));
        assert!(problem("losss = 1").contains("did you mean `loss`?"));
    }
}
