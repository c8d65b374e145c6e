//! Who is believed: a chain of certificates from a signature's to a root. Source: RFC 5280, §6.
//!
//! The names of policies and constraints on names, which certificates for code do not have, are not
//! understood, and so refused where a certificate insists on them. Whether one has been revoked is not
//! asked: that needs the network.

use der::asn1::ObjectIdentifier;

use super::{Certificate, cms::Opened, oid, timestamp};

/// What signatures are held against.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Authorities of signatures; none: any key will do, and it is not said whose it is.
    pub roots: Option<Vec<Certificate>>,
    /// Authorities of timestamps; none: any.
    pub timestamp_roots: Option<Vec<Certificate>>,
    /// In seconds since 1970: when certificates have to be valid if no timestamp says otherwise.
    pub now: u64,
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Of the key that signed, then its issuer's, and so on, to the root if one was asked for.
    pub chain: Vec<Certificate>,
    /// When a timestamp says that it was there, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// Whether the chain leads to a root that was given.
    pub trusted: bool,
}

/// Why a signature does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    #[error("could not read what is signed")]
    Read(#[source] std::io::Error),
    #[error("it is not signed")]
    NotSigned,
    #[error("the {what} is damaged")]
    Malformed { what: &'static str },
    #[error("it was changed after it was signed")]
    Changed,
    #[error("its programs are signed by different keys, or as different ones")]
    Different,
    #[error("it belongs to a bundle that is not there")]
    Alone,
    #[error("the signature is wrong")]
    Signature,
    #[error("it is signed with an algorithm that is not supported")]
    Algorithm,
    #[error("the timestamp does not hold: {reason}")]
    Timestamp { reason: &'static str },
    #[error("the certificate of {subject} is not trusted: {reason}")]
    Untrusted { subject: String, reason: &'static str },
}

/// Longest chain that is followed.
const MAX_CHAIN: usize = 8;

/// Checks the signature of `message` over `signed`, its timestamp, which is the attribute
/// `timestamp`, and its certificates, which must be for `usage`.
pub(crate) fn verify(
    message: &Opened,
    signed: &[u8],
    (usage, timestamp): (ObjectIdentifier, ObjectIdentifier),
    trust: &Trust,
) -> Result<Seal, VerifyError> {
    let leaf = message.verify(signed)?;
    let token = message.unsigned(timestamp);
    let at = token.map(|token| timestamp::verify(&token, message.signature(), trust));
    let at = match at.transpose() {
        // Apple's authority used SHA-1 for long.
        Err(VerifyError::Algorithm) if trust.timestamp_roots.is_none() => None,
        at => at?,
    };
    // What an authority says that nobody trusts decides nothing: anybody could be one.
    let believed = at.filter(|_| trust.timestamp_roots.is_some());
    let when = believed.unwrap_or(trust.now);
    let known = &message.certificates;
    let (chain, trusted) = match &trust.roots {
        Some(roots) => (chain(leaf, known, roots, (usage, when))?, true),
        None => (super::identity::chain(leaf, known), false),
    };
    Ok(Seal { chain, timestamp: at, trusted })
}

/// The chain from `leaf`, which must be for `usage`, over any of `known` to one of `roots`, all
/// valid at the time `at`.
pub(super) fn chain(
    leaf: &Certificate,
    known: &[Certificate],
    roots: &[Certificate],
    (usage, at): (ObjectIdentifier, u64),
) -> Result<Vec<Certificate>, VerifyError> {
    let refused =
        |it: &Certificate, reason| VerifyError::Untrusted { subject: it.subject(), reason };
    if !leaf.is_for(usage) {
        return Err(refused(leaf, "it is for other purposes"));
    }
    let mut chain = vec![leaf.clone()];
    loop {
        let last = chain.last().expect("it begins with one");
        acceptable(last, at).map_err(|reason| refused(last, reason))?;
        if roots.contains(last) {
            return Ok(chain);
        }
        let below = chain.len() - 1;
        let issuer = roots
            .iter()
            .chain(known)
            .find(|it| !chain.contains(it) && it.is_authority(below) && last.is_signed_by(it));
        let issuer = issuer.filter(|_| chain.len() < MAX_CHAIN);
        let unknown = || refused(last, "nobody who is trusted has signed it");
        let issuer = issuer.ok_or_else(unknown)?.clone();
        chain.push(issuer);
    }
}

fn acceptable(certificate: &Certificate, at: u64) -> Result<(), &'static str> {
    let (from, until) = certificate.validity();
    if at < from {
        return Err("it was not valid yet");
    }
    if at > until {
        return Err("it has expired");
    }
    let known = [oid::BASIC_CONSTRAINTS, oid::KEY_USAGE, oid::EXTENDED_KEY_USAGE];
    let is_known =
        |id: ObjectIdentifier| known.contains(&id) || id.to_string().starts_with(oid::APPLE);
    if certificate.critical().all(|extension| is_known(extension.extn_id)) {
        Ok(())
    } else {
        Err("it has conditions that are not understood")
    }
}
