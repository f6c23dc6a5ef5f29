//! What a model knows of devices, in a file: read when the deployment starts, written now and then and when
//! it ends, so that a restart forgets nothing but the last moments before a crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::detection::Memory;
use crate::growing_file::write_whole;

/// Where the devices' state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceState {
    /// The file.
    pub path: PathBuf,
    /// How often it is written while the deployment runs. Default a minute.
    pub interval: Duration,
}

impl DeviceState {
    /// How often it is written unless that is said.
    pub const INTERVAL: Duration = Duration::from_secs(60);
}

/// The thread that writes.
pub struct Keeper {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// Restores what the file holds, if there is one. What cannot be used is put aside, and the devices learn
/// anew.
pub fn restore(deployment: &str, path: &Path, memory: &Memory) {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            return error!(deployment, path = %path.display(), %error, "the devices' state cannot be read; they learn anew");
        }
    };
    match memory.restore(&bytes) {
        Ok(devices) => info!(deployment, path = %path.display(), devices, "the devices' state was read"),
        Err(refused) => {
            let aside = path.with_extension("refused");
            let kept = fs::rename(path, &aside)
                .map_or_else(|error| error.to_string(), |()| aside.display().to_string());
            warn!(
                deployment,
                path = %path.display(), %refused, kept,
                "the devices' state cannot be used and is put aside; they learn anew"
            );
        }
    }
}

impl Keeper {
    /// Writes what `memory` gives, every so often and at the end.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(
        deployment: &str,
        state: &DeviceState,
        memory: impl Fn() -> Option<Memory> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel::<()>(1);
        let (deployment, DeviceState { path, interval }) = (deployment.to_owned(), state.clone());
        let thread = thread::Builder::new().name(format!("devices-{deployment}")).spawn(move || {
            let mut written = 0;
            loop {
                let is_last = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
                if let Some(memory) = memory()
                    && (memory.rows() != written || is_last)
                {
                    written = memory.rows();
                    if let Err(error) = write_whole(&path, memory.save()) {
                        error!(deployment, path = %path.display(), %error, "the devices' state cannot be written");
                    }
                }
                if is_last {
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Writes once more, and ends.
    pub fn finish(self) {
        let Self { stop, thread } = self;
        drop(stop);
        if thread.join().is_err() {
            error!("the thread that writes the devices' state panicked");
        }
    }
}
