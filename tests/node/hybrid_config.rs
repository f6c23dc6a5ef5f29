//! A hybrid in a node's file: what becomes of its keys, and what is refused, with line and key.

use std::path::Path;
use std::time::Duration;

use nearfar::inference::{Site, Urgency};
use nearfar::network::Profile;
use nearfar::node::ServedDeployment;
use nearfar::placement::{BreakerConfig, Policy, Probing};
use nearfar::testing::read_node_file;

fn read(directory: &Path, text: &str) -> Result<ServedDeployment, String> {
    let file = directory.join("node.toml");
    std::fs::write(&file, text).unwrap();
    let file = read_node_file(&file).map_err(|error| error.to_string())?;
    Ok(file.into_serve_config().map_err(|error| error.to_string())?.node.deployments.remove(0))
}

fn served(cloud: &str) -> Result<ServedDeployment, String> {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[deployments.hybrid]\nmodel = \"small\"\nmembers = [\"placement\", \"reason\"]\nworkers = 2\nbatch_max = 16\n\
         [deployments.hybrid.cloud]\n{cloud}"
    );
    read(directory.path(), &text).map_err(|error| error.split(", ").skip(1).collect::<Vec<_>>().join(", "))
}

fn policy(cloud: &str) -> Policy {
    served(cloud).unwrap().config.hybrid.unwrap().placement.policy
}

#[test]
fn a_cloud_makes_a_deployment_a_hybrid() {
    let ServedDeployment { config, model, cloud_model } = served(
        "model = \"large\"\none_way_latency_ms = 20\npolicy = \"shadow\"\nbatch_max = 64\ncloud_timeout_ms = 300\n\
         recent_window_s = 5\nrecent_answers_max = 50\n\
         breaker = { failures_max = 3, wait_ms = 100, wait_max_ms = 900 }\n",
    )
    .unwrap();
    let cloud_model = cloud_model.unwrap();
    assert!(model.path().unwrap().ends_with("small") && cloud_model.path().unwrap().ends_with("large"));
    assert!(config.members.reason && config.network == Profile::NONE);
    let hybrid = config.hybrid.unwrap();
    assert_eq!(hybrid.network, Profile::constant(Duration::from_millis(20)));
    assert_eq!((hybrid.workers, hybrid.worker.batch_max, config.worker.batch_max), (1, 64, 16));
    assert_eq!(hybrid.placement.policy, Policy::Shadow);
    assert_eq!(hybrid.placement.cloud_timeout, Duration::from_millis(300));
    assert_eq!(hybrid.placement.recent_window, Duration::from_secs(5));
    assert_eq!(hybrid.placement.recent_answers_max, 50);
    let [wait, wait_max] = [100, 900].map(Duration::from_millis);
    assert_eq!(hybrid.placement.breaker, BreakerConfig { failures_max: 3, wait, wait_max });
}

#[test]
fn the_cloud_is_50_ms_away_and_has_the_edge_s_model_and_bounds_unless_it_says_otherwise() {
    let ServedDeployment { config, cloud_model, .. } = served("policy = \"hedged\"\n").unwrap();
    let hybrid = config.hybrid.unwrap();
    assert!(cloud_model.is_none());
    assert_eq!((&hybrid.network, hybrid.worker), (&Profile::CLOUD, config.worker));
}

#[test]
fn every_policy_has_defaults_and_parameters() {
    assert_eq!(policy("policy = \"deadline\"\n"), Policy::Deadline(Probing::default()));
    assert_eq!(
        policy(
            "policy = { name = \"deadline\", answers_min = 5, probe_share = 0.1, probe_every_ms = 500 }\n"
        ),
        Policy::Deadline(Probing { answers_min: 5, share: 0.1, every: Duration::from_millis(500) })
    );
    assert_eq!(policy("policy = \"confidence\"\n"), Policy::Confidence { band: 0.1 });
    assert_eq!(
        policy("[deployments.hybrid.cloud.policy]\nname = \"confidence\"\nband = 0.25\n"),
        Policy::Confidence { band: 0.25 }
    );
    assert_eq!(
        policy("policy = { name = \"urgency\", edge_from = \"critical\", default_site = \"edge\" }\n"),
        Policy::Urgency { edge_from: Urgency::Critical, default_site: Site::Edge }
    );
    assert_eq!(
        policy("policy = { name = \"hedged\", first = \"cloud\", hedge_after_ms = 12.5 }\n"),
        Policy::Hedged { first: Site::Cloud, after: Duration::from_micros(12_500) }
    );
}

#[test]
fn what_is_wrong_is_named_with_line_and_key() {
    for (cloud, expected) in [
        ("", "line 6, key `deployments.hybrid.cloud.policy`: is missing, expected one of deadline,"),
        ("policy = \"dedline\"\n", "line 7, key `deployments.hybrid.cloud.policy`: found \"dedline\","),
        (
            "policy = { name = \"shadow\", band = 1 }\n",
            "line 7, key `deployments.hybrid.cloud.policy.band`: unknown key",
        ),
        ("policy = \"shadow\"\nworker = 2\n", "line 8, key `deployments.hybrid.cloud.worker`: unknown key"),
        ("policy = \"shadow\"\nworkers = 65\n", "line 8, key `deployments.hybrid.cloud.workers`: found 65,"),
        (
            "policy = \"shadow\"\nbatch_max = 0\n",
            "line 8, key `deployments.hybrid.cloud.batch_max`: found 0,",
        ),
        (
            "policy = \"shadow\"\ncloud_timeout_ms = 0\n",
            "line 8, key `deployments.hybrid.cloud.cloud_timeout_ms`: found 0,",
        ),
        (
            "policy = \"shadow\"\nrecent_answers_max = 20000\n",
            "line 8, key `deployments.hybrid.cloud.recent_answers_max`: found 20000,",
        ),
        (
            "policy = \"shadow\"\none_way_latency_ms = -1\n",
            "line 8, key `deployments.hybrid.cloud.one_way_latency_ms`: found -1,",
        ),
        (
            "policy = \"shadow\"\nnetwork = { preset = \"5q\" }\n",
            "line 8, key `deployments.hybrid.cloud.network.preset`: found \"5q\",",
        ),
        (
            "policy = \"shadow\"\none_way_latency_ms = 5\nnetwork = { preset = \"4g\" }\n",
            "line 9, key `deployments.hybrid.cloud.network`: there is a one_way_latency_ms too",
        ),
        (
            "policy = \"shadow\"\n[deployments.hybrid.cloud.breaker]\nwait_ms = 50\nwait_max_ms = 20\n",
            "line 10, key `deployments.hybrid.cloud.breaker.wait_max_ms`: found 20, expected at least wait_ms (50)",
        ),
    ] {
        let error = served(cloud).map(|_| ()).unwrap_err();
        assert!(error.starts_with(expected), "{cloud}\n{error}\n{expected}");
    }
}
