//! What a simulated network is like, as settings say it; docs/networks.md has every key.

use std::sync::Arc;

use super::{
    Bandwidth, Delay, LinkProfile, Loss, Lost, Outages, ParameterError, Policy, Preset, Profile, Reorder,
    Samples, Shape, TimeSeries, Window,
};
use crate::settings::old::{Fields, Setting, SettingError};

/// Gives a file's text; or nothing, while settings are only checked.
type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// The network that the table `setting` at `path` describes; its link is called
/// `link` unless the table says otherwise. `read` gives the text of a file of
/// recorded delays, or nothing while the settings are only checked.
///
/// # Errors
/// [`SettingError`] naming line and key.
pub fn network_shape(
    setting: &Setting,
    path: &str,
    link: &str,
    read: Read<'_>,
) -> Result<Shape, SettingError> {
    let mut fields = Fields::of(setting, path)?;
    let presets = Preset::ALL.each_ref().map(|preset| (preset.name, preset));
    let (mut uplink, mut downlink) = match fields.choice("preset", &presets)? {
        Some(preset) => preset.links(),
        None => Default::default(),
    };
    let seed = fields.whole("seed")?.unwrap_or_default();
    let link = fields.text("link")?.unwrap_or(link).to_owned();
    let lost = fields.choice("lost", LOST)?;
    for (key, link) in [("uplink", &mut uplink), ("downlink", &mut downlink)] {
        link.lost = lost.unwrap_or(link.lost);
        if let Some(section) = fields.table(key)? {
            change(link, section, read)?;
        }
    }
    fields.finish()?;
    Ok(Shape { seed, link, uplink, downlink })
}

/// The same where a table may say `one_way_latency_ms` instead, each way.
///
/// # Errors
/// [`SettingError`] naming line and key.
pub fn network_or_latency(
    setting: &Setting,
    path: &str,
    link: &str,
    read: Read<'_>,
) -> Result<Profile, SettingError> {
    let mut fields = Fields::of(setting, path)?;
    let Some(latency_ms) = fields.number("one_way_latency_ms")? else {
        return network_shape(setting, path, link, read).map(Profile::shaped);
    };
    if let Some((other, _)) = fields.others().next() {
        let problem = "stands beside one_way_latency_ms, expected one or the other";
        return Err(fields.invalid(other, problem));
    }
    let latency = Delay::default().plus(latency_ms).map_err(|error| {
        let parameter = "one_way_latency_ms";
        named(&fields, ParameterError { parameter, ..error })
    })?;
    Ok(Profile::constant(latency.as_constant().unwrap_or_default()))
}

const LOST: &[(&str, Lost)] = &[("silence", Lost::Silence), ("report", Lost::Report)];

/// Changes `link` to what the table says, and leaves what it does not say.
fn change(link: &mut LinkProfile, mut fields: Fields<'_>, read: Read<'_>) -> Result<(), SettingError> {
    if let Some(section) = fields.table("delay")? {
        link.delay = delay(section, read)?;
    }
    if let Some(section) = fields.table("loss")? {
        link.loss = loss(section)?;
    }
    link.lost = fields.choice("lost", LOST)?.unwrap_or(link.lost);
    if let Some(section) = fields.table("bandwidth")? {
        link.bandwidth = Some(bandwidth(section)?);
    }
    if let Some(mut section) = fields.table("reorder")? {
        section.refuse_unknown(&["share", "held_back_ms"])?;
        let (share, held_back_ms) = (number(&mut section, "share")?, number(&mut section, "held_back_ms")?);
        link.reorder = Some(Reorder::new(share, held_back_ms).map_err(|error| named(&section, error))?);
        section.finish()?;
    }
    if let Some(duplicates) = fields.number("duplicates")? {
        *link = std::mem::take(link).duplicating(duplicates).map_err(|error| named(&fields, error))?;
    }
    if let Some(section) = fields.table("outages")? {
        link.outages = Some(outages(section)?);
    }
    fields.finish()
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

fn delay(mut fields: Fields<'_>, read: Read<'_>) -> Result<Delay, SettingError> {
    fields.refuse_unknown(DELAY_KEYS)?;
    let model = fields.choice("model", MODELS)?;
    let delay = match fields.required("model", model)? {
        Model::Constant => Delay::default().plus(number(&mut fields, "ms")?).map_err(|error| {
            // A constant is nothing but what is added.
            ParameterError { parameter: "ms", ..error }
        }),
        Model::Uniform => Delay::uniform(number(&mut fields, "least_ms")?, number(&mut fields, "most_ms")?),
        Model::Normal => Delay::normal(number(&mut fields, "mean_ms")?, number(&mut fields, "sd_ms")?),
        Model::Lognormal => Delay::lognormal(number(&mut fields, "mean_ms")?, number(&mut fields, "sd_ms")?),
        Model::Pareto => Delay::pareto(number(&mut fields, "least_ms")?, number(&mut fields, "shape")?),
        Model::Empirical => Ok(match recorded(&mut fields, read)? {
            Some((file, text)) => Samples::parse(&text)
                .map(|samples| Delay::empirical(Arc::new(samples)))
                .map_err(|error| fields.invalid("file", format!("{file}, {error}")))?,
            None => Delay::default(),
        }),
        Model::Series => Ok(match recorded(&mut fields, read)? {
            Some((file, text)) => TimeSeries::parse(&text)
                .map(|series| Delay::series(Arc::new(series)))
                .map_err(|error| fields.invalid("file", format!("{file}, {error}")))?,
            None => Delay::default(),
        }),
    };
    let plus_ms = fields.number("plus_ms")?.unwrap_or_default();
    let delay = delay.and_then(|delay| delay.plus(plus_ms)).map_err(|error| named(&fields, error))?;
    fields.finish()?;
    Ok(delay)
}

/// A file of recorded delays and its text.
fn recorded<'a>(fields: &mut Fields<'a>, read: Read<'_>) -> Result<Option<(&'a str, String)>, SettingError> {
    let file = fields.text("file")?;
    let file = fields.required("file", file)?;
    let text = read(file).map_err(|problem| fields.invalid("file", problem))?;
    Ok(text.map(|text| (file, text)))
}

