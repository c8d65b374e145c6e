//! For Macs: a configuration profile and the manifest of an installation, as Apple's schema has them
//! (github.com/apple/device-management: `TopLevel`, `com.apple.servicemanagement`, `ManifestURL`).

use std::{fs::File, io::Read as _, path::Path};

use anyhow::Context as _;
use plist::{Dictionary, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Document, Enrollment, Package};

/// The domain that the agent reads its configuration from, which is Fleet's.
const DOMAIN: &str = "com.fleetdm.fleetd.config";

/// What launchd calls the agent.
const DAEMON: &str = "com.fleetdm.orbit";

/// Bytes of the package that one digest in the manifest is of.
const PIECE: u64 = 10 << 20;

/// The manifest of `package`, which lies at `path`, and a profile.
pub(super) fn documents(
    package: &Package<'_>,
    path: &Path,
    enrollment: Option<&Enrollment>,
) -> anyhow::Result<Vec<Document>> {
    let profile = Document {
        name: "fleetd.mobileconfig",
        purpose: "configuration profile",
        text: written(profile(package, enrollment))?,
        secret: enrollment.is_some(),
    };
    let manifest = Document {
        name: "manifest.plist",
        purpose: "InstallEnterpriseApplication",
        text: written(manifest(package, path)?)?,
        secret: false,
    };
    Ok(vec![profile, manifest])
}

/// Keeps the daemon from being switched off by users, and tells server and secret if there are any.
fn profile(package: &Package<'_>, enrollment: Option<&Enrollment>) -> Value {
    let mut payloads = Vec::new();
    if let Some(Enrollment { url, secret }) = enrollment {
        let mut payload = payload(DOMAIN, DOMAIN, "Server of the fleetd agent");
        payload.insert("FleetURL".into(), url.as_str().into());
        payload.insert("EnrollSecret".into(), secret.expose().into());
        payloads.push(Value::Dictionary(payload));
    }
    let kind = "com.apple.servicemanagement";
    let mut managed = payload(kind, &format!("{DAEMON}.{kind}"), "The fleetd agent runs always");
    let rule = [
        ("RuleType", Value::from("Label")),
        ("RuleValue", DAEMON.into()),
        ("Comment", "The fleetd agent".into()),
    ];
    managed.insert("Rules".into(), Value::Array(vec![dictionary(rule)]));
    payloads.push(Value::Dictionary(managed));

    let mut profile = payload("Configuration", &format!("{DAEMON}.profile"), "fleetd");
    profile.insert("PayloadOrganization".into(), package.organization.into());
    profile.insert("PayloadScope".into(), "System".into());
    profile.insert("PayloadContent".into(), Value::Array(payloads));
    Value::Dictionary(profile)
}

/// What every payload has. Its UUID follows from its identifier, so that a profile which is made again
/// replaces the one before.
fn payload(kind: &str, identifier: &str, name: &str) -> Dictionary {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(identifier)[..16]);
    let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
    let pairs = [
        ("PayloadType", Value::from(kind)),
        ("PayloadVersion", 1.into()),
        ("PayloadIdentifier", identifier.into()),
        ("PayloadUUID", upper(uuid).into()),
        ("PayloadDisplayName", name.into()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn upper(uuid: Uuid) -> String {
    uuid.hyphenated().to_string().to_uppercase()
}

fn manifest(package: &Package<'_>, path: &Path) -> anyhow::Result<Value> {
    let mut digests = Vec::new();
    in_pieces(path, |piece| {
        digests.push(Value::from(hex::encode(Sha256::digest(piece))));
    })?;
    let asset = dictionary([
        ("kind", Value::from("software-package")),
        ("url", package.url.as_str().into()),
        ("sha256-size", PIECE.into()),
        ("sha256s", Value::Array(digests)),
    ]);
    let says = |name| Value::from(package.contents.says(name));
    let metadata = dictionary([
        ("kind", Value::from("software")),
        ("bundle-identifier", says("component")),
        ("bundle-version", says("version")),
        ("title", says("name")),
    ]);
    let item = dictionary([("assets", Value::Array(vec![asset])), ("metadata", metadata)]);
    Ok(dictionary([("items", Value::Array(vec![item]))]))
}

/// Gives the file at `path` to `each` in pieces of [`PIECE`] bytes, the last of fewer.
fn in_pieces(path: &Path, mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let problem = || format!("could not read `{}`", path.display());
    let mut file = File::open(path).with_context(problem)?;
    let mut piece = Vec::new();
    loop {
        piece.clear();
        (&mut file).take(PIECE).read_to_end(&mut piece).with_context(problem)?;
        if piece.is_empty() {
            return Ok(());
        }
        each(&piece);
    }
}

fn dictionary<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Dictionary(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn written(value: Value) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    value.to_writer_xml(&mut text).context("could not write a property list")?;
    text.push(b'\n');
    Ok(text)
}
