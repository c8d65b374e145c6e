//! Contents of the files that flags of `fleetctl package` name.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use bytes::Bytes;
use rustls::{crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use update::repository::check_root;

use super::{
    args::PackageArgs,
    check::{Check, chain},
};

/// Contents of the files that flags name.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) fleet_certificate: Option<Bytes>,
    pub(super) client: Pair,
    pub(super) update_certificate: Option<Bytes>,
    pub(super) update_client: Pair,
    pub(super) update_root: Option<Bytes>,
    pub(super) osquery_flags: Option<Bytes>,
}

impl Files {
    /// The repository is on the server itself: what is good for one is good for the other.
    fn reached_alike(mut self) -> Self {
        self.update_certificate =
            self.update_certificate.or_else(|| self.fleet_certificate.clone());
        if self.update_client.certificate.is_none() {
            self.update_client = self.client.clone();
        }
        self
    }
}

/// A certificate and its key.
#[derive(Debug, Clone, Default)]
pub(super) struct Pair {
    pub(super) certificate: Option<Bytes>,
    pub(super) key: Option<Bytes>,
}

impl Check {
    /// A certificate whose file cannot be read contradicts --insecure all the same.
    fn authority(&mut self, flag: &str, path: Option<&Path>, insecure: bool) -> Option<Bytes> {
        let pem = self.file(flag, path);
        if insecure && path.is_some() && pem.is_none() {
            self.problems.push(format!("{flag} and --insecure contradict each other"));
        }
        pem
    }

    fn file(&mut self, flag: &str, path: Option<&Path>) -> Option<Bytes> {
        let path = path?;
        let read = fs::read(path);
        self.ok(read.map(Bytes::from).map_err(|error| unreadable(flag, path, &error)))
    }

    pub(super) fn files(&mut self, args: &PackageArgs) -> Files {
        let (server, update) = (&args.server, &args.update);
        let files = Files {
            fleet_certificate: self.authority(
                "--fleet-certificate",
                server.fleet_certificate.as_deref(),
                server.insecure,
            ),
            client: self.pair(
                ("--fleet-tls-client-certificate", server.fleet_tls_client_certificate.as_deref()),
                ("--fleet-tls-client-key", server.fleet_tls_client_key.as_deref()),
            ),
            update_certificate: self.authority(
                "--update-tls-certificate",
                update.update_tls_certificate.as_deref(),
                server.insecure,
            ),
            update_client: self.pair(
                (
                    "--update-tls-client-certificate",
                    update.update_tls_client_certificate.as_deref(),
                ),
                ("--update-tls-client-key", update.update_tls_client_key.as_deref()),
            ),
            update_root: self.root(update.update_roots.as_deref()),
            osquery_flags: self.file("--osquery-flagfile", args.agent.osquery_flagfile.as_deref()),
        };
        if update.of_the_server { files.reached_alike() } else { files }
    }

    /// Both files, or neither where one cannot be read: that has been said then.
    fn pair(&mut self, certificate: (&str, Option<&Path>), key: (&str, Option<&Path>)) -> Pair {
        let before = self.problems.len();
        let pair = Pair {
            certificate: self.file(certificate.0, certificate.1),
            key: self.file(key.0, key.1),
        };
        if self.problems.len() > before {
            return Pair::default();
        }
        if let (Some(chain), Some(private)) = (&pair.certificate, &pair.key)
            && !belong_together(chain, private)
        {
            self.problems.push(format!("{} does not belong to {}", key.0, certificate.0));
        }
        pair
    }

    /// Fleet takes the JSON itself; a file's name is easier to give.
    fn root(&mut self, value: Option<&str>) -> Option<Bytes> {
        let value = value?;
        let flag = "--update-roots";
        let root = if value.trim_start().starts_with('{') {
            Bytes::copy_from_slice(value.as_bytes())
        } else {
            self.file(flag, Some(Path::new(value)))?
        };
        let checked = check_root(&root);
        self.ok(checked.map_err(|error| format!("{flag} cannot be trusted: {}", chain(&error))))?;
        Some(root)
    }
}

impl Pair {
    /// Chain and key as one PEM.
    pub(super) fn joined(&self) -> Option<Vec<u8>> {
        let (certificate, key) = (self.certificate.as_ref()?, self.key.as_ref()?);
        Some([certificate, b"\n".as_slice(), key].concat())
    }
}

/// Whether the key is that of the chain's first certificate. What is no PEM is not for here.
fn belong_together(chain: &[u8], key: &[u8]) -> bool {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(key)) else { return true };
    if chain.is_empty() {
        return true;
    }
    let Ok(key) = any_supported_type(&key) else { return false };
    CertifiedKey::new(chain, key).keys_match().is_ok()
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().take(64 * 1024).read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}

pub(crate) fn unreadable(flag: &str, path: &Path, error: &io::Error) -> String {
    format!("{flag} `{}` cannot be read: {error}", path.display())
}
