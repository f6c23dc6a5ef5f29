//! `nearfar serve` under those who watch it: systemd's notification socket, probes
//! over HTTP, and `nearfar health`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use crate::support::http::get;
use crate::support::process::{Process, nearfar, nearfar_logging, run};
use crate::support::prometheus::scrape;
use crate::support::{MODEL, PATIENCE};

const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];

/// Where `serve` serves health and metrics, from its ready line.
#[track_caller]
fn http_address(ready: &str) -> SocketAddr {
    let part =
        ready.split(' ').find_map(|part| part.strip_prefix("http=")).expect("the ready line has http=");
    part.parse().expect("http= is an address")
}

fn health(address: SocketAddr) -> Command {
    nearfar(&["health", &address.to_string()])
}

/// A supervisor's socket.
struct Supervisor {
    socket: UnixDatagram,
    _directory: tempfile::TempDir,
}

impl Supervisor {
    /// Listens, and lets `command` know; wants a sign of life every `watchdog_ms`.
    fn watching(command: &mut Command, watchdog_ms: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", (watchdog_ms * 1_000).to_string());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, _directory: directory }
    }

    /// The next notification that has a line that begins with `start`; and whether one had `unwanted` before.
    #[track_caller]
    fn wait_for(&self, start: &str, unwanted: &str) {
        let mut buffer = [0; 4_096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {start}: {error}"));
            let news = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if news.lines().any(|line| line.starts_with(start)) {
                return;
            }
            assert!(!news.lines().any(|line| line.starts_with(unwanted)), "{news:?} before {start}");
        }
    }

    /// Everything that was said and not read.
    fn rest(&self) -> String {
        self.socket.set_nonblocking(true).unwrap();
        let (mut buffer, mut rest) = ([0; 4_096], String::new());
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => rest += &String::from_utf8_lossy(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return rest,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn systemd_is_told_that_the_node_is_ready_alive_and_stopping() {
    let mut command = nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]);
    let supervisor = Supervisor::watching(&mut command, 300);
    let process = Process::start(&mut command);
    supervisor.wait_for("READY=1", "WATCHDOG=1");
    assert!(process.line().starts_with("ready "), "ready for both at the same time");
    supervisor.wait_for("STATUS=answering requests", "STOPPING=1");
    for _ in 0..3 {
        supervisor.wait_for("WATCHDOG=1", "STOPPING=1");
    }
    process.terminate().assert_success();
    let rest = supervisor.rest();
    assert!(rest.contains("STOPPING=1"), "{rest:?}");
    let after = rest.split("STOPPING=1").nth(1).unwrap();
    assert!(!after.contains("WATCHDOG=1") && !after.contains("READY=1"), "{rest:?}");
}

#[test]
fn systemd_is_told_the_same_of_a_broker_alone() {
    let mut command = nearfar(&["broker", "--listen", "127.0.0.1:0"]);
    let supervisor = Supervisor::watching(&mut command, 300);
    let process = Process::start(&mut command);
    supervisor.wait_for("READY=1", "WATCHDOG=1");
    assert!(process.line().starts_with("ready "));
    supervisor.wait_for("STATUS=taking clients", "STOPPING=1");
    supervisor.wait_for("WATCHDOG=1", "STOPPING=1");
    process.terminate().assert_success();
    assert!(supervisor.rest().contains("STOPPING=1"));
}

#[test]
fn a_start_that_waits_for_a_broker_elsewhere_is_put_off_rather_than_given_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut command = nearfar_logging("nearfar=info", &["serve", MODEL, "--http", "127.0.0.1:0"]);
    command.args(["--broker-host", "127.0.0.1", "--broker-port", &nobody]);
    let supervisor = Supervisor::watching(&mut command, 300);
    let process = Process::start(&mut command);
    supervisor.wait_for("STATUS=not ready: ", "READY=1");
    supervisor.wait_for("EXTEND_TIMEOUT_USEC=", "READY=1");
    // The ready line is still to come, so the address is in the log alone.
    let line = process.complaint_with("health and metrics");
    let address: SocketAddr = line.rsplit_once("address=").unwrap().1.trim().parse().unwrap();
    let asked = run(&mut health(address));
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.starts_with("nearfar: not ready: "), "{asked:?}");
    let alive = run(health(address).arg("--live"));
    alive.assert_success();
    assert_eq!(alive.lines, ["alive"]);
    assert_eq!(process.terminate().code, Some(0));
    assert!(supervisor.rest().contains("STOPPING=1"));
}

