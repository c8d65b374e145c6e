//! Reading back metadata of which most was read back before.
//!
//! A reader makes the canonical form of all targets, holds the signatures against it, and looks into
//! each. The canonical form of an object is put together from those of its members, in the order of
//! their names. So it is enough to see that the file is put together like this, that its signatures
//! are good for it as it is, and that a reader accepts what is left of it without the targets that it
//! has accepted before, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sigstore_tuf::{
    Error as TufError, TrustedMetadataSet,
    metadata::{Metadata, Role as _, Signature, Targets},
};
use sigstore_types::SignatureBytes;

use super::VerifyError;

/// Metadata of `targets`, taken apart but not looked into.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    signed: BTreeMap<&'a str, &'a RawValue>,
    signatures: Vec<Signature>,
}

/// Whether a client that has come as far as `trusted`, its snapshot, accepts `bytes` as the metadata
/// of `targets`, if it accepts every target, name and value, that `is_known` holds for.
pub(super) fn check(
    trusted: &TrustedMetadataSet,
    bytes: &[u8],
    is_known: impl Fn(&str, &str) -> bool,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let file: File<'_> = serde_json::from_slice(bytes).map_err(TufError::from)?;
    let fields: BTreeMap<_, _> = file.signed.iter().map(|(name, it)| (*name, it.get())).collect();
    let text = object(&fields);
    let targets = fields.get("targets").copied().unwrap_or_default();
    let listed: BTreeMap<&str, &RawValue> =
        serde_json::from_str(targets).map_err(TufError::from)?;
    let mut listed: BTreeMap<_, _> = listed.iter().map(|(name, it)| (*name, it.get())).collect();
    let is_all_of_it = bytes.strip_suffix(b"}\n").is_some_and(|it| it.ends_with(text.as_bytes()));
    if !is_all_of_it || object(&listed) != targets {
        return Err(mismatch("targets.json is not written in its canonical form"));
    }
    let version = check_pin(trusted, bytes)?;
    check_signatures(trusted, &file.signatures, &text)?;

    listed.retain(|name, value| !is_known(name, value));
    let news = object(&listed);
    let fields = fields
        .into_iter()
        .map(|(name, it)| (name, if name == "targets" { news.as_str() } else { it }));
    let news = object(&fields.collect());
    let read = format!(r#"{{"signatures":[],"signed":{news}}}"#);
    let read = Metadata::<Targets>::from_slice(read.as_bytes())?;
    if read.signed_canonical() != news.as_bytes() || read.signed().version != version {
        return Err(mismatch("targets.json says something else than what was signed"));
    }
    if read.signed().is_expired(now) {
        let (role, expires) = ("targets".to_owned(), read.signed().expires);
        return Err(VerifyError::Expired { role, expires });
    }
    Ok(())
}

/// The version that the snapshot lists, if it lists `bytes`.
fn check_pin(trusted: &TrustedMetadataSet, bytes: &[u8]) -> Result<u64, VerifyError> {
    let pin = trusted.snapshot().and_then(|it| it.meta.get("targets.json"));
    let pin = pin.ok_or_else(|| mismatch("the snapshot does not list targets.json"))?;
    let hash = pin.hashes.as_ref().and_then(|it| it.get("sha256"));
    if pin.length == Some(bytes.len() as u64)
        && hash.is_some_and(|it| *it == hex::encode(Sha256::digest(bytes)))
    {
        Ok(pin.version)
    } else {
        Err(mismatch("targets.json is not the file that the snapshot lists"))
    }
}

/// Whether enough keys of the root signed `text`.
fn check_signatures(
    trusted: &TrustedMetadataSet,
    signatures: &[Signature],
    text: &str,
) -> Result<(), VerifyError> {
    let root = trusted.root();
    let unknown = || TufError::UnknownRole("targets".to_owned());
    let role = root.role("targets").ok_or_else(unknown)?;
    let is_good = |it: &&Signature| {
        let signature = hex::decode(&it.sig).map(SignatureBytes::new);
        let key = root.keys.get(&it.keyid).filter(|_| role.keyids.contains(&it.keyid));
        key.zip(signature.ok()).is_some_and(|(key, it)| key.verify(text.as_bytes(), &it).is_ok())
    };
    let good: BTreeSet<_> = signatures.iter().filter(is_good).map(|it| &it.keyid).collect();
    let (found, threshold) = (good.len(), role.threshold);
    if threshold > 0 && found >= threshold {
        Ok(())
    } else {
        Err(VerifyError::Unsigned { role: "targets".to_owned(), found, threshold })
    }
}

/// The canonical form of an object, from the names and the canonical forms of its members.
fn object(members: &BTreeMap<&str, &str>) -> String {
    let members: Vec<_> = members.iter().map(|(name, it)| format!("\"{name}\":{it}")).collect();
    format!("{{{}}}", members.join(","))
}

fn mismatch(detail: &str) -> VerifyError {
    VerifyError::Mismatch { detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{fs, num::NonZeroU64};

    use camino::Utf8Path;

    use super::{super::Reading, *};
    use crate::{Addition, Component, Edit, Expiries, Founding, Passphrase, Terms, UpdatePlatform};

    /// A repository with one file, as a reader of the first root gets it.
    async fn reading(dir: &Utf8Path, now: Timestamp) -> Reading {
        let passphrase = || Passphrase::new("correct horse".to_owned()).unwrap();
        let founding = Founding {
            root: vec![passphrase()],
            root_threshold: NonZeroU64::MIN,
            targets: passphrase(),
            snapshot: passphrase(),
            timestamp: passphrase(),
            who: "ann".to_owned(),
        };
        let expiries = Expiries::default();
        let made = crate::init(&dir.join("tuf"), &founding, &expiries, now).await;
        let mut editor = made.unwrap();
        let unlock = |name: &str| editor.keys().unlock(name, &passphrase()).unwrap();
        let keys = ["targets", "snapshot", "timestamp"].map(unlock);
        let file = dir.join("orbit");
        fs::write(&file, "orbit").unwrap();
        let edit = Edit::Add(vec![Addition {
            file,
            program: Component::Orbit.into(),
            platform: UpdatePlatform::Linux,
            version: "1.0.0".parse().unwrap(),
            tags: vec!["stable".parse().unwrap()],
            is_compressed: false,
        }]);
        let terms = Terms { keys: &keys, expiries: &expiries, now, who: "ann" };
        editor.apply(&edit, &terms).await.unwrap();
        let read = |name: &str| fs::read(editor.repository_dir().join(name)).unwrap();
        Reading {
            roots: vec![read("1.root.json")],
            timestamp: read("timestamp.json"),
            snapshot: read("2.snapshot.json"),
            targets: Some(read("2.targets.json")),
            delegated: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_is_not_known_is_looked_into_and_all_of_it_must_be_signed() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let reading = reading(Utf8Path::from_path(dir.path()).unwrap(), now).await;
        reading.check(now).unwrap();
        reading.check_news(|_, _| true, now).unwrap();
        reading.check_news(|_, _| false, now).unwrap();
        reading.check_news(|name, _| name.contains("stable"), now).unwrap();

        let trusted = reading.trusted_snapshot(now).unwrap();
        let text = String::from_utf8(reading.targets.clone().unwrap()).unwrap();
        for (before, after) in [
            ("1.0.0", "1.0.1"),
            ("\"length\":5", "\"length\":-5"),
            ("},\"orbit", "}, \"orbit"),
            ("\"version\":2", "\"version\":1"),
        ] {
            let other = text.replace(before, after);
            assert_ne!(other, text);
            let error = check(&trusted, other.as_bytes(), |_, _| true, now).unwrap_err();
            assert!(matches!(error, VerifyError::Mismatch { .. }), "{after}: {error:?}");
        }
        let file: File<'_> = serde_json::from_str(&text).unwrap();
        let error = check_signatures(&trusted, &file.signatures, &text).unwrap_err();
        assert!(matches!(error, VerifyError::Unsigned { found: 0, threshold: 1, .. }), "{error:?}");
    }
}
