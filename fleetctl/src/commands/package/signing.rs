//! With what packages are signed: from flags to keys, tried out before any work.

mod args;
mod command;
mod entitlements;
mod key;
mod programs;
mod timestamps;
mod token;
mod uri;

use std::{fs, path::Path, sync::Arc};

use packager::sign::{
    Certificate, CodeSigner, Identity, IdentityError, Keys, LocalKey, Purpose, SignError, Signer,
    Timestamper,
};
use url::Url;

pub(crate) use self::{
    args::CodeArgs,
    command::Command,
    entitlements::Entitlements,
    key::KeyRef,
    programs::{sign_bundle, sign_program},
    token::Token,
};
use self::{timestamps::Authority, uri::TokenUri};
use super::{
    check::{Check, chain},
    files::unreadable,
    order::Type,
};
use crate::{commands::expiry::now, config::code_passphrase, prompt};

/// Where a key and its certificates are.
struct Source<'a> {
    /// As flags and variables have it: `windows`.
    name: &'static str,
    certificate: Option<&'a Path>,
    key: Option<&'a Path>,
    passphrase: Option<&'a Path>,
    command: Option<&'a Path>,
    /// Certificates and key themselves, from the environment.
    content: Option<&'a str>,
}

impl Check {
    /// The keys that flags name. All of them sign something: so a wrong one is seen at once.
    pub(super) fn code_keys(&mut self, args: &CodeArgs, types: &[Type], keys: &mut Keys) {
        let before = self.problems.len();
        let timestamper = self.timestamper(args);
        let (windows, macos) = (Source::windows(args), Source::macos(args));
        let installer = Source::installer(args);
        for (source, kind) in [(&windows, Type::Msi), (&macos, Type::Pkg), (&installer, Type::Pkg)]
        {
            if source.certificate.is_some() && !types.contains(&kind) {
                let (flag, kind) = (source.flag("certificate"), kind.name());
                self.problems.push(format!("{flag} is for packages of type {kind}"));
            }
        }
        if args.sign_command.is_some() && !args.signs() {
            let problem = "--sign-command needs the certificate of its key: \
                           give --windows-certificate, --macos-certificate or --macos-installer-certificate";
            self.problems.push(problem.to_owned());
        }
        if self.problems.len() > before {
            return;
        }
        keys.windows = self.code_signer(&windows, Purpose::Code, timestamper.clone());
        if types.contains(&Type::Pkg) {
            keys.macos = self.code_signer(&macos, Purpose::MacosProgram, timestamper.clone());
            keys.macos_installer =
                self.code_signer(&installer, Purpose::MacosInstaller, timestamper);
        }
    }

    fn timestamper(&mut self, args: &CodeArgs) -> Option<Arc<dyn Timestamper>> {
        let text = args.timestamp_url.as_deref()?;
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let problem = || format!("--timestamp-url `{text}` is no http:// or https:// address");
        let url = self.ok(url.ok_or_else(problem))?;
        if !args.signs() {
            self.problems.push("--timestamp-url is of no use: nothing is signed".to_owned());
        }
        Some(Arc::new(Authority::new(url)))
    }

    fn code_signer(
        &mut self,
        source: &Source<'_>,
        purpose: Purpose,
        timestamper: Option<Arc<dyn Timestamper>>,
    ) -> Option<CodeSigner> {
        let identity = self.ok(source.identity().transpose()?)?;
        let seconds = u64::try_from(now().as_second()).unwrap_or_default();
        let usable = identity.check(purpose, seconds);
        self.ok(usable.map_err(|error| format!("{}: {error}", source.flag("certificate"))))?;
        Some(CodeSigner { identity, timestamper })
    }
}

impl<'a> Source<'a> {
    fn windows(args: &'a CodeArgs) -> Self {
        Self {
            name: "windows",
            certificate: args.windows_certificate.as_deref(),
            key: args.windows_key.as_deref(),
            passphrase: args.windows_passphrase_file.as_deref(),
            command: args.sign_command.as_deref(),
            content: None,
        }
    }

    fn macos(args: &'a CodeArgs) -> Self {
        Self {
            name: "macos",
            certificate: args.macos_certificate.as_deref(),
            key: args.macos_key.as_deref(),
            passphrase: args.macos_passphrase_file.as_deref(),
            command: args.sign_command.as_deref(),
            content: None,
        }
    }

    fn installer(args: &'a CodeArgs) -> Self {
        Self {
            name: "macos-installer",
            certificate: args.macos_installer_certificate.as_deref(),
            key: args.macos_installer_key.as_deref(),
            passphrase: args.macos_installer_passphrase_file.as_deref(),
            command: args.sign_command.as_deref(),
            content: args.macos_devid_pem_content.as_ref().map(|hidden| hidden.0.as_str()),
        }
    }