#[test]
fn a_socket_where_nobody_listens_disturbs_nobody() {
    let mut command = nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]);
    let process = Process::start(command.env("NOTIFY_SOCKET", "/nowhere/notify"));
    assert!(process.line().starts_with("ready "));
    process.terminate().assert_success();
}

#[test]
fn health_and_metrics_are_served_where_the_ready_line_says() {
    let process = Process::start(nearfar(&["serve", MODEL]).args(FREE_PORTS));
    let ready = process.line();
    let address = http_address(&ready);
    assert!(ready.ends_with(&format!(" http={address} model=anomaly_detector placement=edge")), "{ready}");
    assert_eq!(get(address, "/health/ready").status, 200);
    assert!(scrape(address).iter().any(|family| family.name == "nearfar_requests_received_total"));
    let asked = run(&mut health(address));
    asked.assert_success();
    assert_eq!(asked.lines, ["ready"]);
    let port = address.port();
    for asked in [format!("localhost:{port}"), format!("http://{address}/health/ready")] {
        run(&mut nearfar(&["health", &asked])).assert_success();
    }
    for (asked, hint) in
        [(port.to_string(), format!("127.0.0.1:{port}")), ("127.0.0.1".into(), "127.0.0.1:9464".into())]
    {
        let ended = run(&mut nearfar(&["health", &asked]));
        assert!(ended.code == Some(2) && ended.stderr.contains(&format!("as in \"{hint}\"")), "{ended:?}");
    }
    process.terminate().assert_success();
    let asked = run(&mut health(address));
    asked.assert_refused(1, &[&address.to_string(), "/health/ready", "does not answer"]);
}

#[test]
fn file_and_environment_name_the_address_too_and_by_default_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nearfar.toml");
    let deployment = format!("[broker]\nlisten = \"127.0.0.1:0\"\n[deployments.edge]\nmodel = {MODEL:?}\n");
    std::fs::write(&file, format!("[http]\nlisten = \"127.0.0.1:0\"\n{deployment}")).unwrap();
    let process = Process::start(nearfar(&["serve", "--config"]).arg(&file));
    assert_eq!(get(http_address(&process.line()), "/health/live").status, 200);
    process.terminate().assert_success();
    std::fs::write(&file, deployment).unwrap();
    let serve = || {
        let mut command = nearfar(&["serve", "--config"]);
        command.arg(&file);
        command
    };
    let process = Process::start(serve().env("NEARFAR_HTTP__LISTEN", "127.0.0.1:0"));
    assert_eq!(get(http_address(&process.line()), "/health/live").status, 200);
    process.terminate().assert_success();
    let process = Process::start(&mut serve());
    assert!(!process.line().contains("http="));
    process.terminate().assert_success();
}

#[test]
fn an_address_for_health_that_cannot_be_had_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]).args(["--http", &address]));
    ended.assert_refused(1, &[&address, "health and metrics", "--http"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nearfar.toml");
    std::fs::write(&file, "\n[http]\nlisten = \"everywhere\"\n").unwrap();
    let ended = run(nearfar(&["serve", "--config"]).arg(&file));
    ended.assert_refused(2, &["line 3", "`http.listen`"]);
}

#[test]
fn health_tells_a_node_from_something_else() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        // What is not read when the connection is closed would take the answer back.
        assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
    });
    let asked = run(&mut health(address));
    asked.assert_refused(1, &[&address.to_string(), "SSH-2.0-x"]);
    answering.join().unwrap();
}

#[test]
fn the_configurations_that_are_shipped_for_deployment_can_be_read() {
    let read = |directory: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(directory).join("nearfar.toml");
        nearfar::testing::read_node_file(&path).unwrap_or_else(|error| panic!("{error}"))
    };
    for directory in ["systemd", "docker", "kubernetes"] {
        assert!(read(directory).has("http"), "the probes of {directory} ask over HTTP");
    }
}
