//! The replaced system's form: `ml_inference`, `network` and `nodes`, with the same
//! keys and the same meaning.
//!
//! There, sensors, a gateway, a broker and the model were processes and containers
//! that a coordinator started. Here a node is all of them but the sensors. So a sensor
//! becomes a sensor, a placement's `latency_ms` and the links between sensors and
//! gateway become the placement's network, and everything else is named in a remark.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::remark;
use super::own::within;
use super::{HybridPlacement, Placement, Remark, Scenario, Sensor, Source};
use crate::network::{Delay, LinkProfile, Loss, Profile, Shape};
use crate::placement::{self, Policy, Probing};
use crate::settings::old::{Fields, Setting, SettingError};

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
    file: &mut Fields<'_>,
    scenario: &mut Scenario,
    remarks: &mut Vec<Remark>,
) -> Result<(), SettingError> {
    let links = file.table("network")?.map(links).transpose()?.unwrap_or_default();
    let mut gateway = None;
    for setting in file.list("nodes")? {
        node(Fields::of(setting, "nodes")?, scenario, &mut gateway, remarks)?;
    }
    if let Some(inference) = file.table("ml_inference")? {
        let local = links.between(scenario, gateway.as_deref(), file.line(), remarks);
        placements(inference, scenario, local, remarks)?;
    }
    Ok(())
}

fn links(mut fields: Fields<'_>) -> Result<Links, SettingError> {
    let is_latency = fields.choice("model", &[("direct", false), ("latency", true)])?.unwrap_or(false);
    let default = way(&mut fields, ["default_latency_us", "default_loss_rate"], [10_000.0, 0.0])?;
    let mut links = Vec::new();
    for setting in fields.list("links")? {
        let mut link = Fields::of(setting, "network.links")?;
        let (src, dst) = (link.text("src")?, link.text("dst")?);
        let (src, dst) = (link.required("src", src)?.to_owned(), link.required("dst", dst)?.to_owned());
        let own = way(&mut link, ["latency_us", "loss_rate"], [default.latency_us, default.loss_rate])?;
        link.finish()?;
        links.push((src, dst, own));
    }
    fields.finish()?;
    // The direct model delivers everything at once.
    Ok(if is_latency { Links { default: Some(default), links } } else { Links::default() })
}

