//! The wire contract: every member, every error a payload can cause, and payloads nobody thought of.

use std::time::Duration;

use nearfar::inference::{Caller, DeviceId, ErrorCode, Refusal, Stages, Urgency};
use nearfar::wire::{Answer, Limits, parse_request, parse_request_of, write_error, write_result};
use proptest::prelude::*;
use serde_json::{Value, json};

const INPUTS: usize = 3;

fn refusal(payload: &[u8]) -> (ErrorCode, String, Option<String>) {
    let rejected = parse_request(payload, INPUTS, Limits::default()).expect_err("must be refused");
    let device = rejected.caller.device_id.map(|id| id.to_string());
    (rejected.refusal.code, rejected.refusal.message, device)
}

#[track_caller]
fn refused(payload: &str, code: ErrorCode, device: Option<&str>, says: &str) {
    let (found, message, caller) = refusal(payload.as_bytes());
    assert_eq!(found, code, "{payload}: {message}");
    assert_eq!(caller.as_deref(), device, "{payload}");
    assert!(message.contains(says), "{payload}: {message:?} does not say {says:?}");
}

#[test]
fn the_contract_s_example_is_a_request() {
    let payload = br#"{"device_id": "sensor1", "timestamp_us": 1000000, "features": [0.1, 0.2, 0.3]}"#;
    let request = parse_request(payload, INPUTS, Limits::default()).unwrap();
    assert_eq!(request.caller.device_id, Some(DeviceId::new("sensor1").unwrap()));
    assert_eq!(request.caller.timestamp_us, Some(1_000_000));
    assert_eq!(request.features, [0.1f32, 0.2, 0.3]);
}

#[test]
fn absent_and_null_timestamps_are_null_and_unknown_members_are_ignored() {
    for payload in [
        r#"{"device_id":"a","features":[1,2,3]}"#,
        r#"{"device_id":"a","timestamp_us":null,"features":[1,2,3],"unit":{"deep":[1,{"x":null}]}}"#,
        r#"{"features":[1e0,2,3],"extra":"é","device_id":"a","request_id":null}"#,
    ] {
        let request = parse_request(payload.as_bytes(), INPUTS, Limits::default()).unwrap();
        assert_eq!(request.caller.timestamp_us, None, "{payload}");
    }
}

