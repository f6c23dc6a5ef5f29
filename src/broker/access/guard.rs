//! The guard at the front door: users, access rules and failed logins become decisions.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use super::attempts::{Attempt, AttemptLimits, Attempts, TooMany};
use super::logins::Logins;
use super::rules::AccessRules;
use super::users::Users;
use super::{Access, Action, Authentication, Credentials, Denied, Grant, Identity, Login};
use crate::sync;
use crate::sync::lock;

/// Names and topics of rules that are looked at in a tenth of a microsecond.
const PATTERNS_PER_UNIT: usize = 4;

/// Lets users in, and lets them do what the rules allow. Both can be replaced while it is on duty.
pub struct Guard {
    policy: RwLock<Arc<Policy>>,
    version: AtomicU64,
    effort: AtomicUsize,
    /// Clients that say nothing of who they are may connect, and do what the rules allow everyone.
    admits_anonymous: bool,
    logins: Logins,
    attempts: Mutex<Attempts>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("admits_anonymous", &self.admits_anonymous).finish_non_exhaustive()
    }
}

/// What is in force at one moment.
struct Policy {
    users: Users,
    rules: AccessRules,
}

/// Units of work to judge somebody by the rules.
fn effort(rules: &AccessRules) -> usize {
    1 + rules.patterns() / PATTERNS_PER_UNIT
}

impl Guard {
    /// Starts the thread that checks passwords.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(users: Users, rules: AccessRules, limits: AttemptLimits) -> io::Result<Self> {
        Ok(Self {
            effort: AtomicUsize::new(effort(&rules)),
            policy: RwLock::new(Arc::new(Policy { users, rules })),
            version: AtomicU64::new(0),
            admits_anonymous: false,
            logins: Logins::start()?,
            attempts: Mutex::new(Attempts::new(limits)),
        })
    }

    /// Makes the guard let in everyone who says nothing of who they are. The
    /// rules hold for them as for nobody's clients.
    #[must_use]
    pub fn admitting_anonymous(self) -> Self {
        Self { admits_anonymous: true, ..self }
    }

    /// Puts other users and rules in force, from the next packet on.
    pub fn replace(&self, users: Users, rules: AccessRules) {
        self.effort.store(effort(&rules), Ordering::Relaxed);
        *sync::write(&self.policy) = Arc::new(Policy { users, rules });
        self.version.fetch_add(1, Ordering::Release);
    }

    fn policy(&self) -> Arc<Policy> {
        sync::read(&self.policy).clone()
    }

    async fn admit(&self, credentials: Credentials<'_>, peer: IpAddr) -> Result<Arc<str>, Denied> {
        // Before anything else, also before what is remembered: that would be a way to guess faster.
        let attempt = Attempt { peer, user: self.logins.number_of(credentials.username) };
        lock(&self.attempts).begin(attempt, Instant::now()).map_err(|too_many| match too_many {
            TooMany::OfUser => Denied::TooManyAttempts,
            TooMany::OfAddress => Denied::TooManyAttemptsFromAddress,
        })?;
        let checked = self.check(credentials, peer).await;
        if !matches!(checked, Err(Denied::BadCredentials | Denied::UnknownUser)) {
            lock(&self.attempts).succeeded(attempt, Instant::now());
        }
        checked
    }

    async fn check(&self, credentials: Credentials<'_>, peer: IpAddr) -> Result<Arc<str>, Denied> {
        let Credentials { username, password } = credentials;
        let policy = self.policy();
        let Some((user, stored)) = policy.users.find(username) else {
            if let Some(decoy) = policy.users.decoy(self.logins.number_of(username)) {
                self.logins.pretend(peer, password, decoy).await.map_err(|_| Denied::Busy)?;
            }
            return Err(Denied::UnknownUser);
        };
        match self.logins.check(peer, username, password, stored).await {
            Ok(true) => Ok(user.clone()),
            Ok(false) => Err(Denied::BadCredentials),
            Err(_busy) => Err(Denied::Busy),
        }
    }
}

impl Access for Guard {
    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authentication<'a> {
        Box::pin(async move {
            // An authority has checked who it is. Whether it is one of the users matters only
            // where it says a password.
            if let Some(name) = login.certificate {
                return Ok(Some(name.into()));
            }
            let credentials = match login.credentials {
                Some(credentials) => credentials,
                None if self.admits_anonymous => return Ok(None),
                None => return Err(Denied::NotAuthorized),
            };
            self.admit(credentials, login.peer).await.map(Some)
        })
    }

    fn authorize(&self, who: &Identity, action: Action, topic: &str) -> bool {
        self.policy().rules.allow(who, action, topic)
    }

    fn grant(&self, who: &Identity, filter: &str) -> Grant {
        self.policy().rules.grant(who, filter)
    }

    fn grant_sys(&self, who: &Identity, filter: &str) -> Grant {
        self.grant(who, filter)
    }

    fn effort(&self) -> usize {
        self.effort.load(Ordering::Relaxed)
    }

    fn is_welcome(&self, who: &Identity) -> bool {
        let is_user = |user: &Arc<str>| self.policy().users.find(user).is_some();
        who.is_certified || who.user.as_ref().map_or(self.admits_anonymous, is_user)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
