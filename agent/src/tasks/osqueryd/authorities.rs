//! Whose word osqueryd takes that somebody is the server. It asks no system, but reads a file: the agent
//! writes one, of the authorities that it goes by itself.

use std::{collections::BTreeSet, fs, mem};

use camino::{Utf8Path, Utf8PathBuf};
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use wire::settings::files;

use crate::{
    complaints::explain,
    durable,
    identity::FileError,
    platform::{self, Readers},
    server::Seal,
};

/// What administrators, and Fleet's packages, put there for osqueryd.
const ADMINISTRATORS: &str = "certs.pem";

/// The file for osqueryd where no certificates are pinned, written anew if there are others than before.
#[must_use]
pub fn provide(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let administrators = root.join(ADMINISTRATORS);
    if administrators.is_file() {
        return Some(administrators);
    }
    let path = root.join(files::OSQUERY_AUTHORITIES);
    match write(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!("could not tell osqueryd the authorities: {}", explain(&error));
            Some(path).filter(|path| path.is_file()).or_else(platform::system_ca_bundle)
        }
    }
}

/// What there is for osqueryd already, the server's own pinned ones first.
#[must_use]
pub fn present(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let names = [files::SERVER_CA, ADMINISTRATORS, files::OSQUERY_AUTHORITIES];
    names.map(|name| root.join(name)).into_iter().find(|path| path.is_file())
}

/// What a running osqueryd has read of authorities, to find out when there are others.
#[derive(Debug)]
pub struct Watch {
    root: Utf8PathBuf,
    /// How the files are that its own is made of, or that stand in its place.
    sources: Seal,
    given: (Option<Utf8PathBuf>, Seal),
}

impl Watch {
    /// For an osqueryd that is about to be started where no certificates are pinned.
    #[must_use]
    pub fn begin(root: &Utf8Path) -> Self {
        // Before they are read: what is replaced meanwhile is news.
        let sources = sources(root);
        Self { root: root.to_owned(), sources, given: given(root) }
    }

    /// Whether osqueryd would read others now. Tells so once, and waits while `certs.pem` is half written.
    pub fn has_changed(&mut self) -> bool {
        let sources = sources(&self.root);
        if sources == self.sources || !is_usable(&self.root.join(ADMINISTRATORS)) {
            return false;
        }
        self.sources = sources;
        let given = given(&self.root);
        mem::replace(&mut self.given, given.clone()) != given
    }
}

fn sources(root: &Utf8Path) -> Seal {
    let system = platform::system_ca_bundle();
    Seal::of([&root.join(ADMINISTRATORS)].into_iter().chain(&system))
}

fn given(root: &Utf8Path) -> (Option<Utf8PathBuf>, Seal) {
    let path = provide(root);
    let seal = Seal::of(&path);
    (path, seal)
}

/// Whether there are certificates in the file at `path` and nothing else, or no such file at all.
fn is_usable(path: &Utf8Path) -> bool {
    let Ok(pem) = fs::read(path) else { return !path.exists() };
    let mut certificates = CertificateDer::pem_slice_iter(&pem).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}

fn write(path: &Utf8Path) -> Result<(), FileError> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!("some of the system's authorities cannot be read: {error}");
    }
    let text = bundle(&system.certs);
    if fs::read(path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(());
    }
    durable::replace(path, text.as_bytes(), Readers::Everyone)
        .map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Mozilla's authorities and those of the system that can be read, in PEM. One that cannot would have
/// osqueryd read none.
fn bundle(system: &[CertificateDer<'_>]) -> String {
    let is_usable = |root: &&CertificateDer<'_>| {
        RootCertStore::empty().add(CertificateDer::from_slice(root.as_ref())).is_ok()
    };
    let system = system.iter().filter(is_usable).map(AsRef::<[u8]>::as_ref);
    let mozillas = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref);
    let all: BTreeSet<&[u8]> = system.chain(mozillas).collect();
    let all: Vec<_> = all.into_iter().map(|root| Pem::new("CERTIFICATE", root)).collect();
    pem::encode_many_config(&all, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn count(bundle: &str) -> usize {
        let roots = CertificateDer::pem_slice_iter(bundle.as_bytes());
        let roots = roots.collect::<Result<Vec<_>, _>>().unwrap();
        RootCertStore::empty().add_parsable_certificates(roots).0
    }

    #[test]
    fn a_system_without_authorities_has_mozillas_and_its_own_come_beside_them() {
        let alone = bundle(&[]);
        let mozillas = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        assert_eq!(count(&alone), mozillas.len());
        assert!(alone.starts_with("-----BEGIN CERTIFICATE-----\n") && !alone.contains('\r'));

        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let senseless = CertificateDer::from_slice(b"no certificate");
        let system = [own.der().clone(), mozillas[0].clone(), senseless];
        let both = bundle(&system);
        assert_eq!(count(&both), mozillas.len() + 1);
        assert!(both.contains(own.pem().trim_end()), "{}", own.pem());
    }

    #[test]
    fn what_administrators_put_there_wins_and_nothing_is_written_twice() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let path = provide(root).unwrap();
        assert_eq!(path, root.join(files::OSQUERY_AUTHORITIES));
        let modified = || fs::metadata(&path).unwrap().modified().unwrap();
        let first = modified();
        assert_eq!((provide(root).as_ref(), modified()), (Some(&path), first));
        let theirs = root.join(ADMINISTRATORS);
        fs::write(&theirs, "").unwrap();
        assert_eq!(provide(root), Some(theirs));
    }

    #[test]
    fn other_authorities_are_news_once_and_never_half_of_them() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let theirs = root.join(ADMINISTRATORS);
        let mut watch = Watch::begin(root);
        assert!(!watch.has_changed());

        let mozillas = bundle(&[]);
        let (half, _) = mozillas.split_at(mozillas.len() - 40);
        for (text, is_news) in [("", false), (half, false), (mozillas.as_str(), true)] {
            fs::write(&theirs, text).unwrap();
            assert_eq!((watch.has_changed(), watch.has_changed()), (is_news, false));
        }
        // The next osqueryd begins with what there is.
        assert!(!Watch::begin(root).has_changed());
        fs::remove_file(&theirs).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
    }
}
