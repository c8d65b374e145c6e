//! How the repository's server is reached.

use std::fmt;

use url::Url;

/// Certificates and proxy for an update server. The default trusts what the system trusts.
#[derive(Clone, Default)]
pub struct Connection {
    /// Certificate authorities to trust besides the system's, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's own certificate chain and private key, as one PEM.
    pub identity_pem: Option<Vec<u8>>,
    /// The proxy for every request (`http`, `https` or `socks5` URL). None: what `HTTPS_PROXY` and its like say.
    pub proxy: Option<Url>,
    /// Accept any server certificate. What is downloaded is verified all the same.
    pub insecure: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("ca", &self.ca_pem.is_some())
            .field("identity", &self.identity_pem.is_some())
            .field("proxy", &self.proxy.is_some())
            .field("insecure", &self.insecure)
            .finish()
    }
}