fn way(
    fields: &mut Fields<'_>,
    [latency, loss]: [&'static str; 2],
    defaults: [f64; 2],
) -> Result<Way, SettingError> {
    let latency_us = fields.number(latency)?.unwrap_or(defaults[0]);
    let loss_rate = fields.number(loss)?.unwrap_or(defaults[1]);
    Ok(Way {
        latency_us: within(fields, latency, latency_us, 0.0, LATENCY_US_MAX)?,
        loss_rate: within(fields, loss, loss_rate, 0.0, 1.0)?,
    })
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
        line: usize,
        remarks: &mut Vec<Remark>,
    ) -> Option<(Way, Way)> {
        let gateway = gateway.unwrap_or_default();
        let both = |sensor: &Sensor| Some((self.way(&sensor.id, gateway)?, self.way(gateway, &sensor.id)?));
        let ways: Vec<_> = scenario.sensors.iter().filter_map(both).collect();
        let slowest = *ways.iter().max_by(|one, other| latency(one).total_cmp(&latency(other)))?;
        if ways.iter().any(|way| *way != slowest) {
            let text =
                "the sensors' links differ, and a placement has one network: that of the slowest is taken";
            remark(remarks, line, "network.links", text);
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
    mut fields: Fields<'_>,
    scenario: &mut Scenario,
    gateway: &mut Option<String>,
    remarks: &mut Vec<Remark>,
) -> Result<(), SettingError> {
    let (id, kind) = (fields.text("id")?, fields.choice("type", NODE_TYPES)?);
    let (id, kind) = (fields.required("id", id)?, fields.required("type", kind)?);
    let implementation = fields.choice("implementation", IMPLEMENTATIONS)?;
    // Where its process would have listened: there is none.
    fields.whole("port")?;
    let config = fields.table("config")?;
    // What a container or an emulator needs is not looked into, because neither is started.
    fields.table("docker")?;
    for key in ["platform", "firmware", "working_dir"] {
        fields.text(key)?;
    }
    for key in ["monitor_port", "seed"] {
        fields.whole(key)?;
    }
    let (subject, line) = (format!("node {id}"), fields.line());
    fields.finish()?;
    let emulated = kind == NodeType::Renode || implementation == Some(Implementation::Renode);
    let text = if emulated {
        "skipped: firmware is not run in Renode; a simulated or recorded sensor can stand in for it (sensors)"
    } else if kind == NodeType::Broker {
        "skipped: the broker is part of the node under test, and no container is started"
    } else if kind == NodeType::Sensor && implementation != Some(Implementation::Docker) {
        scenario.sensors.push(sensor(id, config, &subject, line, remarks)?);
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
        config.flag("forward_to_cloud")?;
        config.finish()?;
    }
    remark(remarks, line, &subject, text);
    Ok(())
}

fn sensor(
    id: &str,
    config: Option<Fields<'_>>,
    subject: &str,
    line: usize,
    remarks: &mut Vec<Remark>,
) -> Result<Sensor, SettingError> {
    let (mut rate_hz, mut noise_level) = (1.0, 1.0);
    if let Some(mut config) = config {
        let kind = config.text("sensor_type")?.unwrap_or("vibration");
        if kind != "vibration" {
            let text = format!(
                "sensor_type {kind:?} is simulated as vibration, which is what the features are made of"
            );
            remark(remarks, line, subject, text);
        }
        let rate = config.number("sample_rate_hz")?.unwrap_or(rate_hz);
        rate_hz = within(&config, "sample_rate_hz", rate, 1e-6, 1e6)?;
        if let Some(level) = config.number("noise_level")? {
            noise_level = within(&config, "noise_level", level, 0.0, 1e3)?;
        }
        config.finish()?;
    }
    let source = Source::Bearing { rate_hz, noise_level };
    Ok(Sensor { id: id.to_owned(), count: 1, source })
}

fn placements(
    mut fields: Fields<'_>,
    scenario: &mut Scenario,
    local: Option<(Way, Way)>,
    remarks: &mut Vec<Remark>,
) -> Result<(), SettingError> {
    let names = [("edge", "edge"), ("cloud", "cloud"), (HYBRID, HYBRID)];
    let chosen = fields.choice("placement", &names)?;
    let chosen = fields.required("placement", chosen)?;
    for (name, key) in [("edge", "edge_config"), ("cloud", "cloud_config")] {
        match fields.table(key)? {
            Some(config) => {
                let placement = placement(name, config, local, scenario.seed, remarks)?;
                scenario.placements.push(placement);
            }
            None if name == chosen || chosen == HYBRID => {
                return Err(fields.invalid(key, format!("is missing, and the placement is {chosen:?}")));
            }
            None => {}
        }
    }
    if chosen == HYBRID {
        let line = fields.invalid("placement", "").line;
        let text = "it names no policy: requests are placed by deadline; placements can name another";
        remark(remarks, line, "ml_inference.placement", text);
        let hybrid = both(&scenario.placements);
        scenario.placements.extend(hybrid);
    }
    fields.finish()
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
    mut config: Fields<'_>,
    local: Option<(Way, Way)>,
    seed: u64,
    remarks: &mut Vec<Remark>,
) -> Result<Placement, SettingError> {
    let model = config.text("model_path")?;
    let model = PathBuf::from(config.required("model_path", model)?);
    let subject = config.path().to_owned();
    if has_extension(&model, "onnx") {
        let line = config.invalid("model_path", "").line;
        let text =
            format!("{}: ONNX is not read; a model directory, .safetensors or .pt is", model.display());
        remark(remarks, line, &subject, text);
    }
    if let (Some(host), port) = (config.get("broker_host"), config.whole("broker_port")?) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("the broker {}{port} is not used: the node under test has one", host_name(host));
        remark(remarks, host.line, &subject, text);
    }
    let threshold = config.number("threshold")?;
    let mut cloud_ms = 0.0;
    if name == "cloud" {
        let latency_ms = config.number("latency_ms")?.unwrap_or(CLOUD_LATENCY_MS);
        cloud_ms = within(&config, "latency_ms", latency_ms, 0.0, LATENCY_US_MAX / 1e3)?;
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

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn host_name(setting: &Setting) -> String {
    setting.describe().replace('"', "")
}