    fn flag(&self, what: &str) -> String {
        format!("--{}-{what}", self.name)
    }

    /// None if nothing is to be signed.
    fn identity(&self) -> Result<Option<Identity>, String> {
        let Some(path) = self.certificate else { return self.without_file() };
        if let Some(path) = self.passphrase {
            let flag = self.flag("passphrase-file");
            fs::metadata(path).map_err(|error| unreadable(&flag, path, &error))?;
        }
        let flag = self.flag("certificate");
        let content = fs::read(path).map_err(|error| unreadable(&flag, path, &error))?;
        let told = |error: IdentityError| self.told(&flag, path, &error);
        let named =
            |flag: String| move |problem: String| format!("{flag} cannot be used: {problem}");
        let command = self.command.map(KeyRef::parse_command).transpose();
        let command = command.map_err(named("--sign-command".to_owned()))?;
        let own = self.key.map(KeyRef::parse).transpose().map_err(named(self.flag("key")))?;
        let key = match (own, command) {
            (Some(_), Some(_)) => {
                return Err(format!(
                    "{} and --sign-command contradict each other",
                    self.flag("key")
                ));
            }
            (key, command) => key.or(command),
        };
        match key {
            None => Identity::from_file(&content, &|| self.passphrase()).map_err(told),
            Some(KeyRef::File(key)) => {
                let signer = Arc::new(self.local_key(&key)?);
                with_signer(&content, |_| Ok(signer.clone())).map_err(told)
            }
            Some(KeyRef::Program(program)) => {
                let signer = |certificate: &Certificate| Command::new(&program, certificate);
                with_signer(&content, signer).map_err(told)
            }
            Some(KeyRef::Token(uri)) => {
                let signer = |certificate: &Certificate| self.token(&uri, certificate);
                with_signer(&content, signer).map_err(told)
            }
        }
        .map(Some)
    }

    /// What the environment has, if anything.
    fn without_file(&self) -> Result<Option<Identity>, String> {
        if let Some(content) = self.content {
            let identity = Identity::from_file(content.as_bytes(), &|| self.passphrase());
            let told =
                |error| format!("--macos-devid-pem-content cannot be used: {}", chain(&error));
            return identity.map(Some).map_err(told);
        }
        match self.key.map(|_| "key").or(self.passphrase.map(|_| "passphrase-file")) {
            Some(stray) => {
                let (stray, needed) = (self.flag(stray), self.flag("certificate"));
                Err(format!("{stray} goes together with {needed}"))
            }
            None => Ok(None),
        }
    }

    fn token(
        &self,
        uri: &TokenUri,
        certificate: &Certificate,
    ) -> Result<Arc<Token>, IdentityError> {
        let scheme = certificate.scheme().ok_or(IdentityError::KeyKind)?;
        let token = Token::open(uri, scheme, &|| uri.pin().or_else(|| self.passphrase()));
        let refused = |reason: String| IdentityError::Sign(SignError::Refused(reason.into()));
        token.map(Arc::new).map_err(refused)
    }

    fn local_key(&self, path: &Path) -> Result<LocalKey, String> {
        let flag = self.flag("key");
        let content = fs::read(path).map_err(|error| unreadable(&flag, path, &error))?;
        LocalKey::from_pem(&content, &|| self.passphrase())
            .map_err(|error| self.told(&flag, path, &error))
    }

    fn told(&self, flag: &str, path: &Path, error: &IdentityError) -> String {
        let mut advice = String::new();
        if matches!(error, IdentityError::NoKey) {
            advice = format!("; give {}, or --sign-command", self.flag("key"));
        } else if matches!(error, IdentityError::NoPassphrase) {
            let (variable, _) = code_passphrase(self.name);
            advice = format!("; give {} or {variable}", self.flag("passphrase-file"));
        }
        format!("{flag} `{}` cannot be used: {}{advice}", path.display(), chain(error))
    }

    /// From the file, else from the environment, else from whoever is at the terminal.
    fn passphrase(&self) -> Option<String> {
        if let Some(path) = self.passphrase {
            let text = fs::read_to_string(path).ok()?;
            return Some(text.lines().next().unwrap_or_default().to_owned());
        }
        let (variable, value) = code_passphrase(self.name);
        let asked = || {
            let question = format!("Passphrase of the {} key: ", self.name.replace('-', " "));
            prompt::ask_hidden(&question, &variable).ok()
        };
        value.or_else(asked).map(|hidden| hidden.0.clone())
    }
}

/// The certificates of a file with a key that is elsewhere.
fn with_signer<S: Signer + 'static>(
    certificates: &[u8],
    signer: impl Fn(&Certificate) -> Result<Arc<S>, IdentityError>,
) -> Result<Identity, IdentityError> {
    let certificates = Certificate::all_from_pem(certificates)?;
    let signer = signer(&certificates[0])?;
    Identity::new(certificates, signer)
}
