//! Who may connect, publish and subscribe: the seam for users and access rules.

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name (also through a will).
    Publish,
    /// Subscribe to a topic filter, without the `$share/{group}/` of a shared one.
    Subscribe,
}

/// The credentials in a CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The user's name; empty when only a password came.
    pub username: &'a str,
    /// The password; empty when none came.
    pub password: &'a str,
}

/// Decides what clients may do. Called on the broker's I/O thread, so it must answer without blocking.
pub trait Access: Send + Sync {
    /// Whether a client may connect under this id with these credentials.
    fn authenticate(&self, client_id: &str, login: Option<Login<'_>>) -> bool {
        let _ = (client_id, login);
        true
    }

    /// Whether a connected client may do this. The answer for a topic is kept until the client publishes to another.
    fn authorize(&self, client_id: &str, action: Action, topic: &str) -> bool {
        let _ = (client_id, action, topic);
        true
    }
}

/// The default: everyone may do everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Access for AllowAll {}
