//! TLS for every listener and client: rustls with aws-lc-rs, TLS 1.2 and 1.3 only, certificates from PEM files.
//!
//! Invariants
//! - The cryptography provider is named here; nothing depends on a process-wide default being installed.
//! - A listener that asks for client certificates never lets a connection without one through.
//! - A renewed certificate is taken up while running; a broken renewal is reported and the working one stays.
//!
//! It must never print what a key file holds, not even as part of an error.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio::sync::watch;

/// How often a listener looks whether its files were renewed. Renewals come weeks apart; a `stat` each ten seconds costs
/// nothing and a new certificate is in use before anyone who renewed it looks.
const RENEWAL_CHECK: Duration = Duration::from_secs(10);

/// Where Linux distributions keep the bundle of public roots; the first that exists is read.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The files of a listener: the configuration's `tls = { certificate, key_file, client_ca }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFiles {
    /// PEM: the listener's certificate, then any intermediate ones.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key (PKCS #8, PKCS #1 or SEC 1), not encrypted.
    pub key_file: PathBuf,
    /// PEM: the authorities whose certificates clients must show. Absent: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The files of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFiles {
    /// PEM: the authorities to trust besides the system's. Hospitals mostly have their own.
    pub ca: Option<PathBuf>,
    /// PEM: the certificate to show to a server that asks for one, with its key.
    pub identity: Option<ClientIdentity>,
}

/// A client's own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientIdentity {
    /// PEM: the certificate, then any intermediate ones.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is missing or may not be read.
    #[error("{}: cannot be read ({source}); give the path of a PEM file that the service's user may read", .file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No certificate in the file, or one that is damaged.
    #[error("{}: holds no usable certificate; expected PEM text with BEGIN CERTIFICATE (convert DER with `openssl x509 -inform der`)", .file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
    },
    /// No private key in the file, or an encrypted or damaged one.
    #[error("{}: holds no usable private key; expected unencrypted PEM text with BEGIN PRIVATE KEY (remove a passphrase with `openssl pkey`)", .file.display())]
    Key {
        /// Which file.
        file: PathBuf,
    },
    /// Both files are fine, but do not belong together.
    #[error("{} and {}: not usable together ({reason}); give the key that the certificate was issued for", .certificate.display(), .key_file.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key_file: PathBuf,
        /// What rustls says.
        reason: rustls::Error,
    },
    /// Nobody could be trusted.
    #[error(
        "no certificate authority to trust: the system has no bundle of roots; name the server's authority (`--ca FILE`)"
    )]
    NoRoots,
    /// The provider lacks what TLS 1.2 and 1.3 need: a fault of the build, not of the configuration.
    #[error("TLS cannot be set up in this build: {0}")]
    Provider(rustls::Error),
}

/// A listener's TLS, renewed when its files change.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    current: Mutex<Current>,
    renewals: watch::Sender<Renewals>,
}

/// How often changed files were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renewals {
    /// They were usable, and are in force.
    pub taken_up: u64,
    /// They were not; those before stayed.
    pub refused: u64,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// What the files looked like when they were read into `config`.
    seen: Vec<Stamp>,
    /// Why those that came later cannot be used, as it was last logged.
    complaint: Option<String>,
    checked: Instant,
}

/// Time of change and length: changes whenever a file is replaced or rewritten.
type Stamp = Option<(SystemTime, u64)>;

impl ServerTls {
    /// Reads the files. Errors name the file and what to do.
    pub fn load(files: ServerFiles) -> Result<Self, TlsError> {
        // Before reading, so that a change in between is seen at the next look.
        let seen = files.stamps();
        let config = Arc::new(server_config(&files)?);
        let current = Current { config, seen, complaint: None, checked: Instant::now() };
        Ok(Self { files, current: Mutex::new(current), renewals: watch::channel(Renewals::default()).0 })
    }

    /// Counts what became of renewed files.
    pub fn renewals(&self) -> watch::Receiver<Renewals> {
        self.renewals.subscribe()
    }

    /// The certificate's file.
    pub fn certificate(&self) -> &Path {
        &self.files.certificate
    }

