//! TLS settings for both ends: whom a client trusts, what a server shows, and how a server's
//! certificate is replaced while it runs. Moves no bytes and sets nothing process-wide.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificate::{self, Chain};
use super::secret::Secret;

/// The one protocol we speak inside TLS: websockets over HTTP/2 are another story.
const ALPN: &[u8] = b"http/1.1";

/// What a client trusts: the system's roots, and those in `ca_file` besides.
///
/// # Errors
/// When the file cannot be read or holds no certificate, or when there is no root at all.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let system = system_roots();
    if let Ok(certificates) = &system {
        // One that rustls cannot use is the system's business, not a reason to trust nothing.
        roots.add_parsable_certificates(certificates.iter().cloned());
    }
    match ca_file {
        None => drop(system?),
        Some(file) => {
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .with_context(|| format!("unusable CA certificate in {}", file.display()))?;
            }
        }
    }
    trusting(roots)
}

/// For a client that uses no TLS: it trusts nobody, and so needs nothing of the system.
///
/// # Errors
/// When rustls cannot be set up.
pub fn trusting_nobody() -> Result<Arc<ClientConfig>> {
    trusting(RootCertStore::empty())
}

/// The certificates that this system trusts.
///
/// # Errors
/// When there is none, as on a Debian without ca-certificates.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>> {
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        let why = native.errors.first().map(|err| format!(" ({err})")).unwrap_or_default();
        bail!("no trusted root certificate on this host{why}: `apt install ca-certificates`, or set ca_file");
    }
    Ok(native.certs)
}

/// Why not every certificate of this system can be read, where that is so.
pub(super) fn unreadable_roots() -> Option<String> {
    let native = rustls_native_certs::load_native_certs();
    native.errors.first().map(ToString::to_string)
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// A server with one certificate chain and its key, both PEM files.
///
/// # Errors
/// When a file cannot be read or parsed, when the key file is open to everybody, or when
/// certificate and key do not belong together.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    Ok(ReloadingServer::new(certificate, key)?.config())
}

/// A server whose certificate can be replaced without dropping a connection.
#[derive(Debug)]
pub struct ReloadingServer {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

impl ReloadingServer {
    /// Reads the pair for the first time.
    ///
    /// # Errors
    /// As [`server_config`].
    pub fn new(certificate: &Path, key: &Path) -> Result<ReloadingServer> {
        let current = Arc::new(Current(RwLock::new(Arc::new(pair(certificate, key)?))));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        // So that spares resume, of however many hosts: the server's own memory would hold 256 sessions.
        config.ticketer = ring::Ticketer::new().context("make a key for session tickets")?;
        Ok(ReloadingServer {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
            config: Arc::new(config),
        })
    }

    /// One configuration for the server's whole life: handshakes after a reload show the new pair.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// The chain that handshakes show now, for people.
    pub fn chain(&self, now: SystemTime) -> Chain {
        certificate::chain(&self.current.0.read().unwrap_or_else(PoisonError::into_inner).cert, now)
    }

