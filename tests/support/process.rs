//! The built program as a user starts it: its output line by line, its exit status, and never left running.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::PATIENCE;

/// Lines of output that may wait for a test; a program that prints more waits until they are read.
const LINES_MAX: usize = 4_096;

/// How soon an impatient user asks again.
const IMPATIENCE: Duration = Duration::from_millis(20);

/// A running `nearfar`; killed when dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    stderr: Receiver<String>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output that was not read before, line by line.
    pub lines: Vec<String>,
    /// All of standard error.
    pub stderr: String,
}

/// The program with `arguments`, without logs and without what this process's environment says about it.
pub fn nearfar(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearfar"));
    without_our_environment(&mut command).args(["--log", "off"]).args(arguments);
    command
}

/// Takes out of `command` what this process's environment says about the program, and its input.
pub fn without_our_environment(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NEARFAR_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null())
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    Process::start(command).wait()
}

impl Process {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program can be started");
        let lines = read_lines(child.stdout.take().expect("its output is piped"));
        let stderr = read_all(child.stderr.take().expect("its errors are piped"));
        Self { child, lines, stderr }
    }

    /// The process's number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("the program prints nothing more"),
            Err(RecvTimeoutError::Disconnected) => {
                let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
                panic!("the program ended instead of printing a line: {stderr}");
            }
        }
    }

    /// Asks the program to end, as a supervisor does, and waits until it has.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        assert!(self.signal_end(), "the program was gone before it was told to end");
        self.wait()
    }

    /// Asks the program to end again and again, as an impatient user does, until it has. The system may make one of two
    /// signals that come together, so two alone would not do.
    #[track_caller]
    pub fn terminate_impatiently(self) -> Ended {
        while self.signal_end() && self.lines.recv_timeout(IMPATIENCE) == Err(RecvTimeoutError::Timeout) {}
        self.wait()
    }

    /// Whether the program was there to be told to end.
    fn signal_end(&self) -> bool {
        let kill = format!("kill -TERM {}", self.child.id());
        Command::new("sh").args(["-c", &kill]).status().expect("a shell can be started").success()
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the program does not end; it printed {lines:?}"),
            }
        }
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("standard error ends with the program");
        // Both of its outputs are closed, so it is gone or as good as.
        let code = self.child.wait().expect("it is our child").code();
        Ended { code, lines, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Mostly it has ended already, and then there is nothing to end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// The one line that contains `part`.
    #[track_caller]
    pub fn line_with(&self, part: &str) -> &str {
        let found: Vec<_> = self.lines.iter().filter(|line| line.contains(part)).collect();
        assert_eq!(found.len(), 1, "lines with {part:?} in {self:?}");
        found[0]
    }

    /// Asserts that the program ended well and complained about nothing.
    #[track_caller]
    pub fn assert_success(&self) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
    }

    /// Asserts that the program printed nothing but one sentence on standard error, with all of `parts` in it.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.lines, Vec::<String>::new(), "{self:?}");
        assert!(self.stderr.starts_with("nearfar: ") && self.stderr.lines().count() == 1, "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
    }
}

/// The address in a ready line.
#[track_caller]
pub fn ready_address(line: &str) -> SocketAddr {
    let rest = line.strip_prefix("ready mqtt=").expect("a ready line");
    let address = rest.split(' ').next().expect("a split has a first part");
    address.parse().expect("the ready line has an address")
}

fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn read_all(mut stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        // What cannot be read is missing from the text, and the test that wants it fails. Nobody may be waiting for it.
        stderr.read_to_string(&mut text).ok();
        sender.send(text).ok();
    });
    receiver
}
