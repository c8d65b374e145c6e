//! How a device signs what it asks: an HTTP message signature (RFC 9421) over method, path and the
//! digest of the body (RFC 9530).
//!
//! Host and scheme are not signed: proxies in between change them, and a key belongs to one server, since
//! it is made when the device enrolls there. What computes signatures is the agent's and the server's; here are the bytes that
//! they are over.

use std::fmt::Write as _;

use sfv::{
    BareItem, DictSerializer, Dictionary, InnerList, Item, Key, KeyRef, ListEntry, ListSerializer,
    Parser, StringRef, key_ref,
};
use sha2::{Digest as _, Sha256};

/// The headers, as HTTP/2 writes them.
pub const CONTENT_DIGEST: &str = "content-digest";
pub const SIGNATURE_INPUT: &str = "signature-input";
pub const SIGNATURE: &str = "signature";

/// What devices sign with, by the names that RFC 9421 registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A key is its 32 bytes (RFC 8032).
    Ed25519,
    /// ECDSA with SHA-256 on the curve P-256. A key is its point, uncompressed (SEC 1: 65 bytes, the first is
    /// 4), a signature `r` and `s`, 32 bytes each.
    EcdsaP256Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::EcdsaP256Sha256];

    /// As `alg` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }

    /// What a public key signs with, which its form tells. None: it is no key of a device.
    #[must_use]
    pub const fn of_key(public: &[u8]) -> Option<Self> {
        match public {
            [4, ..] if public.len() == 65 => Some(Self::EcdsaP256Sha256),
            _ if public.len() == 32 => Some(Self::Ed25519),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// What these signatures are for: others that a message may carry are nothing to us.
pub const TAG: &str = "fleetd-device";

/// What the signature is called in both headers.
const LABEL: &KeyRef = key_ref("device");

/// Everything that is signed, no less and no more.
const COVERED: [&str; 3] = ["@method", "@path", CONTENT_DIGEST];

/// How far `created` may be from the clock of whoever checks, in seconds.
pub const FRESH_SECONDS: i64 = 300;

/// A request, as far as it is signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub method: &'a str,
    /// Without a query, which is not signed: nothing that counts is in one.
    pub path: &'a str,
    pub body: &'a [u8],
}

/// What a signer says beside what it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Seconds since 1970.
    pub created: i64,
    /// Makes two signatures of the same differ: printable ASCII.
    pub nonce: &'a str,
    /// Which key it is: printable ASCII.
    pub key_id: &'a str,
    /// The key's.
    pub algorithm: Algorithm,
}

/// A request that is about to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub content_digest: String,
    pub signature_input: String,
    /// The bytes to sign.
    pub base: String,
}

/// A signature that came with a request, yet to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub created: i64,
    pub key_id: String,
    /// The one that it says it is of: whether that is its key's is yet to be checked, too.
    pub algorithm: Algorithm,
    /// The bytes that were signed.
    pub base: String,
    pub signature: Vec<u8>,
}

