//! Tests of whole files.

use super::*;
use crate::inference::Site;
use crate::network::{Delay, Loss, Preset};
use crate::placement::{Policy, Probing};
use crate::sensors::recorded::Decimal;
use crate::settings::SettingError;

/// A file of the replaced system's shape, with every key that its own files have.
const REPLACED: &str = "\
simulation:
  duration_s: 60
  seed: 42
  time_quantum_us: 1000
ml_inference:
  placement: cloud
  edge_config:
    model_path: models/detector.onnx
    broker_host: localhost
    broker_port: 1883
    threshold: 0.5
  cloud_config:
    model_path: models/detector.pt
    latency_ms: 40
network:
  model: latency
  default_latency_us: 1000
  default_loss_rate: 0.0
  links:
    - src: press
      dst: hall
      latency_us: 500
      loss_rate: 0.25
nodes:
  - id: press
    type: sensor
    implementation: python_model
    port: 5001
    config:
      sensor_type: vibration
      sample_rate_hz: 10
      noise_level: 0.1
  - id: hall
    type: gateway
    implementation: docker
    port: 5002
    docker:
      image: gateway:latest
      ports:
        5000: 5000
    config:
      forward_to_cloud: yes
  - id: mosquitto
    type: mqtt_broker
    implementation: docker
  - id: board
    type: renode
    implementation: renode_inprocess
    platform: boards/board.repl
    firmware: build/firmware.elf
    monitor_port: 9999
    working_dir: /tmp/board
    seed: 42
";

fn document(text: &str) -> Document {
    Document::parse("scenario.yaml", text).unwrap()
}

fn scenario(text: &str) -> Result<Scenario, SettingError> {
    Document::parse("scenario.yaml", text)?.scenario(&|file| Err(format!("{file} cannot be read")))
}

fn refused(text: &str) -> String {
    scenario(text).unwrap_err().to_string()
}

#[test]
fn the_replaced_system_s_file_means_what_it_meant() {
    let scenario = scenario(REPLACED).unwrap();
    assert_eq!((scenario.duration, scenario.seed, scenario.repeats), (Duration::from_secs(60), 42, 1));
    let source = Source::Bearing { rate_hz: 10.0, noise_level: 0.1 };
    assert_eq!(scenario.sensors, [Sensor { id: "press".to_owned(), count: 1, source }]);
    let [edge, cloud] = scenario.placements.as_slice() else { panic!("two placements") };
    assert_eq!((edge.name.as_str(), edge.threshold, cloud.threshold), ("edge", Some(0.5), None));
    assert_eq!(cloud.model, PathBuf::from("models/detector.pt"));
    let (near, far) = (edge.network.shape().unwrap(), cloud.network.shape().unwrap());
    assert_eq!(near.uplink.delay, Delay::constant(Duration::from_micros(500)));
    assert_eq!(near.downlink.delay, Delay::constant(Duration::from_millis(1)));
    assert_eq!(far.uplink.delay, Delay::constant(Duration::from_micros(40_500)));
    assert_eq!((&far.uplink.loss, &far.downlink.loss), (&Loss::Independent(0.25), &Loss::None));
}

#[test]
fn what_cannot_be_done_is_said_by_name() {
    let scenario = scenario(REPLACED).unwrap();
    let said = |line: usize, subject: &str, part: &str| {
        let found = scenario.remarks.iter().find(|remark| remark.line == line && remark.subject == subject);
        assert!(found.is_some_and(|remark| remark.remark.contains(part)), "{line}: {:?}", scenario.remarks);
    };
    said(4, "simulation.time_quantum_us", "continuous");
    said(9, "ml_inference.edge_config", "broker localhost:1883 is not used");
    said(33, "node hall", "stands in its place");
    said(43, "node mosquitto", "skipped");
    said(46, "node board", "not run in Renode");
    assert_eq!(scenario.remarks.len(), 5);
}

#[test]
fn a_file_without_a_network_or_a_model_is_read_too() {
    let minimal =
        "simulation: {duration_s: 2.0, seed: 1}\nnodes:\n  - id: a\n    type: sensor_model\n    port: 1\n";
    let scenario = scenario(minimal).unwrap();
    assert_eq!((scenario.placements.len(), scenario.sensors.len(), scenario.remarks.len()), (0, 1, 0));
    let direct = REPLACED.replace("model: latency", "model: direct");
    assert!(self::scenario(&direct).unwrap().placements[0].network.is_instant());
}