fn loss(mut fields: Fields<'_>) -> Result<Loss, SettingError> {
    let probability = fields.number("probability")?;
    let [enter, leave] = [fields.number("good_to_bad")?, fields.number("bad_to_good")?];
    let [in_good, in_bad] = [fields.number("loss_in_good")?, fields.number("loss_in_bad")?];
    fields.refuse_others()?;
    let loss = match probability {
        Some(_) if [enter, leave, in_good, in_bad].iter().any(Option::is_some) => {
            let problem = "stands beside good_to_bad and the like, expected one or the other";
            return Err(fields.invalid("probability", problem));
        }
        Some(probability) => Loss::independent(probability),
        None => Loss::gilbert_elliott(
            fields.required("good_to_bad", enter)?,
            fields.required("bad_to_good", leave)?,
            in_good.unwrap_or(0.0),
            in_bad.unwrap_or(1.0),
        ),
    };
    loss.map_err(|error| named(&fields, error))
}

fn bandwidth(mut fields: Fields<'_>) -> Result<Bandwidth, SettingError> {
    fields.refuse_unknown(&["bits_per_s", "queue_bytes_max", "overhead_bytes"])?;
    let (bits_per_s, queue_bytes_max) = (fields.whole("bits_per_s")?, fields.whole("queue_bytes_max")?);
    let bandwidth = Bandwidth::new(
        fields.required("bits_per_s", bits_per_s)?,
        fields.required("queue_bytes_max", queue_bytes_max)?,
        fields.whole("overhead_bytes")?.unwrap_or_default(),
    );
    let bandwidth = bandwidth.map_err(|error| named(&fields, error))?;
    fields.finish()?;
    Ok(bandwidth)
}

fn outages(mut fields: Fields<'_>) -> Result<Outages, SettingError> {
    fields.refuse_unknown(&["policy", "schedule", "mean_up_s", "mean_down_s"])?;
    let policies = [("wait", Policy::Wait), ("fail", Policy::Fail)];
    let policy = fields.choice("policy", &policies)?.unwrap_or_default();
    let outages = if fields.get("schedule").is_some() {
        let path = format!("{}.schedule", fields.path());
        let windows = fields.list("schedule")?.iter().map(|setting| window(setting, &path));
        Outages::scheduled(policy, windows.collect::<Result<_, _>>()?)
    } else {
        Outages::random(policy, number(&mut fields, "mean_up_s")?, number(&mut fields, "mean_down_s")?)
    };
    let outages = outages.map_err(|error| named(&fields, error))?;
    fields.finish()?;
    Ok(outages)
}

