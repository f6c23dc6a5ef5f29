//! The network topic: whoever may publish on it changes the simulated networks of
//! the node's deployments while they run.

mod wish;

use serde_json::{Map, Value};
use tracing::info;

use super::control_topic::{Control, Refused};
use crate::deployment::{Change, NetworkControl};

impl Control for NetworkControl {
    const TAKES_RETAINED: bool = true;

    fn deployment(&self) -> &str {
        self.deployment()
    }

    fn take(&self, payload: &[u8]) -> Result<(&'static str, Map<String, Value>), Refused> {
        let deployment = self.deployment();
        let changed = wish::read(payload, deployment).and_then(|wish| {
            self.put_instead(wish).map_err(|error| Refused { key: String::new(), problem: error.to_string() })
        });
        let Change { revision, is_new, is_configured } = changed.inspect_err(|_| self.count_refused())?;
        if is_new {
            info!(deployment, revision, is_configured, "the simulated network was changed over MQTT");
        }
        let members: [(&str, Value); 3] =
            [("revision", revision.into()), ("changed", is_new.into()), ("configured", is_configured.into())];
        Ok(("changed", members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
    }
}
