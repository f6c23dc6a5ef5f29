//! The replaced system's form: `ml_inference`, `network` and `nodes`, with the same
//! keys and the same meaning.
//!
//! There, sensors, a gateway, a broker and the model were processes and containers
//! that a coordinator started. Here a node is all of them but the sensors. So a sensor
//! becomes a sensor, a placement's `latency_ms` and the links between sensors and
//! gateway become the placement's network, and everything else is named in a remark.

use std::path::PathBuf;
use std::time::Duration;

use super::document::remark;
use super::{HybridPlacement, Placement, Remark, Scenario, Sensor, Source};
use crate::network::{Delay, LinkProfile, Loss, Profile, Shape};
use crate::placement::{self, Policy, Probing};
use crate::settings::{Origin, Setting, SettingError, Table};

/// One way between two nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    latency_us: f64,
    loss_rate: f64,
}

#[derive(Default)]
struct Links {
    default: Option<Way>,
    links: Vec<(String, String, Way)>,
}

/// The longest latency of a link: the longest that a network may have.
const LATENCY_US_MAX: f64 = 60_000_000.0;

/// Reads the three sections.
pub fn read(
    file: &mut Table<'_>,
    scenario: &mut Scenario,
    remarks: &mut Vec<Remark>,
) -> Result<(), SettingError> {
    let links = file.find_table("network")?.map(links).transpose()?.unwrap_or_default();
    let mut gateway = None;
    for entry in file.find_list("nodes")?.unwrap_or_default() {
        node(entry.table()?, scenario, &mut gateway, remarks)?;
    }
    if let Some(inference) = file.find_table("ml_inference")? {
        let local = links.between(scenario, gateway.as_deref(), file.origin(), remarks);
        placements(inference, scenario, local, remarks)?;
    }
    Ok(())
}

fn links(mut table: Table<'_>) -> Result<Links, SettingError> {
    let mut is_latency = false;
    table.choice("model", &[("direct", false), ("latency", true)], &mut is_latency)?;
    let default = way(&mut table, ["default_latency_us", "default_loss_rate"], [10_000.0, 0.0])?;
    let mut links = Vec::new();
    for entry in table.find_list("links")?.unwrap_or_default() {
        let mut link = entry.table()?;
        let (src, dst) = (link.find_text("src")?, link.find_text("dst")?);
        let (src, dst) = (link.required("src", src)?.to_owned(), link.required("dst", dst)?.to_owned());
        let own = way(&mut link, ["latency_us", "loss_rate"], [default.latency_us, default.loss_rate])?;
        link.finish()?;
        links.push((src, dst, own));
    }
    table.finish()?;
    // The direct model delivers everything at once.
    Ok(if is_latency { Links { default: Some(default), links } } else { Links::default() })
}