#[test]
fn an_urgency_is_one_of_four_words_and_whatever_else_stands_there_refuses_nothing() {
    let urgency = |members: &str| {
        let payload = format!(r#"{{"device_id":"a",{members},"features":[1,2,3]}}"#);
        parse_request(payload.as_bytes(), INPUTS, Limits::default()).expect(members).urgency
    };
    for known in Urgency::ALL {
        assert_eq!(urgency(&format!(r#""urgency":"{}""#, known.as_str())), Some(known));
    }
    for other in [r#""HIGH""#, r#""""#, "3", "null", "true", r#"["high"]"#, r#"{"urgency":"high"}"#] {
        assert_eq!(urgency(&format!(r#""urgency":{other}"#)), None, "{other}");
    }
    assert_eq!(urgency(r#""priority":"high""#), None);
    assert_eq!(urgency(r#""urgency":"high","urgency":"low""#), Some(Urgency::Low), "the last one");
}

#[test]
fn a_whole_timestamp_of_any_form_is_taken_exactly() {
    for (text, number) in [
        ("1.7e15", 1_700_000_000_000_000),
        ("1700000000000000.0", 1_700_000_000_000_000),
        ("9007199254740993.0", 9_007_199_254_740_993),
        ("-2.5E+1", -25),
        ("-0.0", 0),
    ] {
        for payload in [
            format!(r#"{{"device_id":"a","timestamp_us":{text},"features":[1,2,3]}}"#),
            // And where an error goes back.
            format!(r#"{{"device_id":"a","timestamp_us":{text},"features":[1,2]}}"#),
            format!(r#"{{"device_id":"a","timestamp_us":{text},"features":["x"]}}"#),
        ] {
            let caller = match parse_request(payload.as_bytes(), 3, Limits::default()) {
                Ok(request) => request.caller,
                Err(rejected) => rejected.caller,
            };
            // What is read again to be explained is a float by then.
            let is_near = caller
                .timestamp_us
                .is_some_and(|found| found == number || payload.contains('x') && (found - number).abs() <= 1);
            assert!(is_near, "{payload}: {caller:?}");
        }
    }
    for text in ["1.5", "1e-1", "9223372036854775808.0", "1e19", "4503599627370497.25"] {
        let payload = format!(r#"{{"device_id":"a","timestamp_us":{text},"features":[1,2,3]}}"#);
        let rejected = parse_request(payload.as_bytes(), 3, Limits::default()).unwrap_err();
        assert_eq!(rejected.refusal.code, ErrorCode::InvalidJson);
        assert!(rejected.refusal.message.contains("timestamp_us must be a whole number"), "{rejected:?}");
    }
}

#[test]
fn a_member_that_is_ignored_may_stand_twice_and_no_other() {
    let members =
        [("device_id", "\"a\""), ("timestamp_us", "1"), ("features", "[1]"), ("request_id", "\"r\"")];
    let twice = |name: &str, one: &str, other: &str| {
        let others = members.iter().filter(|(member, _)| *member != name);
        let others: String = others.map(|(member, value)| format!("\"{member}\":{value},")).collect();
        let payload = format!("{{\"{name}\":{one},{others}\"{name}\":{other}}}");
        parse_request(payload.as_bytes(), 1, Limits::default())
    };
    for (name, value) in [("site", "\"north\""), ("", "1"), ("nested", r#"{"a":1,"a":2}"#)] {
        assert!(twice(name, value, value).is_ok(), "{name:?}");
    }
    assert_eq!(twice("urgency", "\"low\"", "\"high\"").unwrap().urgency, Some(Urgency::High));
    for (name, value) in members {
        let rejected = twice(name, value, value).unwrap_err();
        assert!(rejected.refusal.message.contains("appears twice"), "{name}: {rejected:?}");
    }
}

#[test]
fn extreme_integers_of_time_survive() {
    for timestamp in [i64::MIN, -1, 0, i64::MAX] {
        let payload = json!({"device_id": "a", "timestamp_us": timestamp, "features": [1, 2, 3]}).to_string();
        let request = parse_request(payload.as_bytes(), INPUTS, Limits::default()).unwrap();
        assert_eq!(request.caller.timestamp_us, Some(timestamp));
    }
}

#[test]
fn what_is_not_json_is_invalid_json() {
    let code = ErrorCode::InvalidJson;
    refused("", code, None, "not valid JSON");
    refused("hello", code, None, "not valid JSON");
    refused(r#"{"device_id":"a","features":[1,2,3]"#, code, None, "not valid JSON");
    refused(r#"{"device_id":"a","features":[1,2,3]} x"#, code, None, "not valid JSON");
    refused("[1,2,3]", code, None, "found an array");
    refused("null", code, None, "found null");
    assert_eq!(refusal(b"\xff\xfe").0, code);
    assert_eq!(refusal(b"{\"device_id\":\"\xc3\x28\",\"features\":[1,2,3]}").0, code);
}

#[test]
fn wrong_types_are_invalid_json_and_still_reach_their_device() {
    let code = ErrorCode::InvalidJson;
    refused(r#"{"device_id":42,"features":[1,2,3]}"#, code, None, "device_id must be a string");
    refused(r#"{"device_id":"a","features":"1,2,3"}"#, code, Some("a"), "features must be an array");
    refused(r#"{"device_id":"a","features":[1,"2",3]}"#, code, Some("a"), "features[1] must be a number");
    refused(r#"{"device_id":"a","features":[1,null,3]}"#, code, Some("a"), "features[1]");
    refused(r#"{"device_id":"a","features":[1,[2],3]}"#, code, Some("a"), "features[1]");
    refused(r#"{"device_id":"a","timestamp_us":1.5,"features":[1,2,3]}"#, code, Some("a"), "found 1.5");
    refused(r#"{"device_id":"a","timestamp_us":"now","features":[1,2,3]}"#, code, Some("a"), "a string");
    refused(r#"{"device_id":"a","request_id":7,"features":[1,2,3]}"#, code, Some("a"), "request_id");
    refused(r#"{"device_id":"a","device_id":"b","features":[1,2,3]}"#, code, Some("b"), "twice");
}

#[test]
fn nesting_and_size_have_limits() {
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"device_id":"a","features":[1,2,3],"x":{open}{close}}}"#)
    };
    assert!(parse_request(deep(100).as_bytes(), INPUTS, Limits::default()).is_ok());
    assert_eq!(refusal(deep(1000).as_bytes()).0, ErrorCode::InvalidJson);
    let long = "a".repeat(129);
    let request_id = format!(r#"{{"device_id":"a","request_id":"{long}","features":[1,2,3]}}"#);
    refused(&request_id, ErrorCode::InvalidJson, Some("a"), "129 bytes");
    let small = Limits { payload_bytes_max: 10 };
    let rejected = parse_request(br#"{"device_id":"a"}"#, INPUTS, small).unwrap_err();
    assert_eq!(rejected.refusal.code, ErrorCode::InvalidJson);
    assert!(rejected.refusal.message.contains("payload_bytes_max"));
}

#[test]
fn a_device_id_must_be_fit_for_a_topic_level() {
    let code = ErrorCode::InvalidDeviceId;
    refused(r#"{"features":[1,2,3]}"#, code, None, "missing");
    refused(r#"{"device_id":null,"features":[1,2,3]}"#, code, None, "missing");
    for bad in ["", "a/b", "+", "#", "$SYS", "a\\u0000b", "a\\nb"] {
        refused(&format!(r#"{{"device_id":"{bad}","features":[1,2,3]}}"#), code, None, "device_id");
    }
    let (just, over) = ("é".repeat(64), "é".repeat(65));
    assert!(DeviceId::new(just).is_ok());
    refused(&format!(r#"{{"device_id":"{over}","features":[1,2,3]}}"#), code, None, "130 bytes");
}

#[test]
fn features_must_be_as_many_as_inputs() {
    let code = ErrorCode::ShapeMismatch;
    refused(r#"{"device_id":"a"}"#, code, Some("a"), "missing");
    refused(r#"{"device_id":"a","features":null}"#, code, Some("a"), "missing");
    refused(r#"{"device_id":"a","features":[]}"#, code, Some("a"), "expected 3 features, got 0");
    refused(r#"{"device_id":"a","features":[1,2,3,4]}"#, code, Some("a"), "expected 3 features, got 4");
}

#[test]
fn numbers_beyond_f32_are_non_finite_however_they_are_spelled() {
    let code = ErrorCode::NonFinite;
    for bad in ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e39"] {
        refused(&format!(r#"{{"device_id":"a","features":[1,{bad},3]}}"#), code, Some("a"), "f32");
    }
    // A string that merely looks like one is a string.
    refused(r#"{"device_id":"a","features":[1,"NaN",3]}"#, ErrorCode::InvalidJson, Some("a"), "a string");
    let named = r#"{"device_id":"NaN","features":[1,2,3]}"#;
    assert!(parse_request(named.as_bytes(), INPUTS, Limits::default()).is_ok());
}

fn caller() -> Caller {
    let device_id = DeviceId::new("sensor1").expect("a plain name is a device id");
    Caller { device_id: Some(device_id), timestamp_us: Some(1_000_000), request_id: None }
}

fn answer<'a>() -> Answer<'a> {
    Answer {
        prediction: 0.85,
        inference: Duration::from_micros(5_200),
        network: Duration::from_millis(100),
        total: Duration::from_micros(105_200),
        model: None,
        model_version: None,
        anomaly: None,
        placement: None,
        reason: None,
        stages: None,
        network_revision: None,
        network_back_revision: None,
        state: None,
        tail_probability: None,
        alarm_threshold: None,
        contributions: None,
    }
}

#[test]
fn a_result_has_exactly_the_six_members() {
    let mut json = Vec::new();
    write_result(&mut json, &caller(), &answer());
    let expected = r#"{"device_id":"sensor1","timestamp_us":1000000,"prediction":0.85,"inference_time_ms":5.2,"cloud_latency_ms":100.0,"total_latency_ms":105.2}"#;
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn more_members_appear_only_when_asked_for() {
    let mut json = Vec::new();
    let mut caller = caller();
    caller.request_id = Some("r-1".to_owned());
    let stages = Stages { uplink: Duration::from_millis(50), ..Stages::default() };
    let full = Answer {
        model: Some("m"),
        anomaly: Some(true),
        placement: Some("edge"),
        reason: Some("hedge"),
        stages: Some(stages),
        network_revision: Some(3),
        network_back_revision: Some(4),
        state: None,
        tail_probability: None,
        alarm_threshold: None,
        contributions: None,
        ..answer()
    };
    write_result(&mut json, &caller, &full);
    let value: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&value["request_id"], &value["model"]), (&json!("r-1"), &json!("m")));
    assert_eq!((&value["anomaly"], &value["placement"]), (&json!(true), &json!("edge")));
    assert_eq!(value["reason"], json!("hedge"));
    assert_eq!(value["stages_ms"]["uplink"], json!(50.0));
    assert_eq!((&value["network"], &value["network_back"]), (&json!(3), &json!(4)));
    assert_eq!(value.get("model_version"), None);
}

#[test]
fn an_error_says_code_reason_and_whether_to_try_again() {
    let mut json = Vec::new();
    let refusal = Refusal::new(ErrorCode::ShapeMismatch, "expected 32 features, got 31");
    write_error(&mut json, &caller(), &refusal);
    let expected = r#"{"device_id":"sensor1","timestamp_us":1000000,"code":"SHAPE_MISMATCH","error":"expected 32 features, got 31","retryable":false}"#;
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn every_code_has_its_name_and_its_retryability() {
    use ErrorCode::*;
    let fatal = [InvalidJson, InvalidDeviceId, ShapeMismatch, NonFinite, Superseded];
    for code in ErrorCode::ALL {
        assert_eq!(code.retryable(), !fatal.contains(&code), "{code}");
    }
    let names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let contract = [
        "INVALID_JSON",
        "INVALID_DEVICE_ID",
        "SHAPE_MISMATCH",
        "NON_FINITE",
        "MODEL_NOT_READY",
        "OVERLOADED",
        "DEADLINE_EXCEEDED",
        "SUPERSEDED",
        "NETWORK_LOST",
        "UPSTREAM_UNAVAILABLE",
        "INTERNAL",
    ];
    assert_eq!(names, contract);
}

proptest! {
    #[test]
    fn no_payload_panics_and_each_is_a_request_or_a_refusal(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_request(&payload, INPUTS, Limits::default());
    }

    #[test]
    fn nearly_json_never_panics(payload in r#"[\{\}\[\]",:0-9eE+.\-\\NaInfity truefalsn]{0,120}"#) {
        let _ = parse_request(payload.as_bytes(), INPUTS, Limits::default());
    }

    #[test]
    fn what_is_sent_is_what_is_read(
        device in "[a-zA-Z0-9_é ]{1,40}",
        timestamp in any::<i64>(),
        features in proptest::collection::vec(-1e30f32..1e30, INPUTS),
    ) {
        let payload = json!({"device_id": device, "timestamp_us": timestamp, "features": features}).to_string();
        let request = parse_request(payload.as_bytes(), INPUTS, Limits::default()).unwrap();
        prop_assert_eq!(request.caller.device_id, Some(DeviceId::new(device).unwrap()));
        prop_assert_eq!(request.caller.timestamp_us, Some(timestamp));
        prop_assert_eq!(request.features, features);
    }

    #[test]
    fn a_cut_payload_is_refused(cut in 0usize..60) {
        let payload = br#"{"device_id":"sensor1","timestamp_us":1,"features":[0.1,0.2,0.3]}"#;
        prop_assert!(parse_request(&payload[..cut], INPUTS, Limits::default()).is_err());
    }
}

#[test]
fn where_the_device_is_known_the_payload_names_it_or_nobody() {
    let device = DeviceId::new("press").unwrap();
    let parse = |payload: &str| parse_request_of(&device, payload.as_bytes(), INPUTS, Limits::default());
    let features = ["1.5"; INPUTS].join(",");
    for payload in [
        format!("{{\"device_id\":\"press\",\"features\":[{features}]}}"),
        format!("{{\"features\":[{features}]}}"),
        format!("{{\"device_id\":null,\"features\":[{features}]}}"),
    ] {
        assert_eq!(parse(&payload).unwrap().caller.device_id, Some(device.clone()), "{payload}");
    }
    for (payload, code) in [
        (format!("{{\"device_id\":\"lathe\",\"features\":[{features}]}}"), ErrorCode::InvalidDeviceId),
        ("{\"device_id\":\"lathe\",\"features\":[NaN]}".to_owned(), ErrorCode::InvalidDeviceId),
        ("{\"device_id\":\"lathe\",\"features\":[\"x\"]}".to_owned(), ErrorCode::InvalidJson),
        ("{\"device_id\":\"lathe\",\"device_id\":\"lathe\"}".to_owned(), ErrorCode::InvalidDeviceId),
        ("{\"features\":[]}".to_owned(), ErrorCode::ShapeMismatch),
        ("no JSON".to_owned(), ErrorCode::InvalidJson),
        (" ".repeat(Limits::default().payload_bytes_max + 1), ErrorCode::InvalidJson),
    ] {
        let rejected = parse(&payload).unwrap_err();
        assert_eq!(rejected.refusal.code, code, "{}", rejected.refusal);
        assert_eq!(rejected.caller.device_id, Some(device.clone()), "no error of its goes to another device");
    }
}
