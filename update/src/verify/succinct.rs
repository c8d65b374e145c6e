//! Targets that are spread over bins (TAP 15): one entry of `delegations` stands for hundreds of roles,
//! which are called by a prefix and the first bits of the hash of a target's name.
//!
//! `sigstore-tuf` 0.15.1 does not know of them: it keeps the entry as a field of no meaning, and finds
//! no target. Files, signatures and canonical form are its own here too.

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sigstore_tuf::{
    Metadata, TrustedMetadataSet,
    metadata::{MetaFile, RoleKeys, TargetFile, Targets},
};

use super::VerifyError;

/// The bin that would have a target.
#[derive(Debug)]
pub(super) struct Bin {
    /// What the role is called.
    pub(super) role: String,
    keys: RoleKeys,
}

#[derive(Deserialize)]
struct SuccinctRoles {
    bit_length: u32,
    name_prefix: String,
    #[serde(flatten)]
    keys: RoleKeys,
}

impl Bin {
    /// That of `target`, if the targets metadata has bins.
    pub(super) fn of(trusted: &TrustedMetadataSet, target: &str) -> Option<Self> {
        let delegations = trusted.targets_role("targets")?.delegations.as_ref()?;
        let about = delegations.extra.get("succinct_roles")?.clone();
        let SuccinctRoles { bit_length, name_prefix, keys } = serde_json::from_value(about).ok()?;
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let is_name = name_prefix.bytes().all(is_plain) && !name_prefix.starts_with('.');
        if !(1..=32).contains(&bit_length) || !is_name {
            return None;
        }
        let hash = Sha256::digest(target);
        let first = u32::from_be_bytes(hash[..4].try_into().expect("a hash has 32 bytes"));
        let number = first >> (32 - bit_length);
        let digits = usize::try_from(bit_length.div_ceil(4)).expect("at most 8");
        Some(Self { role: format!("{name_prefix}-{number:0digits$x}"), keys })
    }

    /// What the snapshot says of its metadata.
    pub(super) fn listed<'a>(&self, trusted: &'a TrustedMetadataSet) -> Option<&'a MetaFile> {
        trusted.snapshot()?.meta.get(&format!("{}.json", self.role))
    }

    /// What `bytes`, the bin's metadata, say of `target`, once they are found to be what the snapshot
    /// lists, signed and in their time.
    pub(super) fn look_up(
        &self,
        trusted: &TrustedMetadataSet,
        bytes: &[u8],
        (target, now): (&str, Timestamp),
    ) -> Result<Option<TargetFile>, VerifyError> {
        let mismatch = || VerifyError::Mismatch { detail: format!("{}.json", self.role) };
        let listed = self.listed(trusted).ok_or_else(mismatch)?;
        let delegator = trusted.targets_role("targets").ok_or_else(mismatch)?;
        let delegations = delegator.delegations.as_ref().ok_or_else(mismatch)?;
        let hash = listed.hashes.as_ref().and_then(|it| it.get("sha256"));
        let is_hash = |it: &String| *it == hex::encode(Sha256::digest(bytes));
        let is_long = |it: u64| it == bytes.len() as u64;
        if !listed.length.is_none_or(is_long) || !hash.is_none_or(is_hash) {
            return Err(mismatch());
        }
        let metadata = Metadata::<Targets>::from_slice(bytes)?;
        metadata.verify_threshold(&delegations.keys, &self.keys, &self.role)?;
        let signed = metadata.into_signed();
        if signed.version != listed.version {
            return Err(mismatch());
        }
        if signed.expires <= now {
            let (role, expires) = (self.role.clone(), signed.expires);
            return Err(VerifyError::Expired { role, expires });
        }
        Ok(signed.target(target).cloned())
    }
}
