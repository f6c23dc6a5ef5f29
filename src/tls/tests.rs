//! Tests: certificates as people make them, through whole handshakes of both versions, with what both sides
//! say about a failure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    Anchors, ClientTrust, ServerTrust, Side, Unusable, authorities, certificates, explained, own,
    private_key, provider,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A certificate's file and its key's.
type Pair = (PathBuf, PathBuf);

fn pair(name: &str) -> Pair {
    (fixture(&format!("{name}.pem")), fixture(&format!("{name}.key")))
}

/// A server's certificate that `signer` made.
fn signed_by(signer: &str) -> Pair {
    (fixture(&format!("of-{signer}.pem")), fixture("server.key"))
}

fn anchors(file: &Path) -> Anchors {
    Anchors::new("ca.pem".to_owned(), certificates(file).unwrap()).unwrap()
}

/// Two sides of a connection.
struct Scene {
    server: Pair,
    /// Whom the server believes, if it asks.
    clients: Option<PathBuf>,
    trusted: PathBuf,
    client: Option<Pair>,
    name: &'static str,
}

impl Scene {
    fn of(server: Pair, trusted: PathBuf) -> Self {
        Self { server, clients: None, trusted, client: None, name: "localhost" }
    }

    fn server_config(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(file) => {
                builder.with_client_cert_verifier(ClientTrust::new(anchors(file), provider()).unwrap())
            }
        };
        builder.with_cert_resolver(Arc::new(owned(&self.server).unwrap()))
    }

    fn client_config(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let trust = ServerTrust::new(anchors(&self.trusted), provider()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let builder = builder.dangerous().with_custom_certificate_verifier(trust);
        match &self.client {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_cert_resolver(Arc::new(owned(pair).unwrap())),
        }
    }

    /// What client and server say after a handshake; nothing where it succeeded.
    fn meet(&self, version: &'static SupportedProtocolVersion) -> [Option<String>; 2] {
        let (server, client) = (self.server_config(version), self.client_config(version));
        let name = ServerName::try_from(self.name).unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (client, server) = runtime.block_on(async {
            let client =
                explained(Side::Dialer, TlsConnector::from(Arc::new(client)).connect(name, near), |cause| {
                    cause
                });
            let server =
                explained(Side::Listener, TlsAcceptor::from(Arc::new(server)).accept(far), |cause| cause);
            tokio::join!(client, server)
        });
        [client.err().map(|(_, why)| why), server.err().map(|(_, why)| why)]
    }

    #[track_caller]
    fn assert_met(&self) {
        for version in [&TLS12, &TLS13] {
            assert_eq!(self.meet(version), [None, None], "{version:?}, {:?}", self.server);
        }
    }

    /// What the client says, the same in both versions.
    #[track_caller]
    fn refused(&self) -> String {
        let [first, second] =
            [&TLS12, &TLS13].map(|version| self.meet(version)[0].clone().expect("it is refused"));
        assert_eq!(first, second);
        first
    }
}

fn owned((certificate, key): &Pair) -> Result<tokio_rustls::rustls::sign::SingleCertAndKey, Unusable> {
    own(certificates(certificate).unwrap(), private_key(key, certificate).unwrap(), certificate, &provider())
}

const STRONG: [&str; 7] =
    ["p256-sha512", "p384-sha512", "p521-sha256", "p521-sha384", "p521-sha512", "rsa-pss-signed", "ed25519"];

#[test]
fn what_openssl_req_x509_makes_is_believed_by_whoever_has_exactly_it() {
    for name in STRONG {
        let own = pair(name);
        Scene::of(own.clone(), own.0.clone()).assert_met();
        // The same for clients.
        let mutual = Scene {
            clients: Some(own.0.clone()),
            client: Some(own.clone()),
            ..Scene::of(own.clone(), own.0)
        };
        mutual.assert_met();
    }
}

#[test]
fn what_an_authority_of_any_of_these_kinds_signed_is_believed() {
    for name in STRONG.into_iter().chain(["v1-root"]) {
        Scene::of(signed_by(name), fixture(&format!("{name}.pem"))).assert_met();
    }
}