#[test]
fn unknown_keys_and_wrong_values_are_refused_with_their_line() {
    let changed = |from: &str, to: &str| refused(&REPLACED.replacen(from, to, 1));
    assert_eq!(
        changed("latency_ms", "latancy_ms"),
        "scenario.yaml, line 14, key `ml_inference.cloud_config.latancy_ms`: unknown key, expected one of \
         model_path, broker_host, broker_port, threshold, latency_ms; did you mean `latency_ms`?"
    );
    assert!(changed("nodes:", "knots:").contains("line 24, key `knots`: unknown key"));
    assert!(
        changed("type: sensor", "type: senser").contains("line 26, key `nodes[0].type`: found \"senser\"")
    );
    assert!(
        changed("noise_level: 0.1", "noise_level: loud")
            .contains("line 32, key `nodes[0].config.noise_level`")
    );
    assert!(
        changed("loss_rate: 0.25", "loss_rate: 25")
            .contains("line 23, key `network.links[0].loss_rate`: found 25")
    );
    assert!(changed("  seed: 42\n", "").contains("line 1, key `simulation.seed`: is missing"));
    assert!(changed("  edge_config", "  cloud_config").contains("is there already"));
    assert!(refused("- a\n").contains("line 1: found a list, expected a scenario"));
}

const OWN: &str = "\
simulation: {duration_s: 30, seed: 7, warm_up_s: 5, repeats: 3}
deadline_ms: 100
networks:
  plant:
    preset: wifi
    lost: report
    uplink:
      loss: {good_to_bad: 0.01, bad_to_good: 0.25}
placements:
  - {name: edge, model: models/small, network: lan}
  - {name: cloud, model: models/large, network: plant, threshold: 0.7}
sensors:
  - {id: press, count: 20, rate_hz: 5}
  - {id: mill, file: mill.csv, speed: 10, label: truth}
load: {requests_per_s: 200, arrivals: poisson}
sweep:
  - {key: networks.plant.uplink.loss.good_to_bad, values: [0.01, 0.02]}
  - {key: sensors.press.rate_hz, from: 1, to: 5, steps: 3}
";

#[test]
fn our_own_form_has_placements_networks_sensors_load_and_sweeps() {
    let scenario = scenario(OWN).unwrap();
    assert_eq!((scenario.warm_up, scenario.repeats), (Duration::from_secs(5), 3));
    assert_eq!(scenario.deadline, Some(Duration::from_millis(100)));
    assert_eq!(scenario.load, Some(Load { requests_per_s: 200.0, arrivals: Arrivals::Poisson }));
    let (lan, _) = Preset::named("lan").unwrap().links();
    assert_eq!(scenario.placements[0].network.shape().unwrap().uplink, lan);
    let plant = scenario.placements[1].network.shape().unwrap();
    assert_eq!((plant.seed, plant.link.as_str()), (7, "plant"));
    assert_eq!(plant.uplink.loss, Loss::gilbert_elliott(0.01, 0.25, 0.0, 1.0).unwrap());
    assert_eq!(scenario.sensors[0].count, 20);
    assert!(matches!(&scenario.sensors[1].source, Source::Recorded { speed: 10.0, label: Some(_), .. }));
    assert_eq!(scenario.sweeps[1].values, [1.0, 3.0, 5.0]);
    assert_eq!(scenario.remarks, []);
}

#[test]
fn a_recording_says_how_it_is_written_and_what_its_labels_mean() {
    let written = "label: truth, anomaly: [outer, 2], delimiter: tab, decimal: \",\"";
    let scenario = scenario(&OWN.replace("label: truth", written)).unwrap();
    let Source::Recorded { anomalies, format, .. } = &scenario.sensors[1].source else {
        panic!("it is recorded")
    };
    assert_eq!(anomalies, &["outer", "2"]);
    assert_eq!((format.delimiter, format.decimal, format.skips_bad_rows), (b'\t', Decimal::Comma, false));
}

