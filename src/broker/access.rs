//! Who may connect, publish and subscribe: the seam between the front door and whoever decides.

pub mod argon2_hash;
pub mod attempts;
pub mod guard;
pub mod hash_fields;
pub mod login_queue;
pub mod logins;
pub mod password;
pub mod remarks;
pub mod rules;
pub mod users;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::broker::codec::reason::Reason;
use crate::broker::codec::topic::is_about_the_broker;
use crate::broker::limits::refused::Cause;
use crate::mqtt::Sender;

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name.
    Publish,
    /// Subscribe to a topic filter, without the `$share/{group}/` of a shared one.
    Subscribe,
    /// Leave a will that is published to a topic name.
    Will,
}

impl Action {
    /// Every one with its name in rules.
    pub const NAMES: &[(&str, Self)] =
        &[("publish", Self::Publish), ("subscribe", Self::Subscribe), ("will", Self::Will)];
}

/// How much of what a topic filter matches a client may subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// All of it.
    All,
    /// Some of it: see [`WideFilters`](super::WideFilters).
    Some,
    /// None of it.
    None,
}

/// The name and password in a CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The user's name; empty when only a password came.
    pub username: &'a str,
    /// The password; empty when none came.
    pub password: &'a str,
}

/// A client that wants to connect.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// Empty when the broker is to choose one.
    pub client_id: &'a str,
    /// The address it comes from.
    pub peer: IpAddr,
    /// What it says it is; `None` when it says nothing.
    pub credentials: Option<Credentials<'a>>,
    /// The name that its certificate proves, on a listener that takes names from certificates.
    pub certificate: Option<&'a str>,
}

/// A client that was let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its client id.
    pub client_id: Arc<str>,
    /// The user it has proved to be; `None` where nobody has to.
    pub user: Option<Arc<str>>,
    /// Whether a certificate has proved it, so that no password was asked for.
    pub is_certified: bool,
    /// Whether it connects from this machine.
    pub is_local: bool,
}

impl Identity {
    /// Who the client is, as an application sees it.
    pub(crate) fn sender(&self) -> Box<Sender> {
        let user = self.user.as_deref().map(str::to_owned);
        Box::new(Sender { client_id: self.client_id.as_ref().to_owned(), user })
    }
}

/// Why a client was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// Not the user's password.
    BadCredentials,
    /// There is no such user. The client is told what one with a wrong password is.
    UnknownUser,
    /// It said nothing of who it is, or may not connect.
    NotAuthorized,
    /// Too many logins of this user from its address have failed.
    TooManyAttempts,
    /// Too many logins of all users of its address have failed.
    TooManyAttemptsFromAddress,
    /// Too many logins are being checked.
    Busy,
}

impl Denied {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::BadCredentials | Self::UnknownUser => Reason::BAD_CREDENTIALS,
            Self::NotAuthorized => Reason::NOT_AUTHORIZED,
            Self::TooManyAttempts | Self::TooManyAttemptsFromAddress | Self::Busy => Reason::QUOTA_EXCEEDED,
        }
    }

    /// What the cause does not say, for whoever runs the broker alone; empty for nothing.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::BadCredentials => "it is not its user's password",
            Self::UnknownUser => {
                "there is no such user, or not any more; `nearfar passwd FILE USER` adds one"
            }
            _ => "",
        }
    }

    /// The cause for whoever runs the broker.
    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::BadCredentials | Self::UnknownUser => Cause::Credentials,
            Self::NotAuthorized => Cause::Anonymous,
            Self::TooManyAttempts => Cause::FailedLogins,
            Self::TooManyAttemptsFromAddress => Cause::FailedLoginsOfAddress,
            Self::Busy => Cause::LoginsWaiting,
        }
    }
}

/// The answer to a login, once it is there: the user, if it has to be one.
pub type Authentication<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<str>>, Denied>> + Send + 'a>>;

/// Decides what clients may do. Called on the broker's I/O thread, so it must answer without blocking.
pub trait Access: Send + Sync {
    /// Whether a client may connect, and as whom. A name that is not proved is nobody's.
    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authentication<'a> {
        Box::pin(std::future::ready(Ok(login.certificate.map(Arc::from))))
    }

    /// Whether clients can be users without a certificate that says so: a deployment that takes device ids
    /// from users needs that.
    fn has_users(&self) -> bool {
        true
    }

    /// Whether a connected client may do this. The answer is kept while the topic and
    /// [`version`](Self::version) stay.
    fn authorize(&self, who: &Identity, action: Action, topic: &str) -> bool {
        let _ = (who, action, topic);
        true
    }

    /// How much of `filter` a connected client may subscribe to. Where it is
    /// [`Grant::Some`], [`authorize`](Self::authorize) is asked for each topic.
    fn grant(&self, who: &Identity, filter: &str) -> Grant {
        if self.authorize(who, Action::Subscribe, filter) { Grant::All } else { Grant::None }
    }

    /// How much of `filter`, which is about what the broker tells of itself below `$SYS`, a connected
    /// client may read. By default clients of this machine may read all of it, and others nothing.
    fn grant_sys(&self, who: &Identity, filter: &str) -> Grant {
        let _ = filter;
        if who.is_local { Grant::All } else { Grant::None }
    }

    /// About how long an answer takes, in tenths of a microsecond: whoever has many
    /// questions lets others have their turn in between.
    fn effort(&self) -> usize {
        1
    }

    /// Whether a client that was let in before would be let in now.
    fn is_welcome(&self, who: &Identity) -> bool {
        let _ = who;
        true
    }

    /// Changes whenever answers may. Subscriptions and clients are judged again then.
    fn version(&self) -> u64 {
        0
    }
}

/// Whether `access` lets a client have messages of this topic, the broker's own included.
pub fn may_read(access: &dyn Access, who: &Identity, topic: &[u8]) -> bool {
    let Ok(topic) = std::str::from_utf8(topic) else { return false };
    if is_about_the_broker(topic) {
        access.grant_sys(who, topic) == Grant::All
    } else {
        access.authorize(who, Action::Subscribe, topic)
    }
}

/// The default: everyone may do everything, and clients of this machine may read
/// what the broker tells of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Access for AllowAll {
    fn has_users(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_rules_what_the_broker_tells_of_itself_is_for_this_machine() {
        for is_local in [true, false] {
            let who = Identity { is_local, ..Identity::default() };
            assert_eq!(may_read(&AllowAll, &who, b"$SYS/broker/version"), is_local);
            assert!(may_read(&AllowAll, &who, b"plant/7"));
        }
    }
}
