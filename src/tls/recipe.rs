//! The openssl lines that make what is right. What they write has names that nobody uses yet: whoever copies
//! a line must not lose a key.

use std::net::IpAddr;

/// A certificate that a server signs for itself, which its clients can name as their authority too.
pub fn own_certificate(host: &str) -> String {
    format!(
        "`openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN={host} -addext {} -keyout new-server.key -out new-server.pem`",
        subject_alt_name(host)
    )
}

/// A server's certificate from an authority.
pub fn signed_certificate(host: &str) -> String {
    signed_request("server.csr", host)
}

/// The same, of the request in `file`.
pub fn signed_request(file: &str, host: &str) -> String {
    format!(
        "`openssl x509 -req -in {file} -CA ca.pem -CAkey ca.key -days 365 -extfile <(echo {}) -out new-server.pem`",
        subject_alt_name(host)
    )
}

/// An authority of one's own.
pub const AUTHORITY: &str = "`openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=NAME \
     -addext keyUsage=critical,keyCertSign,cRLSign -keyout new-ca.key -out new-ca.pem`";

/// A client's certificate from an authority.
pub const CLIENT_CERTIFICATE: &str = "`openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -days 365 \
     -extfile <(echo extendedKeyUsage=clientAuth) -out new-client.pem`";

/// A key that every TLS stack knows.
pub const KEY: &str = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out new.key`";

/// `subjectAltName=DNS:localhost`, or the same for an address.
pub fn subject_alt_name(host: &str) -> String {
    let kind = if host.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!("subjectAltName={kind}:{host}")
}
