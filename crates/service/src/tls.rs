//! TLS settings of clients and servers. Moves no bytes, and sets nothing process-wide.

mod client;
mod explain;
mod pem;
mod provider;
mod server;
mod verifier;

pub use client::{client_config, system_roots, trusting_none};
pub use explain::certificate_error;
pub use server::ReloadingServer;
pub use verifier::is_ca_as_server;

pub(crate) use client::unreadable_roots;
pub(crate) use pem::certificates;
pub(crate) use provider::provider;
pub(crate) use verifier::{CertificateCheck, Verifier};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use anyhow::Result;
    use rcgen::DnType;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::provider::{ALPN, provider};
    use super::*;
    use crate::testing::certificate;

    struct Pair {
        certificate: PathBuf,
        key: PathBuf,
    }

    /// A self-signed certificate for `localhost`.
    fn make(dir: &Path, name: &str) -> Pair {
        let pair =
            Pair { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
        let made = certificate(&[(DnType::CommonName, "localhost")], 2);
        fs::write(&pair.certificate, made.certificate).unwrap();
        fs::write(&pair.key, made.key).unwrap();
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).unwrap();
        pair
    }

    fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
        Ok(ReloadingServer::new(certificate, key)?.config())
    }

    /// The ALPN of a client that trusts `trusted` and the system's roots, if its handshake succeeds.
    async fn handshake(server: Arc<ServerConfig>, trusted: &Path) -> std::io::Result<Option<Vec<u8>>> {
        let connector = TlsConnector::from(client_config(Some(trusted)).unwrap());
        let (near, far) = tokio::io::duplex(4096);
        let name = ServerName::try_from("localhost").unwrap();
        let (client, _server) =
            tokio::join!(connector.connect(name, near), TlsAcceptor::from(server).accept(far));
        Ok(client?.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }

    #[tokio::test]
    async fn a_private_ca_is_trusted_and_http_1_1_is_negotiated() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (make(dir.path(), "ours"), make(dir.path(), "other"));
        let server = server_config(&ours.certificate, &ours.key).unwrap();
        assert_eq!(handshake(server.clone(), &ours.certificate).await.unwrap().as_deref(), Some(ALPN));
        assert!(handshake(server, &other.certificate).await.is_err());
        // No trusted certificate has this one's subject.
        let unknown = certificate(&[(DnType::CommonName, "of no authority here")], 2);
        fs::write(&ours.certificate, unknown.certificate).unwrap();
        fs::write(&ours.key, unknown.key).unwrap();
        let server = server_config(&ours.certificate, &ours.key).unwrap();
        let error = handshake(server, &other.certificate).await.unwrap_err();
        let error: &rustls::Error = error.get_ref().unwrap().downcast_ref().unwrap();
        // People get names, and callers still find rustls' own variant.
        assert!(error.to_string().contains("is self-signed and not trusted here"), "{error}");
        assert_eq!(certificate_error(error), Some(&CertificateError::UnknownIssuer));
    }

    #[tokio::test]
    async fn the_server_chooses_the_cipher_whatever_order_a_client_has() {
        let dir = tempfile::tempdir().unwrap();
        let pair = make(dir.path(), "ours");
        let server = server_config(&pair.certificate, &pair.key).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut reversed = ring::default_provider();
            reversed.cipher_suites.reverse();
            let mut chosen = vec![];
            for provider in [ring::default_provider(), reversed] {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(&pair.certificate).unwrap()).unwrap();
                let client = ClientConfig::builder_with_provider(Arc::new(provider))
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let (near, far) = tokio::io::duplex(16 * 1024);
                let connector = TlsConnector::from(Arc::new(client));
                let (client, _served) = tokio::join!(
                    connector.connect(name.clone(), near),
                    TlsAcceptor::from(server.clone()).accept(far)
                );
                chosen.push(client.unwrap().get_ref().1.negotiated_cipher_suite().unwrap().suite());
            }
            assert_eq!(chosen[0], chosen[1]);
        }
    }

    #[tokio::test]
    async fn the_second_connection_of_a_client_resumes_even_after_many_others() {
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
            // Tickets come after the handshake.
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
    async fn a_reload_uses_the_new_pair_and_a_bad_one_keeps_the_old() {
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
