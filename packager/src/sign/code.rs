//! What signs programs and installers: a key with certificates, and who tells the time.

use std::{fmt, sync::Arc};

use super::Identity;

/// Signs programs and installers for Windows and macOS.
#[derive(Debug, Clone)]
pub struct CodeSigner {
    pub identity: Identity,
    /// Who says when a signature was made. One without that ends with its certificate.
    pub timestamper: Option<Arc<dyn Timestamper>>,
}

impl CodeSigner {
    /// By what its signatures are recognized: the SHA-256 of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.identity.certificate().fingerprint()
    }
}

/// An authority that tells the time of signatures (RFC 3161).
pub trait Timestamper: fmt::Debug + Send + Sync {
    /// Takes a DER-encoded `TimeStampReq`, gives the `TimeStampResp` that the authority answers.
    fn timestamp(
        &self,
        request: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;
}
