//! What a trial measures, as it is measured: whatever happens, what was measured until then is somewhere.

mod directory;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use self::directory::{Foreign, ResultsDirectory};

use crate::lab::observation::{Observation, Stages};
use crate::lab::scenario::Scenario;

/// Takes results as they come; whoever needs nothing but the [`Run`](crate::lab::observation::Run) at the end
/// gives `()`. An error ends the trial.
///
/// Time stamps are microseconds since 1970, or on a simulated clock since its beginning.
pub trait Results {
    /// What follows is of this point of the sweeps, from 0.
    ///
    /// # Errors
    /// When results cannot be kept.
    fn begin_point(&mut self, _point: usize) -> io::Result<()> {
        Ok(())
    }

    /// What forward passes and ways take on a simulated clock: flags of
    /// `nearfar compare` that give the same again, one a line.
    ///
    /// # Errors
    /// When results cannot be kept.
    fn costs(&mut self, _flags: &str) -> io::Result<()> {
        Ok(())
    }

    /// A message of any kind.
    ///
    /// # Errors
    /// When results cannot be kept.
    fn message(
        &mut self,
        _at_us: i64,
        _kind: MessageType,
        _bytes: usize,
        _features: usize,
    ) -> io::Result<()> {
        Ok(())
    }

    /// A result that counts: that of a request which was due at `at_us`, after the warm-up.
    ///
    /// # Errors
    /// When results cannot be kept.
    fn answer(
        &mut self,
        _at_us: i64,
        _device: &str,
        _placement: &str,
        _stages: &Stages,
        _total: Duration,
    ) -> io::Result<()> {
        Ok(())
    }

    /// What was told so far shall be safe; comes many times a second.
    ///
    /// # Errors
    /// When results cannot be kept.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A repeat is over.
    ///
    /// # Errors
    /// When results cannot be kept.
    fn end_repeat(
        &mut self,
        _scenario: &Scenario,
        _devices: &[Arc<str>],
        _observations: &[Observation],
    ) -> io::Result<()> {
        Ok(())
    }
}

impl Results for () {}

/// A kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// From a device to a placement.
    Request,
    /// Back, with a score.
    Result,
    /// Back, with a reason why there is none.
    Error,
}

impl MessageType {
    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Result => "result",
            Self::Error => "error",
        }
    }
}
