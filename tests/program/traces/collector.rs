//! Traces to a collector: `cargo test --features opentelemetry --test program traces::`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::sync_channel;

use rumqttc::v5::mqttbytes::v5::PublishProperties;

use crate::support::process::{Process, nearfar, ready_address, run};
use crate::support::{MODEL, PATIENCE, Sensor, request};

const TRACE: [u8; 16] =
    [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];
const SPAN: [u8; 8] = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];

/// What a collector was sent: path and body.
type Sent = (String, Vec<u8>);

/// Answers one POST over OTLP and returns it.
fn collect(listener: &TcpListener) -> std::io::Result<Sent> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer.as_bytes())?;
    Ok((first, body))
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_request_s_span_is_sent_and_continues_its_sender_s_trace() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (sender, sent) = sync_channel(1);
    let collecting = std::thread::spawn(move || sender.send(collect(&collector)));
    let mut command = nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]);
    let process = Process::start(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
    let sensor = Sensor::listening(ready_address(&process.line()), &["ml/inference/result/#"]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parent = ("traceparent".to_owned(), format!("00-{}-{}-01", hex(&TRACE), hex(&SPAN)));
    let properties = PublishProperties { user_properties: vec![parent], ..PublishProperties::default() };
    sensor.publish_with("ml/inference/request", request("press", 1), properties);
    sensor.next();
    drop(sensor);
    // What was not sent is sent at the end.
    process.terminate().assert_success();
    let (path, body) = sent.recv_timeout(PATIENCE).unwrap().unwrap();
    collecting.join().unwrap().unwrap();
    assert!(path.starts_with("POST /v1/traces "), "{path}");
    for part in [&TRACE[..], &SPAN, b"nearfar", b"request", b"press", b"answered", b"inference"] {
        assert!(
            has(&body, part),
            "{:?} is not in {:?}",
            String::from_utf8_lossy(part),
            String::from_utf8_lossy(&body)
        );
    }
}

#[test]
fn an_address_that_cannot_be_a_collector_s_is_refused() {
    let mut command = nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]);
    let ended = run(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url"));
    ended.assert_refused(2, &["OTEL_EXPORTER_OTLP"]);
}