    /// An acceptor with the certificate of now. Cheap; ask for one with every connection.
    pub fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.acceptor_at(Instant::now())
    }

    fn acceptor_at(&self, now: Instant) -> tokio_rustls::TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(current.checked) >= RENEWAL_CHECK {
            current.checked = now;
            let seen = self.files.stamps();
            if seen != current.seen {
                match server_config(&self.files) {
                    Ok(config) => {
                        current.config = Arc::new(config);
                        current.seen = seen;
                        current.complaint = None;
                        self.renewals.send_modify(|renewals| renewals.taken_up += 1);
                        tracing::info!(certificate = %self.files.certificate.display(), "certificate renewed");
                    }
                    // Certificate and key are seldom replaced in the same instant, and rights are often given after: the next look
                    // tries again, whether the files have changed meanwhile or not.
                    Err(error) => {
                        let complaint = Some(error.to_string());
                        if current.complaint != complaint {
                            self.renewals.send_modify(|renewals| renewals.refused += 1);
                            tracing::warn!(%error, "the renewed certificate is not usable yet; the one before stays");
                            current.complaint = complaint;
                        }
                    }
                }
            }
        }
        tokio_rustls::TlsAcceptor::from(Arc::clone(&current.config))
    }
}

impl ServerFiles {
    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [&self.certificate, &self.key_file].into_iter().chain(&self.client_ca).map(stamp).collect()
    }
}

/// The configuration of a TLS client: public roots of the system, the extra authority, the client's own certificate.
pub fn client_config(files: &ClientFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = system_roots();
    if let Some(file) = &files.ca {
        add_roots(&mut roots, file)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { certificate, key_file }) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key_file)?).map_err(|reason| {
                TlsError::Pair { certificate: certificate.clone(), key_file: key_file.clone(), reason }
            })?
        }
    };
    Ok(Arc::new(config))
}

/// The configuration of a client that only ever speaks plain text: it trusts nobody, so that no bundle of roots is needed.
pub fn plain_client_config() -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    Ok(Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
}

fn server_config(files: &ServerFiles) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(client_verifier(file)?),
    };
    builder.with_single_cert(certificates(&files.certificate)?, private_key(&files.key_file)?).map_err(|reason| {
        TlsError::Pair { certificate: files.certificate.clone(), key_file: files.key_file.clone(), reason }
    })
}

fn client_verifier(file: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, file)?;
    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| TlsError::Certificate { file: file.to_owned() })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Every certificate of a file must be usable: an authority that is silently left out is found when a sender is refused.
fn add_roots(roots: &mut RootCertStore, file: &Path) -> Result<(), TlsError> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|_| TlsError::Certificate { file: file.to_owned() })?;
    }
    Ok(())
}

/// The system's bundle is not ours to judge: what rustls cannot use of it is left out.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    if let Some(found) = SYSTEM_ROOTS.iter().find_map(|path| certificates(Path::new(path)).ok()) {
        roots.add_parsable_certificates(found);
    }
    roots
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TlsError::Certificate { file: file.to_owned() })
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // The decoder's error is dropped on purpose: it can quote a line of the file.
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|_| TlsError::Key { file: file.to_owned() })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })
}

