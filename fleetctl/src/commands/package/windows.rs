//! What does not go with packages of type msi.

use packager::{Compression, compression::Algorithm};

use super::{check::Check, order::Type};

impl Check {
    pub(super) fn windows(&mut self, types: &[Type], compression: Option<Compression>) {
        let unpacks =
            |it: &Compression| matches!(it.algorithm(), Algorithm::Gzip | Algorithm::None);
        if !types.contains(&Type::Msi) {
            return;
        }
        if let Some(compression) = compression.filter(|it| !unpacks(it)) {
            self.problems.push(format!(
                "--compression {compression} does not go with --type msi: Windows unpacks gzip's deflate or none"
            ));
        }
    }
}