    /// Reads both files again.
    ///
    /// # Errors
    /// As [`server_config`]; the pair that was in use stays in use.
    pub fn reload(&self) -> Result<()> {
        let pair = pair(&self.certificate, &self.key).context("keeping the old certificate")?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        Ok(())
    }
}

/// The pair that handshakes show now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey> {
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(chain, private, &provider()).with_context(|| {
        format!("certificate {} and key {} do not work together", certificate.display(), key.display())
    })
}

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read certificate {}", file.display()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot parse certificate {}", file.display()))?;
    if found.is_empty() {
        bail!("no certificate in {}", file.display());
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let path = file.to_str().with_context(|| format!("the name {} is not UTF-8", file.display()))?;
    let pem = Secret::read(path)?;
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
        .with_context(|| format!("no private key in {path}"))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    struct Pair {
        certificate: PathBuf,
        key: PathBuf,
    }

    /// A self-signed certificate for `localhost`.
    fn make(dir: &Path, name: &str) -> Pair {
        let pair =
            Pair { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&pair.key)
            .arg("-out")
            .arg(&pair.certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).unwrap();
        pair
    }

    /// Whether a client that trusts only `trusted` besides the system comes through, and its ALPN.
    async fn handshake(server: Arc<ServerConfig>, trusted: &Path) -> std::io::Result<Option<Vec<u8>>> {
        let connector = TlsConnector::from(client_config(Some(trusted)).unwrap());
        let (near, far) = tokio::io::duplex(4096);
        let name = ServerName::try_from("localhost").unwrap();
        let (client, _server) =
            tokio::join!(connector.connect(name, near), TlsAcceptor::from(server).accept(far));
        Ok(client?.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }

    #[tokio::test]
    async fn a_private_ca_is_trusted_and_http_1_1_agreed_on() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (make(dir.path(), "ours"), make(dir.path(), "other"));
        let server = server_config(&ours.certificate, &ours.key).unwrap();
        assert_eq!(handshake(server.clone(), &ours.certificate).await.unwrap().as_deref(), Some(ALPN));
        assert!(handshake(server, &other.certificate).await.is_err());
    }

    #[tokio::test]
    async fn the_second_connection_of_a_client_resumes_also_after_many_others() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let dir = tempfile::tempdir().unwrap();
        let pair = make(dir.path(), "ours");
        let server = server_config(&pair.certificate, &pair.key).unwrap();
        let dial = async |client: Arc<ClientConfig>| {
            let (near, far) = tokio::io::duplex(16 * 1024);
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(client);
            let (client, served) =
                tokio::join!(connector.connect(name, near), TlsAcceptor::from(server.clone()).accept(far));
            let (mut client, mut served) = (client.unwrap(), served.unwrap());
            // Tickets come behind the handshake.
            served.write_all(&[1]).await.unwrap();
            served.flush().await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
            client.get_ref().1.handshake_kind().unwrap()
        };
        let ours = client_config(Some(&pair.certificate)).unwrap();
        assert_eq!(dial(ours.clone()).await, rustls::HandshakeKind::Full);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&pair.certificate).unwrap()).unwrap();
        let other = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        for _ in 0..300 {
            let mut other = other.clone();
            other.resumption = rustls::client::Resumption::disabled();
            dial(Arc::new(other)).await;
        }
        assert_eq!(dial(ours).await, rustls::HandshakeKind::Resumed);
    }

    #[tokio::test]
    async fn a_reload_shows_the_new_pair_and_a_bad_one_keeps_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let (live, next) = (make(dir.path(), "live"), make(dir.path(), "next"));
        let old = dir.path().join("old.crt");
        fs::copy(&live.certificate, &old).unwrap();
        let server = ReloadingServer::new(&live.certificate, &live.key).unwrap();
        let config = server.config();

        fs::copy(&next.certificate, &live.certificate).unwrap();
        let err = format!("{:#}", server.reload().unwrap_err());
        assert!(err.starts_with("keeping the old certificate: certificate "), "{err}");
        assert!(
            err.contains("live.crt and key ") && err.contains("live.key do not work together: "),
            "{err}"
        );
        handshake(config.clone(), &old).await.unwrap();

        fs::copy(&next.key, &live.key).unwrap();
        server.reload().unwrap();
        handshake(config.clone(), &next.certificate).await.unwrap();
        assert!(handshake(config, &old).await.is_err());
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let pair = make(dir.path(), "a");
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "not a certificate\n").unwrap();
        let refusal =
            |certificate: &Path, key: &Path| format!("{:#}", server_config(certificate, key).unwrap_err());
        assert_eq!(refusal(&empty, &pair.key), format!("no certificate in {}", empty.display()));
        let err = refusal(&dir.path().join("none"), &pair.key);
        assert!(err.starts_with("cannot read certificate ") && err.contains("/none: "), "{err}");
        assert!(refusal(&pair.certificate, &empty).contains("empty.pem is open to every user"));
        fs::set_permissions(&empty, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(refusal(&pair.certificate, &empty).starts_with("no private key in "));
        let err = format!("{:#}", client_config(Some(&empty)).unwrap_err());
        assert_eq!(err, format!("no certificate in {}", empty.display()));
        assert!(client_config(Some(&dir.path().join("none"))).is_err());
    }
}