fn way(
    table: &mut Table<'_>,
    [latency, loss]: [&'static str; 2],
    defaults: [f64; 2],
) -> Result<Way, SettingError> {
    let [mut latency_us, mut loss_rate] = defaults;
    table.number(latency, 0.0..=LATENCY_US_MAX, &mut latency_us)?;
    table.number(loss, 0.0..=1.0, &mut loss_rate)?;
    Ok(Way { latency_us, loss_rate })
}

impl Links {
    fn way(&self, src: &str, dst: &str) -> Option<Way> {
        let own = self.links.iter().find(|(from, to, _)| from == src && to == dst);
        own.map(|(_, _, way)| *way).or(self.default)
    }

    /// There and back between the sensors and the gateway: those of the slowest sensor.
    fn between(
        &self,
        scenario: &Scenario,
        gateway: Option<&str>,
        origin: &Origin,
        remarks: &mut Vec<Remark>,
    ) -> Option<(Way, Way)> {
        let gateway = gateway.unwrap_or_default();
        let both = |sensor: &Sensor| Some((self.way(&sensor.id, gateway)?, self.way(gateway, &sensor.id)?));
        let ways: Vec<_> = scenario.sensors.iter().filter_map(both).collect();
        let slowest = *ways.iter().max_by(|one, other| latency(one).total_cmp(&latency(other)))?;
        if ways.iter().any(|way| *way != slowest) {
            let text =
                "the sensors' links differ, and a placement has one network: that of the slowest is taken";
            remark(remarks, origin, "network.links", text);
        }
        Some(slowest)
    }
}

fn latency((up, down): &(Way, Way)) -> f64 {
    up.latency_us + down.latency_us
}

const NODE_TYPES: &[(&str, NodeType)] = &[
    ("sensor", NodeType::Sensor),
    ("sensor_model", NodeType::Sensor),
    ("gateway", NodeType::Gateway),
    ("gateway_model", NodeType::Gateway),
    ("cloud", NodeType::Cloud),
    ("mqtt_broker", NodeType::Broker),
    ("renode", NodeType::Renode),
];

#[derive(Clone, Copy, PartialEq)]
enum NodeType {
    Sensor,
    Gateway,
    Cloud,
    Broker,
    Renode,
}

const IMPLEMENTATIONS: &[(&str, Implementation)] = &[
    ("python_model", Implementation::PythonModel),
    ("docker", Implementation::Docker),
    ("renode_inprocess", Implementation::Renode),
];

#[derive(Clone, Copy, PartialEq)]
enum Implementation {
    PythonModel,
    Docker,
    Renode,
}

fn node(
    mut table: Table<'_>,
    scenario: &mut Scenario,
    gateway: &mut Option<String>,
    remarks: &mut Vec<Remark>,
) -> Result<(), SettingError> {
    let (id, kind) = (table.find_text("id")?, table.find_choice("type", NODE_TYPES)?);
    let (id, kind) = (table.required("id", id)?, table.required("type", kind)?);
    let implementation = table.find_choice("implementation", IMPLEMENTATIONS)?;
    let config = table.find_table("config")?;
    // What a container or an emulator needs is not looked into, because neither is started.
    table.find_table("docker")?;
    for key in ["platform", "firmware", "working_dir"] {
        table.find_text(key)?;
    }
    // Where its process would have listened: there is none.
    for key in ["port", "monitor_port", "seed"] {
        table.find_number::<u64>(key, ..)?;
    }
    let (subject, origin) = (format!("node {id}"), table.origin());
    table.finish()?;
    let emulated = kind == NodeType::Renode || implementation == Some(Implementation::Renode);
    let text = if emulated {
        "skipped: firmware is not run in Renode; a simulated or recorded sensor can stand in for it (sensors)"
    } else if kind == NodeType::Broker {
        "skipped: the broker is part of the node under test, and no container is started"
    } else if kind == NodeType::Sensor && implementation != Some(Implementation::Docker) {
        scenario.sensors.push(sensor(id, config, &subject, origin, remarks)?);
        return Ok(());
    } else if kind == NodeType::Sensor {
        "skipped: Docker containers are not started; a simulated or recorded sensor can stand in for it (sensors)"
    } else if kind == NodeType::Gateway {
        gateway.get_or_insert_with(|| id.to_owned());
        "not started: the node under test stands in its place"
    } else {
        "not started: the cloud placement stands in its place"
    };
    if let Some(mut config) = config {
        // Whether a gateway answers or passes on is the placement's business.
        config.find_flag("forward_to_cloud")?;
        config.finish()?;
    }
    remark(remarks, origin, &subject, text);
    Ok(())
}

fn sensor(
    id: &str,
    config: Option<Table<'_>>,
    subject: &str,
    origin: &Origin,
    remarks: &mut Vec<Remark>,
) -> Result<Sensor, SettingError> {
    let (mut rate_hz, mut noise_level) = (1.0, 1.0);
    if let Some(mut config) = config {
        let kind = config.find_text("sensor_type")?.unwrap_or("vibration");
        if kind != "vibration" {
            let text = format!(
                "sensor_type {kind:?} is simulated as vibration, which is what the features are made of"
            );
            remark(remarks, origin, subject, text);
        }
        config.number("sample_rate_hz", 1e-6..=1e6, &mut rate_hz)?;
        config.number("noise_level", 0.0..=1e3, &mut noise_level)?;
        config.finish()?;
    }
    let source = Source::Bearing { rate_hz, noise_level };
    Ok(Sensor { id: id.to_owned(), count: 1, source })
}

fn placements(
    mut table: Table<'_>,
    scenario: &mut Scenario,
    local: Option<(Way, Way)>,
    remarks: &mut Vec<Remark>,
) -> Result<(), SettingError> {
    let names = [("edge", "edge"), ("cloud", "cloud"), (HYBRID, HYBRID)];
    let chosen = table.find_choice("placement", &names)?;
    let chosen = table.required("placement", chosen)?;
    for (name, key) in [("edge", "edge_config"), ("cloud", "cloud_config")] {
        match table.find_table(key)? {
            Some(config) => {
                let placement = placement(name, config, local, scenario.seed, remarks)?;
                scenario.placements.push(placement);
            }
            None if name == chosen || chosen == HYBRID => {
                return Err(table.invalid(key, format!("is missing, and the placement is {chosen:?}")));
            }
            None => {}
        }
    }
    if chosen == HYBRID {
        let origin = table.find("placement").map_or(table.origin(), |entry| &entry.setting().origin);
        let text = "it names no policy: requests are placed by deadline; placements can name another";
        remark(remarks, origin, "ml_inference.placement", text);
        let hybrid = both(&scenario.placements);
        scenario.placements.extend(hybrid);
    }
    table.finish()
}

const HYBRID: &str = "hybrid";

/// A hybrid of the two placements.
fn both(placements: &[Placement]) -> Option<Placement> {
    let [edge, cloud] = placements else { return None };
    let hybrid = HybridPlacement {
        model: Some(cloud.model.clone()),
        threshold: cloud.threshold,
        network: cloud.network.clone(),
        placement: placement::Config::new(Policy::Deadline(Probing::default())),
    };
    Some(Placement { name: HYBRID.to_owned(), hybrid: Some(hybrid), ..edge.clone() })
}

/// The one-way latency of the replaced system's cloud where its configuration names none.
const CLOUD_LATENCY_MS: f64 = 50.0;

fn placement(
    name: &str,
    mut config: Table<'_>,
    local: Option<(Way, Way)>,
    seed: u64,
    remarks: &mut Vec<Remark>,
) -> Result<Placement, SettingError> {
    let subject = config.path().to_owned();
    let Some(path) = config.find("model_path") else { return Err(config.missing("model_path", "")) };
    let model = PathBuf::from(path.text()?);
    if let (Some(host), port) = (config.find("broker_host"), config.find_number::<u64>("broker_port", ..)?) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = host.setting();
        let text = format!("the broker {}{port} is not used: the node under test has one", host_name(host));
        remark(remarks, &host.origin, &subject, text);
    }
    let threshold = config.find_number("threshold", 0.0..=1.0)?;
    let mut cloud_ms = if name == "cloud" { CLOUD_LATENCY_MS } else { 0.0 };
    if name == "cloud" {
        config.number("latency_ms", 0.0..=LATENCY_US_MAX / 1e3, &mut cloud_ms)?;
    }
    config.finish()?;
    let none = Way { latency_us: 0.0, loss_rate: 0.0 };
    let (up, down) = local.unwrap_or((none, none));
    let link = |way: Way| LinkProfile {
        delay: Delay::constant(Duration::from_secs_f64(way.latency_us / 1e6 + cloud_ms / 1e3)),
        loss: if way.loss_rate > 0.0 { Loss::Independent(way.loss_rate) } else { Loss::None },
        ..LinkProfile::default()
    };
    let shape = Shape { seed, link: name.to_owned(), uplink: link(up), downlink: link(down) };
    Ok(Placement { name: name.to_owned(), model, threshold, network: Profile::shaped(shape), hybrid: None })
}

fn host_name(setting: &Setting) -> String {
    setting.describe().replace('"', "")
}