/// Why the headers of a request are no signature of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    #[error("there is no `{0}`")]
    Missing(&'static str),
    #[error("`{0}` is no structured field")]
    Malformed(&'static str),
    #[error("`signature-input` has no signature of a device, or several")]
    NotOurs,
    #[error("it covers something else than method, path and the body's digest")]
    Coverage,
    #[error("it lacks `created` or `keyid`, or is of another algorithm than its key's")]
    Parameters,
    #[error("the body is not the one that was signed")]
    OtherBody,
    #[error("method or path are not those that were signed")]
    OtherMessage,
}

impl Draft {
    /// Prepares `message` for a signature by whom `claims` tell of.
    ///
    /// # Panics
    ///
    /// When nonce or key id are not printable ASCII.
    #[must_use]
    pub fn new(message: &Message<'_>, claims: &Claims<'_>) -> Self {
        let content_digest = content_digest(message.body);
        let mut input = DictSerializer::new();
        let mut list = input.inner_list(LABEL);
        for name in COVERED {
            list.bare_item(text(name));
        }
        let created = sfv::Integer::try_from(claims.created).expect("a time has few digits");
        let _ = list
            .finish()
            .parameter(key_ref("created"), created)
            .parameter(key_ref("nonce"), text(claims.nonce))
            .parameter(key_ref("keyid"), text(claims.key_id))
            .parameter(key_ref("alg"), text(claims.algorithm.name()))
            .parameter(key_ref("tag"), text(TAG));
        let signature_input = input.finish().expect("it has a member");
        let parameters = &signature_input[LABEL.as_str().len() + 1..];
        let base = base(&covered(message, &content_digest), parameters);
        Self { content_digest, signature_input, base }
    }

    /// The three headers that carry `signature`.
    #[must_use]
    pub fn headers(self, signature: &[u8]) -> [(&'static str, String); 3] {
        let mut field = DictSerializer::new();
        field.bare_item(LABEL, signature);
        let signature = field.finish().expect("it has a member");
        [
            (CONTENT_DIGEST, self.content_digest),
            (SIGNATURE_INPUT, self.signature_input),
            (SIGNATURE, signature),
        ]
    }
}

/// Reads the signature that `message` came with; `header` gives a header's value.
pub fn receive<'h>(
    message: &Message<'_>,
    header: impl Fn(&'static str) -> Option<&'h str>,
) -> Result<Received, SignatureError> {
    let field = |name| header(name).ok_or(SignatureError::Missing(name));
    let inputs = dictionary(SIGNATURE_INPUT, field(SIGNATURE_INPUT)?)?;
    let (label, input) = ours(&inputs)?;
    let names = input.items.iter().map(covered_name).collect::<Option<Vec<_>>>();
    let mut sorted = names.clone().unwrap_or_default();
    sorted.sort_unstable();
    let names = names.filter(|_| sorted == COVERED).ok_or(SignatureError::Coverage)?;
    let parameter = |name: &str| input.params.get(name);
    let word = |name: &str| parameter(name).and_then(BareItem::as_string).map(StringRef::as_str);
    let created = parameter("created").and_then(BareItem::as_integer).map(i64::from);
    let algorithm = word("alg").and_then(Algorithm::named);
    let (Some(created), Some(key_id), Some(algorithm)) = (created, word("keyid"), algorithm) else {
        return Err(SignatureError::Parameters);
    };
    let digest = field(CONTENT_DIGEST)?.trim();
    if !is_digest_of(digest, message.body)? {
        return Err(SignatureError::OtherBody);
    }
    let signatures = dictionary(SIGNATURE, field(SIGNATURE)?)?;
    let signature = signatures.get(label).and_then(bytes).ok_or(SignatureError::NotOurs)?;
    let values = covered(message, digest);
    let values: Vec<_> =
        names.iter().filter_map(|name| values.iter().find(|(it, _)| it == name).copied()).collect();
    let base = base(&values, &serialized(input));
    let (key_id, signature) = (key_id.to_owned(), signature.to_owned());
    Ok(Received { created, key_id, algorithm, base, signature })
}

/// The signature base (RFC 9421, section 2.5): what is covered, line by line, and `parameters` as the header
/// has them.
#[must_use]
pub fn base(covered: &[(&str, &str)], parameters: &str) -> String {
    let mut base = String::new();
    for (name, value) in covered {
        let _ = writeln!(base, "\"{name}\": {value}");
    }
    base + "\"@signature-params\": " + parameters
}

/// The value of `Content-Digest` for a body.
fn content_digest(body: &[u8]) -> String {
    let mut field = DictSerializer::new();
    field.bare_item(key_ref("sha-256"), &*Sha256::digest(body));
    field.finish().expect("it has a member")
}

fn is_digest_of(field: &str, body: &[u8]) -> Result<bool, SignatureError> {
    let digests = dictionary(CONTENT_DIGEST, field)?;
    let digest = digests.get("sha-256").and_then(bytes);
    Ok(digest.is_some_and(|digest| *digest == *Sha256::digest(body)))
}

fn covered<'a>(message: &Message<'a>, content_digest: &'a str) -> [(&'static str, &'a str); 3] {
    let [method, path, digest] = COVERED;
    [(method, message.method), (path, message.path), (digest, content_digest)]
}

/// The one member that is a device's signature.
fn ours(inputs: &Dictionary) -> Result<(&Key, &InnerList), SignatureError> {
    let is_ours = |list: &InnerList| {
        list.params.get("tag").and_then(BareItem::as_string).is_some_and(|tag| tag.as_str() == TAG)
    };
    let mut found = inputs.iter().filter_map(|(label, member)| match member {
        ListEntry::InnerList(list) if is_ours(list) => Some((label, list)),
        ListEntry::InnerList(_) | ListEntry::Item(_) => None,
    });
    found.next().filter(|_| found.next().is_none()).ok_or(SignatureError::NotOurs)
}

/// The name of a covered component that comes without parameters: with some it is another.
fn covered_name(item: &Item) -> Option<&str> {
    let name = item.bare_item.as_string()?.as_str();
    item.params.is_empty().then_some(name)
}

fn bytes(entry: &ListEntry) -> Option<&[u8]> {
    match entry {
        ListEntry::Item(item) => item.bare_item.as_byte_sequence(),
        ListEntry::InnerList(_) => None,
    }
}

/// The list as a header would have it.
fn serialized(list: &InnerList) -> String {
    let mut field = ListSerializer::new();
    field.members([&ListEntry::InnerList(list.clone())]);
    field.finish().unwrap_or_default()
}

fn dictionary(name: &'static str, field: &str) -> Result<Dictionary, SignatureError> {
    Parser::new(field).parse().map_err(|_| SignatureError::Malformed(name))
}

fn text(text: &str) -> &StringRef {
    StringRef::from_str(text).expect("it is printable ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message<'_> =
        Message { method: "POST", path: "/api/fleet/orbit/config", body: br#"{"hello": "world"}"# };
    const CLAIMS: Claims<'_> =
        Claims { created: 1_618_884_473, nonce: "n", key_id: "k", algorithm: Algorithm::Ed25519 };

    /// The headers of a request that was "signed" with its own length.
    fn headers() -> Vec<(&'static str, String)> {
        let draft = Draft::new(&MESSAGE, &CLAIMS);
        let signature = draft.base.len().to_string();
        draft.headers(signature.as_bytes()).to_vec()
    }

    fn received(
        message: &Message<'_>,
        headers: &[(&'static str, String)],
    ) -> Result<Received, SignatureError> {
        let find = |name| headers.iter().find(|(it, _)| *it == name).map(|(_, value)| &**value);
        receive(message, find)
    }

    #[test]
    fn what_is_signed_is_what_rfc_9421_says() {
        let draft = Draft::new(&MESSAGE, &CLAIMS);
        // The digest is RFC 9421's own, of the same body.
        let digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let parameters = "(\"@method\" \"@path\" \"content-digest\");created=1618884473;nonce=\"n\";\
                          keyid=\"k\";alg=\"ed25519\";tag=\"fleetd-device\"";
        assert_eq!(draft.content_digest, digest);
        assert_eq!(draft.signature_input, format!("device={parameters}"));
        let base = format!(
            "\"@method\": POST\n\"@path\": /api/fleet/orbit/config\n\"content-digest\": {digest}\n\
             \"@signature-params\": {parameters}"
        );
        assert_eq!(draft.base, base);
        let [.., (_, signature)] = draft.headers(b"signature");
        assert_eq!(signature, "device=:c2lnbmF0dXJl:");
    }

    #[test]
    fn what_is_received_is_what_was_sent() {
        let received = received(&MESSAGE, &headers()).unwrap();
        let draft = Draft::new(&MESSAGE, &CLAIMS);
        assert_eq!(received.base, draft.base);
        assert_eq!(received.signature, draft.base.len().to_string().as_bytes());
        assert_eq!((received.created, &*received.key_id), (CLAIMS.created, "k"));
        assert_eq!(received.algorithm, CLAIMS.algorithm);
    }

    #[test]
    fn a_signature_says_its_algorithm_and_a_key_tells_it_by_its_form() {
        for (algorithm, name) in
            [(Algorithm::Ed25519, "ed25519"), (Algorithm::EcdsaP256Sha256, "ecdsa-p256-sha256")]
        {
            let draft = Draft::new(&MESSAGE, &Claims { algorithm, ..CLAIMS });
            assert!(draft.signature_input.contains(&format!(";alg=\"{name}\";")));
            let shown = received(&MESSAGE, &draft.headers(b"")).unwrap();
            assert_eq!(shown.algorithm, algorithm);
        }
        let point = |first: u8, length: usize| [&[first][..], &vec![7; length - 1]].concat();
        assert_eq!(Algorithm::of_key(&point(7, 32)), Some(Algorithm::Ed25519));
        assert_eq!(Algorithm::of_key(&point(4, 32)), Some(Algorithm::Ed25519));
        assert_eq!(Algorithm::of_key(&point(4, 65)), Some(Algorithm::EcdsaP256Sha256));
        // Compressed, of P-384, in DER, none.
        for other in [point(2, 33), point(4, 97), point(0x30, 91), point(6, 65), Vec::new()] {
            assert_eq!(Algorithm::of_key(&other), None);
        }
    }

    #[test]
    fn another_request_has_another_base_and_another_body_is_noticed() {
        let base = |message: Message<'_>| received(&message, &headers()).unwrap().base;
        let sent = base(MESSAGE);
        assert_ne!(base(Message { method: "PUT", ..MESSAGE }), sent);
        assert_ne!(base(Message { path: "/api/fleet/orbit/updates", ..MESSAGE }), sent);
        let other = received(&Message { body: b"{}", ..MESSAGE }, &headers());
        assert_eq!(other, Err(SignatureError::OtherBody));
    }

    #[test]
    fn what_covers_less_or_is_somebody_elses_does_not_count() {
        let with = |name: &str, from: &str, to: &str| {
            let mut headers = headers();
            let (_, value) = headers.iter_mut().find(|(it, _)| *it == name).unwrap();
            assert!(value.contains(from), "{value}");
            *value = value.replace(from, to);
            received(&MESSAGE, &headers).map(drop)
        };
        let input = |from: &str, to: &str| with(SIGNATURE_INPUT, from, to);
        assert_eq!(input(" \"content-digest\"", ""), Err(SignatureError::Coverage));
        assert_eq!(input("\"@path\"", "\"@path\" \"@path\""), Err(SignatureError::Coverage));
        assert_eq!(input("\"@path\"", "\"@path\";req"), Err(SignatureError::Coverage));
        assert_eq!(input("fleetd-device", "other"), Err(SignatureError::NotOurs));
        assert_eq!(input(";created=1618884473", ""), Err(SignatureError::Parameters));
        for other in ["hmac-sha256", "ecdsa-p384-sha384", "ED25519"] {
            assert_eq!(input("ed25519", other), Err(SignatureError::Parameters));
        }
        assert_eq!(input("device=", "("), Err(SignatureError::Malformed(SIGNATURE_INPUT)));
        assert_eq!(with(SIGNATURE, "device", "other"), Err(SignatureError::NotOurs));
        assert_eq!(with(CONTENT_DIGEST, "sha-256", "sha-512"), Err(SignatureError::OtherBody));
        assert_eq!(input("\"@method\" \"@path\"", "\"@path\" \"@method\""), Ok(()));
        for name in [CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE] {
            let rest: Vec<_> = headers().into_iter().filter(|(it, _)| *it != name).collect();
            assert_eq!(received(&MESSAGE, &rest), Err(SignatureError::Missing(name)));
        }
    }
}