/// Certificates for tests, here and in the modules that use TLS.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// An authority that writes what it issues into a directory.
    pub(crate) struct Authority {
        directory: tempfile::TempDir,
        issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    }

    impl Authority {
        pub(crate) fn new() -> Self {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
            Self { directory, issuer: rcgen::Issuer::new(parameters, key) }
        }

        pub(crate) fn file(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// A certificate for 127.0.0.1 and localhost: `NAME.pem` and `NAME.key`.
        pub(crate) fn issue(&self, name: &str) -> ClientIdentity {
            let key = rcgen::KeyPair::generate().unwrap();
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
            let identity = ClientIdentity {
                certificate: self.file(&format!("{name}.pem")),
                key_file: self.file(&format!("{name}.key")),
            };
            std::fs::write(&identity.certificate, certificate.pem()).unwrap();
            std::fs::write(&identity.key_file, key.serialize_pem()).unwrap();
            identity
        }

        pub(crate) fn server(&self, name: &str, client_ca: Option<PathBuf>) -> ServerFiles {
            let ClientIdentity { certificate, key_file } = self.issue(name);
            ServerFiles { certificate, key_file, client_ca }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Authority;
    use super::*;

    /// The certificate that a client is shown.
    async fn shown(server: tokio_rustls::TlsAcceptor, client: &ClientFiles) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = tokio_rustls::TlsConnector::from(client_config(client).unwrap());
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let (client, server) = tokio::join!(connector.connect(name, near), server.accept(far));
        server.unwrap();
        client.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let authority = Authority::new();
        let files = authority.server("server", None);
        let client = ClientFiles { ca: Some(authority.file("ca.pem")), identity: None };
        let server = ServerTls::load(files.clone()).unwrap();
        let later = |seconds| server.acceptor_at(Instant::now() + Duration::from_secs(seconds));
        let first = shown(later(0), &client).await;

        // The certificate alone is replaced: it does not fit the key yet. The length changes too, whatever the clock's step.
        let next = authority.issue("next");
        let renewed = [std::fs::read(&next.certificate).unwrap(), b"\n\n".to_vec()].concat();
        std::fs::write(&files.certificate, renewed).unwrap();
        assert_eq!(shown(later(5), &client).await, first, "too early to look");
        assert_eq!(shown(later(20), &client).await, first);

        let renewed = [std::fs::read(&next.key_file).unwrap(), b"\n\n".to_vec()].concat();
        std::fs::write(&files.key_file, renewed).unwrap();
        assert_ne!(shown(later(40), &client).await, first);
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_read_at_first_is_tried_again() {
        let authority = Authority::new();
        let files = authority.server("server", None);
        let client = ClientFiles { ca: Some(authority.file("ca.pem")), identity: None };
        let server = ServerTls::load(files.clone()).unwrap();
        let later = |seconds| server.acceptor_at(Instant::now() + Duration::from_secs(seconds));
        let first = shown(later(0), &client).await;
        let next = authority.issue("next");
        let replace = |path: &Path, text: &[u8]| {
            std::fs::write(path, text).unwrap();
            // As with rights that are given later, neither time nor length tells the usable file from the unusable one.
            std::fs::File::options().append(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        replace(&files.certificate, &std::fs::read(&next.certificate).unwrap());
        let key = std::fs::read(&next.key_file).unwrap();
        replace(&files.key_file, &vec![b'x'; key.len()]);
        for seconds in [20, 40] {
            assert_eq!(shown(later(seconds), &client).await, first);
        }
        replace(&files.key_file, &key);
        assert_ne!(shown(later(60), &client).await, first);
    }

    #[test]
    fn errors_name_the_file_and_never_quote_it() {
        let authority = Authority::new();
        let good = authority.server("server", None);
        let other = authority.issue("other");
        let check = |files: &ServerFiles, file: &Path, hint: &str| {
            let text = ServerTls::load(files.clone()).unwrap_err().to_string();
            assert!(text.contains(&file.display().to_string()) && text.contains(hint), "{text}");
            assert!(!text.contains("SECRET"), "{text}");
        };
        let missing = authority.file("missing.pem");
        check(&ServerFiles { certificate: missing.clone(), ..good.clone() }, &missing, "cannot be read");
        check(&ServerFiles { certificate: good.key_file.clone(), ..good.clone() }, &good.key_file, "BEGIN CERTIFICATE");
        check(
            &ServerFiles { key_file: good.certificate.clone(), ..good.clone() },
            &good.certificate,
            "BEGIN PRIVATE KEY",
        );
        check(
            &ServerFiles { key_file: other.key_file.clone(), ..good.clone() },
            &other.key_file,
            "not usable together",
        );
        let damaged = authority.file("damaged.key");
        std::fs::write(&damaged, "-----BEGIN SECRET").unwrap();
        check(&ServerFiles { key_file: damaged.clone(), ..good.clone() }, &damaged, "BEGIN PRIVATE KEY");
        check(&ServerFiles { client_ca: Some(damaged.clone()), ..good }, &damaged, "BEGIN CERTIFICATE");
        let client = ClientFiles { ca: Some(missing), identity: None };
        assert!(client_config(&client).unwrap_err().to_string().contains("missing.pem"));
    }
}
