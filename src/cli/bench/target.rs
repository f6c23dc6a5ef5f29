//! What is measured: a node in a process of its own, or a broker elsewhere; and what a process has used.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::cli::output;
use crate::shipped;

/// What a process has used so far, from Linux's /proc.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu_s: f64,
    pub resident_mib: f64,
}

impl Usage {
    /// Of the process with this number; none where the system does not tell.
    pub fn of(process: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = resident.trim().trim_end_matches(" kB").parse().ok()?;
        // The fields after the program's name, which ends with the last bracket: user and system time.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_ascii_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some(Self { cpu_s: ticks / TICKS_PER_S, resident_mib: kib / 1_024.0 })
    }

    pub fn of_this_process() -> Option<Self> {
        Self::of(std::process::id())
    }
}

/// Linux counts processor time for programs in hundredths of a second (USER_HZ) on
/// every architecture that we build for.
const TICKS_PER_S: f64 = 100.0;

/// What is to be measured.
pub enum Choice<'a> {
    /// A broker that runs already, and the process whose use is reported.
    Elsewhere { address: &'a str, process: Option<u32> },
    /// An echo over the embedded broker.
    Echo,
    /// A node over the embedded broker.
    Node { model: Option<&'a Path>, cloud_latency_ms: Option<f64>, broker_config: Option<&'a Path> },
    /// A node that a configuration file describes.
    Configured { config: &'a Path },
}

/// A target that can be reached.
pub struct Target {
    pub address: String,
    process: Option<u32>,
    _child: Option<Guard>,
    /// From the start of the process to its ready line.
    pub ready_after: Option<Duration>,
}

/// A child process, killed when dropped, and the files it reads.
struct Guard {
    child: Child,
    _files: Option<tempfile::TempDir>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Killed on purpose: what is measured is over. It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Target {
    /// A node of its own logs what `log` says, or else warnings.
    ///
    /// # Errors
    /// When the node does not start.
    pub fn start(choice: &Choice<'_>, log: Option<&str>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
        command.args(["--log", log.unwrap_or("warn")]);
        if output::is_json() {
            command.args(["--log-format", "json"]);
        }
        let mut files = None;
        match choice {
            Choice::Elsewhere { address, process } => {
                let (address, process) = (with_port(address), *process);
                return Ok(Self { address, process, _child: None, ready_after: None });
            }
            Choice::Echo => {
                command.arg("echo");
            }
            Choice::Configured { config } => {
                command.arg("serve").arg("--config").arg(config);
            }
            Choice::Node { model, cloud_latency_ms, broker_config } => {
                command.arg("serve");
                match model {
                    Some(model) => command.arg(model),
                    None => command.arg(files.insert(shipped::files()?).path()),
                };
                match broker_config {
                    Some(file) => command.arg("--broker-config").arg(file),
                    None => command.args(["--listen", "127.0.0.1:0"]),
                };
                if let Some(latency_ms) = cloud_latency_ms {
                    command.arg("--cloud-latency").arg(latency_ms.to_string());
                }
            }
        }
        let started_at = Instant::now();
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("the node's process")?;
        let mut guard = Guard { child, _files: files };
        let mut line = String::new();
        let output = guard.child.stdout.take().context("the node's output")?;
        BufReader::new(output).read_line(&mut line).context("the node's ready line")?;
        let Some(address) = line.strip_prefix("ready mqtt=").and_then(|rest| rest.split([' ', ',']).next())
        else {
            bail!("the node did not become ready; it printed {:?}", line.trim());
        };
        Ok(Self {
            address: address.to_owned(),
            process: Some(guard.child.id()),
            _child: Some(guard),
            ready_after: Some(started_at.elapsed()),
        })
    }

    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.process?)
    }
}

/// `address` with MQTT's port where it names none.
fn with_port(address: &str) -> String {
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    if has_port { address.to_owned() } else { format!("{address}:1883") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_that_of_mqtt() {
        assert_eq!(with_port("broker"), "broker:1883");
        assert_eq!(with_port("broker:1884"), "broker:1884");
        assert_eq!(with_port("[::1]"), "[::1]:1883");
        assert_eq!(with_port("[::1]:1884"), "[::1]:1884");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_knows_what_it_uses() {
        let usage = Usage::of_this_process().unwrap();
        assert!(usage.resident_mib > 1.0 && usage.cpu_s >= 0.0, "{usage:?}");
    }
}
