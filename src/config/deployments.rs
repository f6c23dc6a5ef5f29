//! `[deployments.NAME]`: a model, and how it is served.

use super::cloud::cloud;
use super::files::Files;
use super::networks::network;
use super::workers::{worker, workers};
use crate::client::Acknowledge;
use crate::deployment::{Config, DeviceIdFrom, DeviceState, Topics};
use crate::mqtt;
use crate::network::Profile;
use crate::node::{ModelSource, ServedDeployment};
use crate::settings::{Entry, SettingError, Table};
use crate::wire::Members;

/// Reads the deployment `name`.
pub fn deployment(name: &str, entry: &Entry<'_>, files: Files<'_>) -> Result<ServedDeployment, SettingError> {
    if name.is_empty() || !mqtt::is_topic_name(name) || name.contains('/') {
        return Err(entry.invalid(format!("found the name {name:?}, expected one topic level")));
    }
    let mut table = entry.table()?;
    let model = files.model(&mut table, "model")?;
    let mut config = Config { name: name.to_owned(), placement: name.to_owned(), ..Config::edge() };
    table.text("placement", &mut config.placement)?;
    let network = network(&mut table, name, files)?;
    config.topics = topics(&mut table)?;
    for entry in table.find_list("members")?.unwrap_or_default() {
        let member = entry.choice(Members::NAMES)?;
        *member(&mut config.members) = true;
    }
    table.number("payload_bytes_max", 1.., &mut config.wire.payload_bytes_max)?;
    workers(&mut table, &mut config.workers)?;
    config.worker = worker(&mut table, config.worker)?;
    table.number("in_flight_max", 1.., &mut config.in_flight_max)?;
    if let Some(deadline) = table.find("deadline_ms") {
        config.deadline = Some(deadline.milliseconds(0.0..)?);
    }
    table.choice("acknowledge", Acknowledge::NAMES, &mut config.acknowledge)?;
    table.seconds("duplicates_s", 0.0.., &mut config.duplicates.duration)?;
    table.number("duplicates_requests_max", .., &mut config.duplicates.requests_max)?;
    if let Some(mut compat) = table.find_table("compat")? {
        compat.flag("double_sigmoid", &mut config.double_sigmoid)?;
        compat.finish()?;
    }
    table.choice("device_id_from", DeviceIdFrom::NAMES, &mut config.device_id_from)?;
    table.flag("ordered", &mut config.ordered)?;
    config.device_state = device_state(&mut table, files)?;
    let cloud =
        table.find_table("cloud")?.map(|table| cloud(table, name, config.worker, files)).transpose()?;
    // Before the model is missed: a misspelt key alone makes no deployment.
    table.refuse_others()?;
    let model = table.required("model", model)?;
    let usual = if config.placement == "cloud" && cloud.is_none() { Profile::CLOUD } else { Profile::NONE };
    config.network = network.unwrap_or(usual);
    let (hybrid, cloud_model) = cloud.unzip();
    config.hybrid = hybrid.map(Box::new);
    let cloud_model = cloud_model.flatten().map(ModelSource::Path);
    Ok(ServedDeployment { config, model: ModelSource::Path(model), cloud_model })
}

/// Where what is learnt of devices is kept, and how often.
fn device_state(table: &mut Table<'_>, files: Files<'_>) -> Result<Option<DeviceState>, SettingError> {
    let Some(mut table) = table.find_table("device_state")? else { return Ok(None) };
    let mut interval = DeviceState::INTERVAL;
    table.seconds("interval_s", 1.0..=86_400.0, &mut interval)?;
    let path = files.path(&mut table, "path")?;
    table.refuse_others()?;
    Ok(Some(DeviceState { path: table.required("path", path)?, interval }))
}

fn filter(entry: &Entry<'_>) -> Result<String, SettingError> {
    let expected = "a topic filter that does not start with '$'";
    let filter = entry.text_or(expected)?;
    match mqtt::why_no_filter(filter) {
        Some(hint) => Err(entry.wrong(format!("{expected}: {hint}"))),
        None if filter.starts_with('$') => Err(entry.wrong(expected)),
        None => Ok(filter.to_owned()),
    }
}

fn topics(table: &mut Table<'_>) -> Result<Topics, SettingError> {
    let mut topics = Topics::under(table.find_text("topic_prefix")?.unwrap_or_default());
    if let Some(entry) = table.find("request_topics") {
        topics.request = entry.items()?.map(|item| filter(&item)).collect::<Result<_, _>>()?;
        if topics.request.is_empty() {
            return Err(entry.invalid("found none, expected at least one topic filter"));
        }
    }
    for (key, topic) in [("result_topic", &mut topics.result), ("error_topic", &mut topics.error)] {
        let name = |name: &str| mqtt::is_topic_name(name).then(|| name.to_owned());
        if let Some(name) = table.find_parsed(key, "a topic without '+' or '#'", name)? {
            *topic = name;
        }
    }
    Ok(topics)
}
