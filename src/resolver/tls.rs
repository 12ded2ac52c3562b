//! Certificates and keys, and the handshake with upstreams.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::dns64::{Settings, Tls, Via};

/// ALPN protocol id (RFC 7858 errata, IANA).
const ALPN: &[u8] = b"dot";

fn with_path(path: &Path) -> impl Fn(String) -> io::Error {
    let path = path.display().to_string();
    move |why| io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {why}"))
}

pub(super) fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let failed = with_path(path);
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read = read.map_err(|why| failed(why.to_string()))?;
    if read.is_empty() { Err(failed("contains no certificate".to_owned())) } else { Ok(read) }
}

/// TLS for clients.
///
/// # Errors
/// A file that cannot be read or has the wrong content. The text names it.
pub(super) fn server(tls: &Tls) -> io::Result<Arc<ServerConfig>> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|why| with_path(&tls.key)(why.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|why| with_path(&tls.certificate)(why.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Configuration of TLS to upstreams; `None` if no upstream uses TLS.
///
/// # Errors
/// As [`server`].
pub(crate) fn upstream_config(settings: &Settings) -> io::Result<Option<Arc<ClientConfig>>> {
    let network = &settings.network;
    if !network.via.values().any(|via| matches!(via, Via::Tls(_))) {
        return Ok(None);
    }
    client_config(&network.authorities, Some(ALPN)).map(Some)
}

/// Configuration of a TLS client that trusts the authorities in a file.
///
/// # Errors
/// As [`server`].
pub(crate) fn client_config(authorities: &Path, alpn: Option<&[u8]>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(authorities)?);
    if added == 0 {
        return Err(with_path(authorities)("contains no usable certificate".to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    Ok(Arc::new(config))
}

/// Starts TLS with a server whose certificate must match `name`.
///
/// # Errors
/// The handshake failed, there are no CA certificates, or `name` is neither a name nor an address.
pub(crate) async fn connect(
    authorities: Option<Arc<ClientConfig>>,
    name: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let config = authorities.ok_or_else(|| io::Error::other("no CA certificates"))?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await
}