#[test]
fn a_certificate_that_is_trusted_itself_needs_its_key_its_name_and_its_time_all_the_same() {
    let own = pair("p256-sha512");
    let refused = Scene { name: "broker.plant", ..Scene::of(own.clone(), own.0) }.refused();
    assert!(refused.contains("is not valid for name \"broker.plant\", only for localhost"), "{refused}");
    assert!(refused.contains("-addext subjectAltName=DNS:broker.plant"), "{refused}");
    let made = Made::new(|params| {
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    });
    let refused = made.scene().refused();
    assert!(
        refused.contains("CN=press") && refused.contains("expired at Jan  1") && refused.contains("renew"),
        "{refused}"
    );
    let made = Made::new(|params| {
        (params.not_before, params.not_after) = (date_time_ymd(4001, 1, 1), date_time_ymd(4002, 1, 1));
    });
    assert!(made.scene().refused().contains("is not valid before Jan  1"));
    let made = Made::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let refused = made.scene().refused();
    assert!(refused.contains("is for clientAuth alone, not for serverAuth"), "{refused}");
    let made = Made::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    made.scene().assert_met();
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    for (server, trusted, parts) in [
        (
            signed_by("p384-sha512"),
            "p256-sha512.pem",
            &["CN=p384-sha512, which is not in ca.pem (there: CN=p256-sha512)"][..],
        ),
        (pair("p384-sha512"), "p256-sha512.pem", &["CN=p384-sha512", "signed itself, and is not in ca.pem"]),
        (
            pair("common-name"),
            "common-name.pem",
            &["no subjectAltName", "\"localhost\"", "-addext subjectAltName=DNS:localhost"],
        ),
        (
            signed_by("secp256k1"),
            "secp256k1.pem",
            &["signed by CN=secp256k1 with an EC key on secp256k1", "openssl genpkey"],
        ),
        (signed_by("rsa-1024"), "rsa-1024.pem", &["with an RSA key of 1024 bits", "openssl genpkey"]),
        (
            signed_by("rsa-pss-key"),
            "rsa-pss-key.pem",
            &["with a key of the kind rsassaPss", "openssl genpkey"],
        ),
    ] {
        let refused = Scene::of(server, fixture(trusted)).refused();
        for part in parts {
            assert!(refused.contains(part), "{refused:?} has no {part:?}");
        }
    }
}

#[test]
fn a_server_hears_of_clients_in_words_too() {
    let server = pair("ed25519");
    let other = pair("p256-sha512");
    let mutual = |client| Scene {
        clients: Some(server.0.clone()),
        client,
        ..Scene::of(server.clone(), server.0.clone())
    };
    for version in [&TLS12, &TLS13] {
        let [_, said] = mutual(Some(other.clone())).meet(version);
        assert!(
            said.as_ref()
                .is_some_and(|said| said.contains("CN=p256-sha512 signed itself, and is not in ca.pem")),
            "{said:?}"
        );
        let [_, said] = mutual(None).meet(version);
        assert!(said.as_ref().is_some_and(|said| said.contains("shows no certificate")), "{said:?}");
        let [_, said] = Scene::of(signed_by("ed25519"), other.0.clone()).meet(version);
        assert!(
            said.as_ref().is_some_and(|said| said.contains("does not trust this listener's certificate")),
            "{said:?}"
        );
    }
    let [said, _] = mutual(Some(other)).meet(&TLS12);
    assert!(said.as_ref().is_some_and(|said| said.contains("the broker refuses")), "{said:?}");
}

#[test]
fn an_authority_with_the_same_name_and_another_key_is_said_to_be_one() {
    let [one, other] = [1, 2].map(|_| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "plant");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    });
    let made = Made::signed(|_| {}, &one);
    made.put("ca.pem", other.pem());
    let refused = Scene::of(made.pair(), made.file("ca.pem")).refused();
    assert!(refused.contains("by CN=plant with another key"), "{refused}");
    // A certificate that an authority signed, and that says to be one itself.
    let made = Made::signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), &one);
    made.put("ca.pem", one.pem());
    let refused = Scene::of(made.pair(), made.file("ca.pem")).refused();
    assert!(refused.contains("CA:TRUE") && refused.contains("only if exactly it is in ca.pem"), "{refused}");
}

