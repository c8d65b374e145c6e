//! Whom to believe that they are the server, and what is shown to it.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::{Certificate, ClientBuilder, Identity};
use serde::{Deserialize, Serialize};

/// What the server's certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that the system trusts, and those that Mozilla does: a system may have none,
    /// or old ones.
    System,
    /// The certificates in this PEM file and no others.
    Pinned(Utf8PathBuf),
    /// Nothing.
    Insecure,
}

/// PEM files with a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    pub certificate: Utf8PathBuf,
    pub key: Utf8PathBuf,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    #[error("could not read `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("`{path}` contains no usable certificate in PEM format")]
    NoCertificate { path: Utf8PathBuf },
    #[error("`{certificate}` and `{key}` are no usable client certificate and key in PEM format")]
    ClientCertificate { certificate: Utf8PathBuf, key: Utf8PathBuf, source: reqwest::Error },
    #[error("Mozilla's certificate authorities cannot be used")]
    Mozilla(#[source] reqwest::Error),
}

impl Trust {
    /// Reads the file that it names, to find out early what would fail later.
    pub(crate) fn check(&self) -> Result<(), TrustError> {
        let Self::Pinned(path) = self else { return Ok(()) };
        // What is in a certificate is only looked at where a client is made of it.
        let client = self.tell(ClientBuilder::new())?.build();
        client.map(drop).map_err(|_| TrustError::NoCertificate { path: path.clone() })
    }

    /// A client that believes nobody else; all files are read.
    pub(crate) fn tell(&self, client: ClientBuilder) -> Result<ClientBuilder, TrustError> {
        Ok(match self {
            Self::System => client.tls_certs_merge(mozillas()?),
            Self::Pinned(path) => client.tls_certs_only(certificates(path)?),
            Self::Insecure => client.tls_danger_accept_invalid_certs(true),
        })
    }
}

impl ClientCertificate {
    pub(crate) fn load(&self) -> Result<Identity, TrustError> {
        let mut pem = read(&self.certificate)?;
        pem.push(b'\n');
        pem.extend(read(&self.key)?);
        Identity::from_pem(&pem).map_err(|source| TrustError::ClientCertificate {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }
}

/// Mozilla's authorities as this version of the agent knows them.
fn mozillas() -> Result<Vec<Certificate>, TrustError> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    roots
        .map(|root| Certificate::from_der(root))
        .collect::<Result<_, _>>()
        .map_err(TrustError::Mozilla)
}

fn certificates(path: &Utf8Path) -> Result<Vec<Certificate>, TrustError> {
    Certificate::from_pem_bundle(&read(path)?)
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TrustError::NoCertificate { path: path.to_owned() })
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, TrustError> {
    fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    };

    use super::*;

    /// The chain that letsencrypt.org showed in 2026, and a moment at which it was valid.
    const PUBLIC: &[u8] = include_bytes!("../tests/data/letsencrypt.org.pem");
    const THEN: Duration = Duration::from_secs(1_785_542_400);

    #[test]
    fn a_public_chain_leads_to_an_authority_that_the_agent_brings() {
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots
            .add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        assert_eq!((added, ignored), (mozillas().unwrap().len(), 0));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(PUBLIC).collect::<Result<_, _>>().unwrap();
        let name = ServerName::try_from("letsencrypt.org").unwrap();
        let then = UnixTime::since_unix_epoch(THEN);
        let verifier = verifier.build().unwrap();
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], then).unwrap();
    }

    #[test]
    fn what_is_no_certificate_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("ca.pem");
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            fs::write(&path, text).unwrap();
            let error = Trust::Pinned(path.clone()).check().unwrap_err();
            assert!(
                matches!(error, TrustError::NoCertificate { path: at } if at == path),
                "{text}"
            );
        }
    }
}
