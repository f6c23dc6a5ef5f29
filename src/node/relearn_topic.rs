//! The relearn topic: whoever may publish on it has a device, or all of them, learn anew what is normal.

use serde_json::{Map, Value};
use tracing::info;

use super::control_topic::{Control, Refused};
use crate::deployment::Devices;
use crate::detection::Which;
use crate::inference::DeviceId;
use crate::settings::{Table, json};
use crate::text;

/// The largest message that is read.
const PAYLOAD_BYTES_MAX: usize = 1_024;

impl Control for Devices {
    /// Else each start of the node would forget what its devices have learnt.
    const TAKES_RETAINED: bool = false;

    fn deployment(&self) -> &str {
        self.deployment()
    }

    fn take(&self, payload: &[u8]) -> Result<(&'static str, Map<String, Value>), Refused> {
        let which = read(payload)?;
        let deployment = self.deployment();
        let devices = self.relearn(&which).ok_or_else(|| Refused {
            key: String::new(),
            problem: "the model of this deployment learns nothing of devices".to_owned(),
        })?;
        info!(deployment, devices, ?which, "devices learn anew, as was asked for over MQTT");
        Ok(("relearning", Map::from_iter([("devices".to_owned(), devices.into())])))
    }
}

/// `{"device_id": "pump-7"}` or `{"all": true}`.
fn read(payload: &[u8]) -> Result<Which, Refused> {
    let whole = |problem: String| Refused { key: String::new(), problem };
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(whole(format!("found {} bytes, expected at most {PAYLOAD_BYTES_MAX}", payload.len())));
    }
    let text = text::decode(payload).map_err(|error| whole(format!("expected JSON: {error}")))?;
    let tree = json::parse(None, text).map_err(|error| whole(format!("expected JSON: {error}")))?;
    let mut table = Table::of(&tree, "")?;
    let (device, all) = (table.find("device_id"), table.find_flag("all")?);
    table.refuse_others()?;
    match (device, all.unwrap_or(false)) {
        (Some(entry), false) => {
            let device = DeviceId::new(entry.text()?);
            Ok(Which::One(device.map_err(|refusal| Refused::from(entry.invalid(refusal.message)))?))
        }
        (None, true) => Ok(Which::All),
        _ => Err(whole(
            "expected {\"device_id\": \"...\"} for one device, or {\"all\": true} for all of them".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_or_all_of_them_and_nothing_by_mistake() {
        let pump = DeviceId::new("pump-7").unwrap();
        assert_eq!(read(br#"{"device_id": "pump-7"}"#), Ok(Which::One(pump)));
        assert_eq!(read(br#"{"all": true}"#), Ok(Which::All));
        for nothing in [
            "",
            "{}",
            r#"{"all": false}"#,
            r#"{"device_id": "a/b"}"#,
            r#"{"device": "a"}"#,
            "[]",
            r#"{"device_id": "a", "all": true}"#,
        ] {
            assert!(read(nothing.as_bytes()).is_err(), "{nothing}");
        }
    }
}