fn window(setting: &Setting, path: &str) -> Result<Window, SettingError> {
    let mut fields = Fields::of(setting, path)?;
    let (at_s, for_s) = (number(&mut fields, "at_s")?, number(&mut fields, "for_s")?);
    let window =
        Window::new(at_s, for_s, fields.number("every_s")?).map_err(|error| named(&fields, error))?;
    fields.finish()?;
    Ok(window)
}

/// A number that must be there.
fn number(fields: &mut Fields<'_>, key: &'static str) -> Result<f64, SettingError> {
    let number = fields.number(key)?;
    fields.required(key, number)
}

fn named(fields: &Fields<'_>, error: ParameterError) -> SettingError {
    fields.invalid(error.parameter, error.problem)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::old::Value;

    fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
        let entry = |(name, value): (&str, Value)| (name.to_owned(), Setting { line: 1, value });
        Value::Table(entries.map(entry).into())
    }

    fn shape(value: Value) -> Result<Shape, SettingError> {
        let recorded = |file: &str| match file {
            "samples.csv" => Ok(Some("5\n".to_owned())),
            "bad.csv" => Ok(Some("5\nx\n".to_owned())),
            _ => Err(format!("{file} cannot be read")),
        };
        network_shape(&Setting { line: 1, value }, "network", "edge", &recorded)
    }

    fn uplink(entries: Value) -> Result<LinkProfile, SettingError> {
        shape(table([("uplink", entries)])).map(|shape| shape.uplink)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_table_changes_what_it_says_and_keeps_the_preset_s_rest() {
        let loss = table([("probability", Value::Number(0.1))]);
        let found = shape(table([
            ("preset", text("4g")),
            ("seed", Value::Whole(i128::from(u64::MAX))),
            ("lost", text("report")),
            ("uplink", table([("loss", loss)])),
        ]))
        .unwrap();
        let (up, down) = Preset::named("4g").unwrap().links();
        let loss = Loss::independent(0.1).unwrap();
        assert_eq!(found.uplink, LinkProfile { loss, lost: Lost::Report, ..up });
        assert_eq!(found.downlink, LinkProfile { lost: Lost::Report, ..down });
        assert_eq!((found.seed, found.link.as_str()), (u64::MAX, "edge"));
    }

    #[test]
    fn every_model_can_be_said() {
        let delay = |entries| uplink(table([("delay", entries)])).unwrap().delay;
        let ms = |ms| Value::Number(ms);
        let constant = table([("model", text("constant")), ("ms", Value::Whole(5)), ("plus_ms", ms(1.5))]);
        assert_eq!(delay(constant).as_constant(), Some(Duration::from_micros(6_500)));
        let normal = table([("model", text("normal")), ("mean_ms", ms(5.0)), ("sd_ms", ms(1.0))]);
        assert_eq!(delay(normal), Delay::normal(5.0, 1.0).unwrap());
        let pareto = table([("model", text("pareto")), ("least_ms", ms(5.0)), ("shape", ms(3.0))]);
        assert_eq!(delay(pareto), Delay::pareto(5.0, 3.0).unwrap());
        let empirical = table([("model", text("empirical")), ("file", text("samples.csv"))]);
        assert_eq!(delay(empirical), Delay::empirical(Arc::new(Samples::parse("5").unwrap())));
        let random = table([("mean_up_s", ms(5.0)), ("mean_down_s", ms(1.0)), ("policy", text("fail"))]);
        let found = uplink(table([("outages", random)])).unwrap().outages;
        assert_eq!(found, Some(Outages::random(Policy::Fail, 5.0, 1.0).unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |entries| uplink(entries).unwrap_err().to_string();
        let delay = |entries| problem(table([("delay", entries)]));
        assert!(
            delay(table([("model", text("normal"))])).contains("`network.uplink.delay.mean_ms`: is missing")
        );
        let foreign =
            table([("model", text("constant")), ("ms", Value::Whole(5)), ("sd_ms", Value::Whole(1))]);
        assert!(
            delay(foreign).contains("`network.uplink.delay.sd_ms`: unknown key, expected one of model, ms")
        );
        let long = table([("model", text("constant")), ("ms", Value::Number(1e6))]);
        assert!(delay(long).contains("`network.uplink.delay.ms`: found 1000000"));
        let bad = |file| delay(table([("model", text("empirical")), ("file", text(file))]));
        assert!(bad("bad.csv").contains("bad.csv, line 2: found \"x\""));
        assert!(bad("none.csv").contains("none.csv cannot be read"));
        assert!(problem(table([("losss", Value::Nothing)])).contains("did you mean `loss`?"));
    }
}
