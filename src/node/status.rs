//! What a node says of itself on its status topic: that it is there, and what its deployments serve. When a
//! model is exchanged it is said anew.

use std::sync::{Arc, Mutex, Weak};

use serde_json::json;

use crate::client::{Client, Status};
use crate::deployment::View;
use crate::sync::lock;

/// What is said of one deployment.
pub struct Entry {
    pub name: String,
    pub placement: String,
    pub model: String,
    /// Of a hybrid whose cloud has a model of its own.
    pub cloud_model: Option<String>,
}

impl Entry {
    fn now(view: &View) -> Self {
        let (model, cloud) = (view.model(), view.cloud_model());
        let own = cloud.filter(|cloud| !Arc::ptr_eq(cloud, &model));
        Self {
            name: view.name.clone(),
            placement: view.placement.clone(),
            model: model.name.clone(),
            cloud_model: own.map(|model| model.name.clone()),
        }
    }
}

/// The status of node `node_id` on `topic`, with these deployments.
pub fn status(topic: &str, node_id: &str, deployments: impl IntoIterator<Item = Entry>) -> Status {
    Status {
        topic: format!("{topic}/{node_id}"),
        online: online(node_id, deployments),
        offline: json!({ "status": "offline", "node_id": node_id }).to_string(),
    }
}

fn online(node_id: &str, deployments: impl IntoIterator<Item = Entry>) -> String {
    let deployments: Vec<_> = deployments
        .into_iter()
        .map(|Entry { name, placement, model, cloud_model }| {
            let mut one = json!({ "name": name, "placement": placement, "model": model });
            if let Some(cloud_model) = cloud_model {
                one["cloud_model"] = json!(cloud_model);
            }
            one
        })
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    json!({ "status": "online", "node_id": node_id, "version": version, "deployments": deployments })
        .to_string()
}

/// What keeps the status true.
pub struct Board {
    node_id: String,
    /// Which ends before this does.
    client: Weak<dyn Client>,
    deployments: Mutex<Vec<View>>,
}

impl Board {
    /// For a node without deployments yet.
    pub fn new(node_id: &str, client: &Arc<dyn Client>) -> Self {
        Self { node_id: node_id.to_owned(), client: Arc::downgrade(client), deployments: Mutex::default() }
    }

    pub fn add(&self, deployment: View) {
        lock(&self.deployments).push(deployment);
    }

    /// Says what is served now.
    pub fn tell(&self) {
        let Some(client) = self.client.upgrade() else { return };
        // Under the lock, so that of two at once the later one has the last word.
        let deployments = lock(&self.deployments);
        client.announce(online(&self.node_id, deployments.iter().map(Entry::now)));
    }
}
