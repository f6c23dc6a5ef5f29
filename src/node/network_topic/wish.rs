//! What a message on the network topic asks for, in JSON or TOML, with the keys of the configuration file.

use crate::network::Profile;
use crate::network::settings::shape_or_latency;
use crate::node::control_topic::Refused;
use crate::settings::{Table, json, toml};
use crate::text;

/// The largest message that is read.
const NETWORK_PAYLOAD_BYTES_MAX: usize = 16 * 1024;

/// The network that the payload asks for; `None` where it asks for the configured one, by saying nothing.
///
/// # Errors
/// [`Refused`] with key, what was found and what was expected.
pub fn read(payload: &[u8], deployment: &str) -> Result<Option<Profile>, Refused> {
    let whole = |problem: String| Refused { key: String::new(), problem };
    if payload.len() > NETWORK_PAYLOAD_BYTES_MAX {
        let problem = format!("found {} bytes, expected at most {NETWORK_PAYLOAD_BYTES_MAX}", payload.len());
        return Err(whole(problem));
    }
    let text = text::decode(payload).map_err(|error| whole(format!("expected JSON or TOML: {error}")))?;
    let parse = if text.trim_start().starts_with('{') { json::parse } else { toml::parse };
    let tree = parse(None, text).map_err(|error| whole(format!("expected JSON or TOML: {error}")))?;
    let table = Table::of(&tree, "")?;
    if table.others().next().is_none() {
        return Ok(None);
    }
    // Whoever may publish may not make the node read files of its machine.
    let no_files =
        |_: &str| Err("files cannot be named over MQTT; name it in the configuration file".to_owned());
    Ok(Some(shape_or_latency(table, deployment, &no_files)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::network::{Loss, Preset};

    fn wish(text: &str) -> Result<Option<Profile>, Refused> {
        read(text.as_bytes(), "cloud")
    }

    #[test]
    fn the_same_keys_can_be_said_in_json_and_in_toml() {
        let constant = Profile::constant(Duration::from_millis(80));
        assert_eq!(wish(r#"{"one_way_latency_ms": 80}"#), Ok(Some(constant.clone())));
        assert_eq!(wish("one_way_latency_ms = 80.0\n"), Ok(Some(constant)));
        let json = wish(r#" {"preset": "4g", "uplink": {"loss": {"probability": 0.1}}}"#).unwrap().unwrap();
        let toml = wish("preset = \"4g\"\n[uplink]\nloss = { probability = 0.1 }").unwrap().unwrap();
        assert_eq!(json, toml);
        let shape = json.shape().unwrap();
        assert_eq!(shape.uplink.loss, Loss::independent(0.1).unwrap());
        assert_eq!(shape.downlink, Preset::named("4g").unwrap().links().1);
        assert_eq!(shape.link, "cloud");
    }

    #[test]
    fn saying_nothing_asks_for_the_configured_network() {
        for nothing in ["", "  \n", "{}", " { } ", "# nothing"] {
            assert_eq!(wish(nothing), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let refused = |text: &str| wish(text).unwrap_err();
        assert_eq!(refused(r#"{"preset": "6g"}"#).key, "preset");
        assert_eq!(refused(r#"{"presett": "4g"}"#).key, "presett");
        assert_eq!(
            refused(r#"{"uplink": {"delay": {"model": "normal", "sd_ms": 1}}}"#).key,
            "uplink.delay.mean_ms"
        );
        assert_eq!(refused(r#"{"one_way_latency_ms": -1}"#).key, "one_way_latency_ms");
        assert_eq!(refused(r#"{"one_way_latency_ms": 1e9}"#).key, "one_way_latency_ms");
        assert_eq!(refused(r#"{"one_way_latency_ms": "fast"}"#).key, "one_way_latency_ms");
        let both = refused(r#"{"one_way_latency_ms": 1, "preset": "4g"}"#);
        assert!(both.key == "preset" && both.problem.contains("one_way_latency_ms"), "{both:?}");
        let file = refused(r#"{"uplink": {"delay": {"model": "empirical", "file": "/etc/passwd"}}}"#);
        assert!(file.problem.contains("over MQTT"), "{file:?}");
        assert!(refused("{\"preset\"").problem.contains("no JSON"));
        assert!(refused("[1, 2]").problem.contains("JSON or TOML: line 1: this is no TOML"));
        assert!(read(&[0xff], "cloud").unwrap_err().problem.contains("UTF-8"));
        assert!(read(&vec![b' '; 20_000], "cloud").unwrap_err().problem.contains("at most 16384"));
        assert!(
            refused(&format!("{{\"a\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000)))
                .problem
                .contains("nested more than 32 deep")
        );
    }
}