/// A certificate for localhost that a test makes.
struct Made {
    directory: tempfile::TempDir,
}

impl Made {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (Self::params(change), KeyPair::generate().unwrap());
        Self::written(&params.self_signed(&key).unwrap().pem(), &key)
    }

    fn signed(change: impl FnOnce(&mut CertificateParams), by: &CertifiedIssuer<'_, KeyPair>) -> Self {
        let (params, key) = (Self::params(change), KeyPair::generate().unwrap());
        Self::written(&params.signed_by(&key, by).unwrap().pem(), &key)
    }

    fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "press");
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        change(&mut params);
        params
    }

    fn written(certificate: &str, key: &KeyPair) -> Self {
        let made = Self { directory: tempfile::tempdir().unwrap() };
        made.put("server.pem", certificate);
        made.put("server.key", key.serialize_pem());
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), content).unwrap();
    }

    fn pair(&self) -> Pair {
        (self.file("server.pem"), self.file("server.key"))
    }

    /// One in which the certificate is trusted itself.
    fn scene(&self) -> Scene {
        Scene::of(self.pair(), self.file("server.pem"))
    }
}

#[test]
fn a_certificate_is_read_in_whatever_form_it_comes() {
    let plain = std::fs::read_to_string(fixture("p256-sha512.pem")).unwrap();
    let expected = certificates(&fixture("p256-sha512.pem")).unwrap();
    let made = Made::new(|_| {});
    for content in [
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{}", plain.replace('\n', "\r\n")),
        format!("Certificate:\n    Data: CN=M\u{fc}ller\n{plain}# and more behind\n"),
        plain.replace("CERTIFICATE", "X509 CERTIFICATE"),
        // Which DER would begin with, too.
        format!("000 is the first of them\n{plain}"),
        format!("{}{plain}", std::fs::read_to_string(fixture("p256-sha512.key")).unwrap()),
    ] {
        made.put("file", &content);
        assert_eq!(certificates(&made.file("file")).unwrap(), expected, "{content}");
    }
    // A remark in Latin-1.
    made.put("file", [b"CN=M\xfcller\n", plain.as_bytes()].concat());
    assert_eq!(certificates(&made.file("file")).unwrap(), expected);
    assert_eq!(certificates(&fixture("pair.der")).unwrap(), expected);
    let mutual = Scene {
        clients: Some(fixture("pair.der")),
        ..Scene::of((fixture("pair.der"), fixture("pair-pkcs8.der")), fixture("pair.der"))
    };
    Scene { client: Some((fixture("p256-sha512.pem"), fixture("pair-sec1.pem"))), ..mutual }.assert_met();
    Scene::of((fixture("rsa-pss-signed.pem"), fixture("pkcs1.pem")), fixture("rsa-pss-signed.pem"))
        .assert_met();
    let key = std::fs::read_to_string(fixture("p256-sha512.key")).unwrap();
    made.put("file", format!("\u{feff}{}", key.replace('\n', "\r\n")));
    assert!(private_key(&made.file("file"), Path::new("server.pem")).is_ok());
}

