//! Whether a password is known from a breach: by a file of SHA-1 digests, or by a service that is asked
//! for the digests which begin alike (k-anonymity), so that it learns five of forty characters and no
//! more. Off unless it is configured.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use camino::Utf8PathBuf;
use url::Url;
use wire::api::{FieldError, Hidden};

use super::{Fleet, errors::Busy, password_rules::normal};
use crate::config::{BreachList, OnFailure};

/// How many characters of a digest a service is told.
const PREFIX: usize = 5;

/// How many a digest has.
const DIGEST: usize = 40;

/// The longest line of a file: a digest, a colon, a number, and then some.
const MAX_LINE: u64 = 128;

/// The longest answer of a service, in bytes. One with padding has some 100 kB.
const MAX_ANSWER: usize = 4 << 20;

/// What knows breached passwords.
#[derive(Debug)]
pub(super) struct Breaches {
    file: Option<Arc<File>>,
    service: Option<Service>,
    on_failure: OnFailure,
}

#[derive(Debug)]
struct Service {
    client: reqwest::Client,
    url: Url,
}

/// Why breached passwords cannot be looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BreachListError {
    #[error("could not open `{path}`")]
    Open { path: Utf8PathBuf, source: io::Error },
    #[error("could not set up HTTP")]
    Client(#[source] reqwest::Error),
}

/// Why it is not known whether a password was breached.
#[derive(Debug, thiserror::Error)]
enum LookUpError {
    #[error("could not read the list of breached passwords")]
    Read(#[source] io::Error),
    #[error("could not ask the service that knows breached passwords")]
    Ask(#[source] reqwest::Error),
    #[error("the service that knows breached passwords answers with more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("the service that knows breached passwords does not answer with digests")]
    NoDigests,
    #[error("the thread that reads the list of breached passwords ended")]
    Thread,
}

impl Breaches {
    /// Opens the file and prepares to ask the service, as far as they are configured.
    pub(super) fn open(config: &BreachList) -> Result<Self, BreachListError> {
        let open = |path: &Utf8PathBuf| {
            let opened = File::open(path);
            opened.map_err(|source| BreachListError::Open { path: path.clone(), source })
        };
        let file = config.file.as_ref().map(open).transpose()?.map(Arc::new);
        let service = |url: &Url| {
            let client = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(config.timeout.as_duration())
                .user_agent(format!("fleet-server/{}", wire::VERSION))
                .build()
                .map_err(BreachListError::Client)?;
            Ok(Service { client, url: url.clone() })
        };
        let service = config.url.as_ref().map(service).transpose()?;
        Ok(Self { file, service, on_failure: config.on_failure })
    }

    /// Whether `password` is known. Where that cannot be found out, the configuration says whether it
    /// counts as not known.
    async fn know(&self, password: &Hidden) -> Result<bool, Busy> {
        let digest = digest_of(password);
        match self.look_up(&digest).await {
            Ok(known) => Ok(known),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
                match self.on_failure {
                    OnFailure::Allow => Ok(false),
                    OnFailure::Refuse => Err(Busy),
                }
            }
        }
    }

    async fn look_up(&self, digest: &str) -> Result<bool, LookUpError> {
        if let Some(file) = self.file.clone() {
            let digest = digest.to_owned();
            let found = tokio::task::spawn_blocking(move || holds(&file, &digest)).await;
            if found.map_err(|_| LookUpError::Thread)?.map_err(LookUpError::Read)? {
                return Ok(true);
            }
        }
        match &self.service {
            Some(service) => service.knows(digest).await,
            None => Ok(false),
        }
    }
}

impl Service {
    /// Asks for all digests with the same beginning, with padding, so that the length of the answer
    /// does not tell how many there are.
    async fn knows(&self, digest: &str) -> Result<bool, LookUpError> {
        let (prefix, rest) = digest.split_at(PREFIX);
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{prefix}", self.url.path().trim_end_matches('/')));
        // The address would tell logs the beginning of the digest.
        let ask = |error: reqwest::Error| LookUpError::Ask(error.without_url());
        let sent = self.client.get(url).header("add-padding", "true").send().await;
        let mut reply = sent.and_then(reqwest::Response::error_for_status).map_err(ask)?;
        if !reply.status().is_success() {
            return Err(LookUpError::NoDigests);
        }
        let mut answer = Vec::new();
        while let Some(part) = reply.chunk().await.map_err(ask)? {
            if answer.len() + part.len() > MAX_ANSWER {
                return Err(LookUpError::TooLong);
            }
            answer.extend_from_slice(&part);
        }
        let answer = str::from_utf8(&answer).map_err(|_| LookUpError::NoDigests)?;
        let mut known = false;
        for line in answer.lines().filter(|line| !line.is_empty()) {
            let (suffix, count) = entry(line, DIGEST - PREFIX).ok_or(LookUpError::NoDigests)?;
            known |= suffix.eq_ignore_ascii_case(rest) && count > 0;
        }
        Ok(known)
    }
}

/// `DIGEST:COUNT`; a line without a count stands for itself, and padding counts zero.
fn entry(line: &str, length: usize) -> Option<(&str, u64)> {
    let (digest, count) = line.trim_end().split_once(':').unwrap_or((line.trim_end(), "1"));
    let plain = digest.len() == length && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((digest, count.trim().parse().ok()?)).filter(|_| plain)
}

/// SHA-1 in hexadecimal and upper case, as lists of breached passwords have it.
fn digest_of(password: &Hidden) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, normal(&password.0).as_bytes());
    hex::encode_upper(digest.as_ref())
}

