//! Timestamps: an authority's word on when a signature was there already. Source: RFC 3161.

use aws_lc_rs::rand;
use cms::content_info::ContentInfo;
use der::{
    Any, Decode as _, Encode as _,
    asn1::{Int, OctetString},
};
use x509_tsp::{MessageImprint, TimeStampReq, TspVersion, TstInfo};

use super::{
    Hash, SignError, Timestamper, Trust, VerifyError,
    cms::{Opened, unencodable},
    oid,
};

/// Length of what makes a request unlike any other, in bytes.
const NONCE: usize = 8;

/// The answer, of which the fields after the status are not looked at.
#[derive(der::Sequence)]
struct Response {
    status: Any,
    #[asn1(optional = "true")]
    token: Option<Any>,
}

/// The token of `authority` for `signature`. What it says is checked, who it is is not.
pub(super) fn token(authority: &dyn Timestamper, signature: &[u8]) -> Result<Any, SignError> {
    let nonce = nonce()?;
    let request = request(signature, &nonce).map_err(unencodable)?;
    let answer = authority.timestamp(&request).map_err(SignError::Timestamp)?;
    let bad = |reason: &str| SignError::Timestamp(reason.into());
    let answer = Response::from_der(&answer).map_err(|_| bad("it gave no timestamp's answer"))?;
    let token = answer.token.ok_or_else(|| bad("it refused"))?;
    let der = token.to_der().map_err(unencodable)?;
    let opened = Opened::read(&der).map_err(|_| bad("it gave no timestamp"))?;
    let info = info(&opened, signature).map_err(|_| bad("its timestamp is for something else"))?;
    if info.nonce != Some(nonce) {
        return Err(bad("its timestamp is an answer to somebody else"));
    }
    Ok(token)
}

fn nonce() -> Result<Int, SignError> {
    let mut bytes = [0; NONCE];
    rand::fill(&mut bytes).map_err(|error| SignError::Timestamp(error.into()))?;
    // Positive, and without bytes at its start that say nothing.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Int::new(&bytes).map_err(unencodable)
}

fn request(signature: &[u8], nonce: &Int) -> der::Result<Vec<u8>> {
    let hash = Hash::SHA256;
    TimeStampReq {
        version: TspVersion::V1,
        message_imprint: MessageImprint {
            hash_algorithm: hash.algorithm(),
            hashed_message: OctetString::new(hash.digest(signature))?,
        },
        req_policy: None,
        nonce: Some(nonce.clone()),
        cert_req: true,
        extensions: None,
    }
    .to_der()
}

/// What a token that is signed by somebody says of `signature`.
fn info(token: &Opened, signature: &[u8]) -> Result<TstInfo, VerifyError> {
    let wrong = |_| VerifyError::Timestamp { reason: "it is damaged" };
    let content = token.content.econtent.as_ref();
    let content = content.filter(|_| token.content.econtent_type == oid::TIMESTAMP_INFO);
    let content = content.ok_or(VerifyError::Timestamp { reason: "it is no timestamp" })?;
    let content: OctetString = content.decode_as().map_err(wrong)?;
    token.verify(content.as_bytes())?;
    let info = TstInfo::from_der(content.as_bytes()).map_err(wrong)?;
    let imprint = &info.message_imprint;
    let hash = Hash::of(imprint.hash_algorithm.oid).ok_or(VerifyError::Algorithm)?;
    if imprint.hashed_message.as_bytes() != hash.digest(signature) {
        return Err(VerifyError::Timestamp { reason: "it is for another signature" });
    }
    Ok(info)
}

/// When, in seconds since 1970, the token `der` says that `signature` was there, if its authority
/// is trusted or there is nobody to trust.
pub(super) fn verify(der: &[u8], signature: &[u8], trust: &Trust) -> Result<u64, VerifyError> {
    ContentInfo::from_der(der).map_err(|_| VerifyError::Timestamp { reason: "it is damaged" })?;
    let token = Opened::read(der)?;
    let info = info(&token, signature)?;
    let at = info.gen_time.to_unix_duration().as_secs();
    let content = token.content.econtent.as_ref().map(Any::value).unwrap_or_default();
    let authority = token.verify(content)?;
    if let Some(roots) = &trust.timestamp_roots {
        super::trust::chain(authority, &token.certificates, roots, (oid::TIME_STAMPING, at))?;
    }
    Ok(at)
}