#[test]
fn what_is_something_else_is_called_what_it_is() {
    let made = Made::new(|_| {});
    let utf_16: Vec<u8> = "\u{feff}-----BEGIN".encode_utf16().flat_map(u16::to_le_bytes).collect();
    made.put("utf-16.pem", utf_16);
    made.put("empty.pem", "");
    made.put("text.pem", "no sections");
    made.put("store.jks", b"\xfe\xed\xfe\xed\0\0\0\x02");
    made.put("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    made.put("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let of = |name: &str| {
        let file = if fixture(name).exists() { fixture(name) } else { made.file(name) };
        certificates(&file).unwrap_err().to_string()
    };
    for (name, parts) in [
        ("trusted.pem", &["TRUSTED CERTIFICATE", "openssl x509 -in "][..]),
        ("request.csr", &["CERTIFICATE REQUEST", "openssl x509 -req"]),
        ("pair.p12", &["PKCS#12", "openssl pkcs12 -in "]),
        ("pair.p7b", &["PKCS7", "openssl pkcs7 -print_certs"]),
        ("pair.p7b.der", &["PKCS#7 in DER", "-inform DER"]),
        ("pair-pkcs8.der", &["a private key in DER", "put the certificate back"]),
        ("p256-sha512.key", &["BEGIN PRIVATE KEY", "the other setting"]),
        ("encrypted.key", &["BEGIN ENCRYPTED PRIVATE KEY"]),
        ("utf-16.pem", &["UTF-16LE", "iconv"]),
        ("empty.pem", &["an empty file"]),
        ("text.pem", &["nor any other section", "openssl req -x509"]),
        ("store.jks", &["Java key store", "keytool"]),
        ("damaged.pem", &["that is not a certificate, number 1 of 1"]),
        ("cut.pem", &["broken PEM"]),
    ] {
        let found = of(name);
        assert!(parts.iter().all(|part| found.contains(part)), "{name}: {found}");
    }
    for (name, parts) in [
        ("encrypted.key", &["an encrypted key", "openssl pkey -in "][..]),
        ("encrypted-traditional.key", &["an encrypted key", "openssl pkey -in "]),
        ("p256-sha512.pem", &["BEGIN CERTIFICATE", "the other setting"]),
        ("pair.p12", &["PKCS#12", "openssl pkcs12"]),
        ("pair.der", &["a certificate in DER", "put the key back that belongs to server.pem"]),
    ] {
        let found = private_key(&fixture(name), Path::new("server.pem")).unwrap_err().to_string();
        assert!(parts.iter().all(|part| found.contains(part)), "{name}: {found}");
    }
}

/// Whoever looks for an authority must not be told how a server's certificate is made, and nobody how to
/// write over the files that are there.
#[test]
fn advice_fits_what_a_file_is_for_and_writes_over_nothing() {
    let made = Made::new(|_| {});
    let (empty, text) = (made.file("empty.pem"), made.file("text.pem"));
    made.put("empty.pem", "");
    made.put("text.pem", "no sections");
    let (request, key) = (fixture("request.csr"), fixture("p256-sha512.key"));
    for file in [&empty, &text, &request, &key, &fixture("pair-pkcs8.der")] {
        let advice = authorities(file).unwrap_err().advice;
        assert_eq!(advice, "name the authority's certificate, such as ca.pem", "{}", file.display());
    }
    for file in [&empty, &text, &request, &fixture("pair.der")] {
        let advice = private_key(file, Path::new("server.pem")).unwrap_err().advice;
        assert_eq!(advice, "put the key back that belongs to server.pem", "{}", file.display());
    }
    for file in [&empty, &text, &request, &key] {
        let advice = certificates(file).unwrap_err().advice;
        for there in ["-keyout server.key", "-out server.pem", "-out ca.pem", "-out FILE"] {
            assert!(!advice.contains(there), "{advice}");
        }
    }
    assert!(certificates(&request).unwrap_err().advice.contains(&format!("-req -in {}", request.display())));
}

#[test]
fn a_pair_of_our_own_that_cannot_be_used_is_refused_in_words() {
    let of =
        |(certificate, key): (&str, &str)| match owned(&(fixture(certificate), fixture(key))).unwrap_err() {
            Unusable::Certificate(found) => format!("certificate: {found}"),
            Unusable::Key(found) => format!("key: {found}"),
        };
    for (pair, parts) in [
        (
            ("p256-sha512.pem", "server.key"),
            &["key: a key that does not belong", "p256-sha512.pem", "openssl pkey -pubout"][..],
        ),
        (("p521-sha512.pem", "p521-sha256.key"), &["key: a key that does not belong"]),
        (("v1.pem", "server.key"), &["certificate: ", "CN=localhost", "X.509 version 1", "-extfile"]),
        (("secp256k1.pem", "secp256k1.key"), &["key: ", "an EC key on secp256k1", "openssl genpkey"]),
        (("ed448.pem", "ed448.key"), &["key: ", "Ed448", "openssl genpkey"]),
        (("rsa-1024.pem", "rsa-1024.key"), &["key: ", "RSA key of 1024 bits"]),
        (("rsa-pss-key.pem", "rsa-pss-key.key"), &["key: ", "rsassaPss"]),
    ] {
        let found = of(pair);
        assert!(parts.iter().all(|part| found.contains(part)), "{pair:?}: {found}");
    }
}
