//! The built program as a user starts it: its output line by line, its exit status, and never left running.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
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
    /// What was read of standard error.
    complaints: RefCell<String>,
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
    nearfar_logging("off", arguments)
}

/// The same with logs.
pub fn nearfar_logging(filter: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearfar"));
    without_our_environment(&mut command).args(["--log", filter]).args(arguments);
    command
}

/// The same where no file may grow beyond so many bytes, as on a disk that is nearly full.
pub fn nearfar_on_a_small_disk(kib: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    // The limit is in blocks of 512 bytes. Without the trap the system would end the
    // program instead of telling it.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", 2 * kib);
    without_our_environment(&mut command).args(["-c", &script, env!("CARGO_BIN_EXE_nearfar")]);
    command.args(["--log", "off"]).args(arguments);
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
        let stderr = read_lines(child.stderr.take().expect("its errors are piped"));
        Self { child, lines, stderr, complaints: RefCell::default() }
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
                let stderr = self.all_complaints();
                panic!("the program ended instead of printing a line: {stderr}");
            }
        }
    }

    /// The next line of standard error that contains `part`.
    #[track_caller]
    pub fn complaint_with(&self, part: &str) -> String {
        loop {
            let Ok(line) = self.stderr.recv_timeout(PATIENCE) else {
                panic!("no line with {part:?} on standard error, only {:?}", self.complaints.borrow());
            };
            *self.complaints.borrow_mut() += &format!("{line}\n");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Standard error up to its end.
    fn all_complaints(&self) -> String {
        let mut all = self.complaints.borrow_mut();
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            *all += &format!("{line}\n");
        }
        all.clone()
    }

    /// Asks the program to end, as a supervisor does, and waits until it has.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        assert!(self.signal("TERM"), "the program was gone before it was told to end");
        self.wait()
    }

    /// Asks the program to end again and again, as an impatient user does, until it has. The
    /// system may make one of two signals that come together, so two alone would not do.
    #[track_caller]
    pub fn terminate_impatiently(self) -> Ended {
        while self.signal("TERM") && self.lines.recv_timeout(IMPATIENCE) == Err(RecvTimeoutError::Timeout) {}
        self.wait()
    }

    /// Sends the program a signal; `false` when it was gone.
    pub fn signal(&self, name: &str) -> bool {
        let kill = format!("kill -{name} {}", self.child.id());
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
        let stderr = self.all_complaints();
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

    /// Asserts that the program ended so, and said `part` on standard error.
    #[track_caller]
    pub fn assert_said(&self, code: i32, part: &str) {
        assert!(self.code == Some(code) && self.stderr.contains(part), "{part:?} is not in {self:?}");
    }

    /// Asserts that the program printed nothing but one sentence on standard error, with
    /// all of `parts` in it.
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

fn read_lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
