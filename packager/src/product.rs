//! The product's own programs as packages and as a container image, with nothing of an organization in them: what
//! administrators install before they make packages of the agent.
//!
//! One tree serves both Debian's and Red Hat's families.

mod command;
mod container;
mod server;

use semver::Version;

pub use command::{Documents, fleetctl};
pub use container::fleet_server_image;
pub use server::fleet_server;

use crate::{
    error::AssembleError,
    package::{Metadata, SourceDate},
    payload::{Os, Program},
    spec::{DEFAULT_MAINTAINER, Publisher},
};

/// One of our programs, about to be packed.
#[derive(Debug, Clone)]
pub struct Release {
    pub version: Version,
    pub program: Program,
    /// The newest date that anything in the package carries.
    pub built_at: SourceDate,
}

/// What a package of ours says of itself beside its version and what is in it.
struct About {
    name: &'static str,
    summary: &'static str,
    description: &'static str,
}

impl Release {
    fn metadata(&self, about: &About) -> Result<Metadata, AssembleError> {
        let platform = self.program.platform;
        if platform.os != Os::Linux {
            return Err(AssembleError::NoLayout { os: platform.os });
        }
        Ok(Metadata {
            name: about.name,
            version: self.version.clone(),
            platform,
            summary: about.summary,
            description: about.description,
            publisher: publisher(),
            license: Metadata::LICENSE,
            conflicts: &[],
            recommends: &["ca-certificates"],
            libraries: self.program.libraries.clone(),
        })
    }
}

fn publisher() -> Publisher {
    let own = Publisher::new(DEFAULT_MAINTAINER.to_owned(), None);
    own.expect("our own name and address are well formed")
}