/// Whether a file with a line for each digest, sorted, has this one: it is halved until a line is left,
/// so that one of 40 GB takes as long as 40 reads.
fn holds(file: &File, digest: &str) -> io::Result<bool> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let (line, begin, end) = line_at(file, middle)?;
        let found = entry(&line, DIGEST);
        let (known, count) = found.ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidData, "it has lines that are no SHA-1 digests")
        })?;
        match known.to_ascii_uppercase().as_str().cmp(digest) {
            std::cmp::Ordering::Equal => return Ok(count > 0),
            std::cmp::Ordering::Less => low = end,
            std::cmp::Ordering::Greater => high = begin,
        }
    }
    Ok(false)
}

/// The line around `at`, where it begins, and where the next one does.
fn line_at(file: &File, at: u64) -> io::Result<(String, u64, u64)> {
    let from = at.saturating_sub(MAX_LINE);
    let mut window = vec![0; 2 * MAX_LINE as usize];
    let mut length = 0;
    while length < window.len() {
        match file.read_at(&mut window[length..], from + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    let window = &window[..length];
    let place = (at - from) as usize;
    let begin = window[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |it| it + 1);
    let end = window[place..].iter().position(|byte| *byte == b'\n');
    let end = end.map_or(length, |it| place + it + 1);
    let line = String::from_utf8_lossy(&window[begin..end]).into_owned();
    Ok((line, from + begin as u64, from + end as u64))
}

impl Fleet {
    /// Refuses a password that is known from a breach. To be called once all other rules hold, since a
    /// password that is refused anyway is nobody else's business.
    pub(super) async fn refuse_breached<E: From<Busy>>(
        &self,
        (pointer, password): (&str, &Hidden),
        refused: impl FnOnce(Vec<FieldError>) -> E,
    ) -> Result<(), E> {
        let Some(breaches) = &self.0.breaches else { return Ok(()) };
        if !breaches.know(password).await? {
            return Ok(());
        }
        let (rule, detail) = ("breached", "is known from a breach: others try it first");
        Err(refused(vec![FieldError {
            pointer: pointer.to_owned(),
            detail: detail.to_owned(),
            rule: Some(rule.to_owned()),
        }]))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn list(lines: &[String]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_sorted_file_is_searched_whatever_its_lines_end_with() {
        let known = |n: u32| format!("{:040X}", u128::from(n) * 1_000_003);
        for end in ["\n", "\r\n", ":3\n", ":12345678\r\n"] {
            for count in [0, 1, 2, 3, 64, 1000] {
                let lines: Vec<_> = (0..count).map(|n| known(n) + end).collect();
                let file = list(&lines);
                for n in 0..count {
                    assert!(holds(&file, &known(n)).unwrap(), "{n} of {count}");
                }
                assert!(!holds(&file, &format!("{:040X}", 7)).unwrap());
                assert!(!holds(&file, &"F".repeat(40)).unwrap());
            }
        }
        let unended = list(&["0".repeat(40) + "\n", "F".repeat(40)]);
        assert!(holds(&unended, &"F".repeat(40)).unwrap());
        let padded = list(&["0".repeat(40) + ":0\n"]);
        assert!(!holds(&padded, &"0".repeat(40)).unwrap());
    }

    #[test]
    fn what_is_no_list_is_a_failure() {
        for other in ["password\n".to_owned(), "x".repeat(4096), "\n".to_owned()] {
            let error = holds(&list(std::slice::from_ref(&other)), &"0".repeat(40)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{other:?}");
        }
    }
}
