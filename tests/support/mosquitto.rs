//! A Mosquitto of a test's own, where one is installed: on a free port of the
//! loopback interface, with its files in a directory that goes with it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where Debian puts it, which is not on every user's path.
const PLACES: [&str; 3] = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
/// How often another port is tried when somebody else has taken the one that was free.
const PORTS_MAX: usize = 20;

pub struct Mosquitto {
    program: &'static str,
    directory: tempfile::TempDir,
    address: SocketAddr,
    settings: String,
    child: Option<Child>,
}

/// What every configuration says beside its listener: no bound that a test could
/// reach, and the state on disk at the end.
const SETTINGS: &str =
    "user root\nlog_dest stderr\npersistence true\nmax_queued_messages 0\nmax_inflight_messages 0\n";

/// A broker that lets everybody in; none where Mosquitto is not installed, which is
/// said so that nobody overlooks it.
pub fn mosquitto() -> Option<Mosquitto> {
    mosquitto_with("allow_anonymous true\n", |_| {})
}

/// The same with more settings, in which `DIRECTORY` stands for its directory, and more files in that.
pub fn mosquitto_with(settings: &str, prepare: impl FnOnce(&Path)) -> Option<Mosquitto> {
    let found = PLACES.into_iter().find(|program| {
        Command::new(program).arg("-h").output().is_ok_and(|output| !output.stdout.is_empty())
    });
    let Some(program) = found else {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        // Not eprintln, which is kept from whoever runs tests that pass.
        writeln!(
            std::io::stderr(),
            "!!! SKIPPED {test}: mosquitto is not installed (Debian package mosquitto)"
        )
        .ok();
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let settings = settings.replace("DIRECTORY", &directory.path().display().to_string());
    let mut broker = Mosquitto {
        program,
        directory,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        settings,
        child: None,
    };
    let started = (0..PORTS_MAX).any(|_| {
        broker.address = free_address();
        broker.try_start()
    });
    assert!(started, "mosquitto does not start");
    Some(broker)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Mosquitto {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it as a supervisor does: it writes sessions and messages to disk.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let kill = format!("kill -TERM {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// Starts it again on the same port with what it had written.
    pub fn start(&mut self) {
        assert!(self.try_start(), "mosquitto does not start again");
    }

    fn try_start(&mut self) -> bool {
        let (port, directory) = (self.address.port(), self.directory.path().display());
        let text = format!(
            "listener {port} 127.0.0.1\n{SETTINGS}persistence_location {directory}/\n{}",
            self.settings
        );
        let file: PathBuf = self.directory.path().join("mosquitto.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(self.program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        while let Some(Ok(line)) = lines.next() {
            if line.contains("running") {
                // It must not wait for somebody to read what it logs.
                std::thread::spawn(move || lines.for_each(drop));
                self.child = Some(child);
                return true;
            }
            said += &line;
        }
        child.wait().unwrap();
        assert!(said.contains("Address already in use"), "mosquitto does not start: {said}");
        false
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