#[test]
fn a_sweep_visits_every_combination_and_changes_the_scenario() {
    let document = document(OWN);
    let read = |_: &str| Ok(None);
    let points = document.points(&scenario(OWN).unwrap().sweeps).unwrap();
    assert_eq!(points.len(), 6);
    assert_eq!((points[1][0].1, points[1][1].1), (0.01, 3.0));
    let changed = document.with(&points[5]).unwrap().scenario(&read).unwrap();
    let loss = Loss::gilbert_elliott(0.02, 0.25, 0.0, 1.0).unwrap();
    assert_eq!(changed.placements[1].network.shape().unwrap().uplink.loss, loss);
    assert_eq!(changed.sensors[0].source, Source::Bearing { rate_hz: 5.0, noise_level: 1.0 });
    let sweep = |steps| Sweep { key: "simulation.seed".to_owned(), values: vec![0.0; steps] };
    assert!(document.points(&[sweep(40), sweep(40)]).unwrap_err().to_string().contains("found 1600 points"));
}

#[test]
fn another_seed_is_exact_and_changes_the_networks_too() {
    let changed = document(OWN).with_seed(u64::MAX).unwrap().scenario(&|_| Ok(None)).unwrap();
    assert_eq!(changed.seed, u64::MAX);
    assert_eq!(changed.placements[1].network.shape().unwrap().seed, u64::MAX);
}

#[test]
fn mistakes_in_our_own_form_are_named() {
    let changed = |from: &str, to: &str| refused(&OWN.replacen(from, to, 1));
    assert!(
        changed("network: lan", "network: lam")
            .contains("line 10, key `placements[0].network`: found \"lam\"")
    );
    assert!(
        changed("name: edge", "name: cloud").contains("line 11, key `placements[1]`: there are two called")
    );
    assert!(changed("preset: wifi", "preset: wlan").contains("line 5, key `networks.plant.preset`"));
    assert!(
        changed("bad_to_good: 0.25", "bad_to_good: 2")
            .contains("line 8, key `networks.plant.uplink.loss.bad_to_good`")
    );
    assert!(
        changed("sensors.press.rate_hz", "sensors.pres.rate_hz")
            .contains("key `sensors.pres.rate_hz`: found no number")
    );
    assert!(changed("steps: 3", "steps: 1").contains("line 18, key `sweep[1].steps`: found 1"));
    assert!(changed("speed: 10", "rate_hz: 10").contains("key `sensors[1].rate_hz`: unknown key"));
    assert!(changed("repeats: 3", "repeats: 0").contains("line 1, key `simulation.repeats`"));
}

#[test]
fn a_placement_with_a_cloud_is_a_hybrid() {
    let with = |cloud: &str| {
        let placement = format!("{{name: edge, cloud: {{network: plant, {cloud}}}, ");
        OWN.replacen("{name: edge, ", &placement, 1)
    };
    let hybrid =
        scenario(&with("model: m2, threshold: 0.8, policy: {name: hedged, hedge_after_ms: 20}")).unwrap();
    let hybrid = hybrid.placements[0].hybrid.clone().unwrap();
    assert_eq!((hybrid.model, hybrid.threshold), (Some(PathBuf::from("m2")), Some(0.8)));
    assert_eq!(hybrid.network.shape().unwrap().link, "plant");
    let hedged = Policy::Hedged { first: Site::Edge, after: Duration::from_millis(20) };
    assert_eq!(hybrid.placement.policy, hedged);
    assert!(
        refused(&with("policy: hedge"))
            .contains("line 10, key `placements[0].cloud.policy`: found \"hedge\"")
    );
    assert!(
        refused(&with("policy: shadow, modle: m2")).contains("key `placements[0].cloud.modle`: unknown key")
    );
}

#[test]
fn the_replaced_system_s_hybrid_is_one_of_its_two_placements_by_deadline() {
    let scenario = scenario(&REPLACED.replacen("placement: cloud", "placement: hybrid", 1)).unwrap();
    let names: Vec<_> = scenario.placements.iter().map(|placement| placement.name.as_str()).collect();
    assert_eq!(names, ["edge", "cloud", "hybrid"]);
    let [edge, cloud, both] = scenario.placements.as_slice() else { panic!("three placements") };
    let hybrid = both.hybrid.as_ref().unwrap();
    assert_eq!((&both.model, &both.network), (&edge.model, &edge.network));
    assert_eq!((hybrid.model.as_ref(), &hybrid.network), (Some(&cloud.model), &cloud.network));
    assert_eq!((both.threshold, hybrid.threshold), (edge.threshold, cloud.threshold));
    assert_eq!(hybrid.placement.policy, Policy::Deadline(Probing::default()));
    assert!(scenario.remarks.iter().any(|remark| remark.subject == "ml_inference.placement"));
}
