//! The openssl lines that make what is right.

use std::net::IpAddr;

/// A certificate that a server signs for itself, which its clients can name as their authority too.
pub fn own_certificate(host: &str) -> String {
    format!(
        "`openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN={host} -addext {} -keyout server.key -out server.pem`",
        subject_alt_name(host)
    )
}

/// A server's certificate from an authority.
pub fn signed_certificate(host: &str) -> String {
    format!(
        "`openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 365 -extfile <(echo {}) -out server.pem`",
        subject_alt_name(host)
    )
}

/// A client's certificate from an authority.
pub const CLIENT_CERTIFICATE: &str = "`openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -days 365 \
     -extfile <(echo extendedKeyUsage=clientAuth) -out client.pem`";

/// A key that every TLS stack knows.
pub const KEY: &str = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`";

/// `subjectAltName=DNS:localhost`, or the same for an address.
pub fn subject_alt_name(host: &str) -> String {
    let kind = if host.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!("subjectAltName={kind}:{host}")
}
