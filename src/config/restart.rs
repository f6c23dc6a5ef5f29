//! What of a changed file cannot be changed while a node runs.

use std::collections::BTreeSet;

use super::NodeFile;
use crate::settings::{Setting, Value};

/// What a node has from its start to its end, beside its deployments.
const KEYS: [&str; 8] = [
    "node_id",
    "status_topic",
    "network_topic",
    "relearn_topic",
    "shutdown_grace_ms",
    "broker",
    "remote",
    "http",
];

impl NodeFile {
    /// What `newer` says otherwise and cannot be changed while a node runs, by key or section.
    /// What a broker's files say is not looked at: the broker reads those again by itself.
    pub fn needs_restart(&self, newer: &Self) -> Vec<String> {
        let mut keys: Vec<_> = KEYS
            .into_iter()
            .filter(|key| !are_same(self.tree.get(key), newer.tree.get(key)))
            .map(str::to_owned)
            .collect();
        let [before, after] = [self, newer].map(|file| file.tree.get("deployments"));
        let names: BTreeSet<_> = [before, after].into_iter().flatten().flat_map(names).collect();
        let but_network = |deployments: Option<&Setting>, name: &str| {
            deployments.and_then(|deployments| deployments.get(name)).map(without_network)
        };
        let changed = names
            .into_iter()
            .filter(|name| !are_same(but_network(before, name).as_ref(), but_network(after, name).as_ref()));
        keys.extend(changed.map(|name| format!("deployments.{name}")));
        keys
    }
}

fn are_same(one: Option<&Setting>, other: Option<&Setting>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.says_as(other),
        (None, None) => true,
        _ => false,
    }
}

fn names(table: &Setting) -> Vec<&str> {
    let Value::Table(entries) = &table.value else { return Vec::new() };
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

/// A deployment without its network, which can be changed. Of a hybrid that is the
/// one before the cloud alone.
fn without_network(deployment: &Setting) -> Setting {
    let mut rest = deployment.clone();
    let Value::Table(entries) = &mut rest.value else { return rest };
    match entries.iter_mut().find(|(name, _)| name == "cloud") {
        Some((_, Setting { value: Value::Table(cloud), .. })) => cloud.retain(|(name, _)| !is_network(name)),
        _ => entries.retain(|(name, _)| !is_network(name)),
    }
    rest
}

fn is_network(key: &str) -> bool {
    key == "network" || key == "one_way_latency_ms"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::toml;

    const FILE: &str = "node_id = \"n\"\n[deployments.a]\nmodel = \"m\"\none_way_latency_ms = 5\n\
        [deployments.b]\nmodel = \"m\"\none_way_latency_ms = 5\ntopic_prefix = \"b/\"\n\
        [deployments.b.cloud]\npolicy = \"shadow\"\none_way_latency_ms = 20\n";

    fn read(text: &str) -> NodeFile {
        NodeFile::new(toml::parse(None, text).unwrap(), Path::new("")).unwrap()
    }

    #[test]
    fn what_has_changed_is_named_and_networks_need_no_restart() {
        let changed = |from: &str, to: &str| {
            assert!(FILE.contains(from), "{from}");
            read(FILE).needs_restart(&read(&FILE.replacen(from, to, 1)))
        };
        let nothing: [&str; 0] = [];
        assert_eq!(changed("node_id", "# a comment\n\nnode_id"), nothing);
        assert_eq!(changed("node_id = \"n\"", "node_id = \"o\""), ["node_id"]);
        assert_eq!(changed("one_way_latency_ms = 5\n[dep", "network = { preset = \"4g\" }\n[dep"), nothing);
        assert_eq!(changed("latency_ms = 20", "latency_ms = 30"), nothing);
        assert_eq!(
            changed("latency_ms = 5\ntopic", "latency_ms = 6\ntopic"),
            ["deployments.b"],
            "the edge's"
        );
        assert_eq!(changed("\"shadow\"", "\"hedged\""), ["deployments.b"]);
        assert_eq!(changed("[deployments.a]", "[http]\nlisten = \"127.0.0.1:0\"\n[deployments.a]"), ["http"]);
        assert_eq!(changed("[deployments.a]", "[deployments.c]"), ["deployments.a", "deployments.c"]);
    }
}
