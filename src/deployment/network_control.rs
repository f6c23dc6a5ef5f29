//! The simulated network of a running deployment: what was configured, what somebody
//! has put in its place, and how it changes.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use super::flow::{Flow, departures};
use crate::network::Profile;
use crate::sync::lock;

/// Changes the simulated network of one deployment; clones change the same.
#[derive(Clone)]
pub struct NetworkControl {
    shared: Arc<Shared>,
}

impl fmt::Debug for NetworkControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (in_force, revision) = self.in_force();
        f.debug_struct("NetworkControl")
            .field("deployment", &self.deployment())
            .field("in_force", &in_force)
            .field("revision", &revision)
            .finish_non_exhaustive()
    }
}

struct Shared {
    deployment: String,
    state: Mutex<State>,
}

struct State {
    /// What the threads are called after.
    threads: String,
    configured: Profile,
    /// In place of the configured one.
    instead: Option<Profile>,
    /// What new threads get a copy of.
    flow: Flow,
    /// The threads behind the delay line, once there are any.
    stages: Vec<JoinHandle<()>>,
    revision: u64,
    has_ended: bool,
}

/// What became of a wish for another network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// How often the network has been changed since the deployment started.
    pub revision: u64,
    /// Whether this changed it. False when the same one was in force already, or is not
    /// the configured one for now.
    pub is_new: bool,
    /// Whether the configured network is in force now.
    pub is_configured: bool,
}

/// Why a network cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The deployment takes no requests any more.
    #[error("the deployment has ended")]
    Ended,
    /// The operating system starts no more threads.
    #[error("no thread could be started: {0}")]
    Thread(#[from] io::Error),
}

impl NetworkControl {
    /// Starts the threads that `network` needs for the `flow` of `deployment`, called
    /// after `threads`. Its workers serve already.
    pub(crate) fn start(deployment: &str, threads: &str, network: &Profile, flow: &Flow) -> io::Result<Self> {
        let mut state = State {
            threads: threads.to_owned(),
            configured: network.clone(),
            instead: None,
            flow: flow.clone(),
            stages: Vec::new(),
            revision: 0,
            has_ended: false,
        };
        if !network.is_instant() {
            state.start_line()?;
        }
        Ok(Self { shared: Arc::new(Shared { deployment: deployment.to_owned(), state: Mutex::new(state) }) })
    }

    /// The deployment's name.
    pub fn deployment(&self) -> &str {
        &self.shared.deployment
    }

    /// The network in force, and how often it has been changed.
    pub fn in_force(&self) -> (Profile, u64) {
        let state = self.lock();
        (state.wanted().clone(), state.revision)
    }

    /// Makes `profile` the configured network. Where another one stands in its place, that stays in force.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing has changed then.
    pub fn configure(&self, profile: Profile) -> Result<Change, ChangeError> {
        self.change(|state| state.configured = profile)
    }

    /// Puts `profile` in place of the configured network; `None` ends that.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing has changed then.
    pub fn put_instead(&self, profile: Option<Profile>) -> Result<Change, ChangeError> {
        self.change(|state| state.instead = profile)
    }

    /// Counts a wish that could not be understood.
    pub fn count_refused(&self) {
        self.lock().flow.ledger().network_change_refused();
    }

    fn change(&self, wish: impl FnOnce(&mut State)) -> Result<Change, ChangeError> {
        let mut state = self.lock();
        if state.has_ended {
            return Err(ChangeError::Ended);
        }
        let before = (state.configured.clone(), state.instead.clone());
        let was_in_force = state.wanted().clone();
        wish(&mut state);
        let is_new = *state.wanted() != was_in_force;
        if is_new && let Err(error) = state.exchange() {
            (state.configured, state.instead) = before;
            return Err(error.into());
        }
        Ok(Change { revision: state.revision, is_new, is_configured: state.instead.is_none() })
    }

    /// Whether its threads run.
    pub(crate) fn is_alive(&self) -> bool {
        !self.lock().stages.iter().any(JoinHandle::is_finished)
    }

    /// Allows no more changes, and hands over the threads, to be waited for.
    pub(crate) fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.lock();
        state.has_ended = true;
        std::mem::take(&mut state.stages)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    fn wanted(&self) -> &Profile {
        self.instead.as_ref().unwrap_or(&self.configured)
    }

    /// Puts the wanted network in force. A delay line that runs goes on running: answers
    /// that it carries must stay behind one another whatever comes after.
    fn exchange(&mut self) -> io::Result<()> {
        if self.stages.is_empty() {
            self.start_line()?;
        }
        self.revision = self.flow.passage().exchange(self.wanted());
        self.flow.ledger().network_changed();
        Ok(())
    }

    fn start_line(&mut self) -> io::Result<()> {
        let passage = self.flow.passage();
        let (departures, departing) = departures();
        let (mut network, publish) = (self.flow.clone(), self.flow.clone());
        // The publishing thread ends when the other one does, or is not there.
        let publishing = thread::Builder::new()
            .name(format!("publish-{}", self.threads))
            .spawn(move || publish.depart(departing))?;
        let mut guest = self.flow.workers().guest();
        let on_due = move |due: &mut _| network.on_due(due, &departures, Some(&mut guest));
        let carrying = passage.line().run(&format!("network-{}", self.threads), on_due)?;
        self.stages = vec![carrying, publishing];
        // Last: from here on messages go on the line, which must have somebody who takes them off.
        passage.simulate();
        Ok(())
    }
}
