//! A key of NIST P-256 that a TPM 2.0 makes and uses, and that never leaves it.
//!
//! It is a primary key of the owner's hierarchy (TCG, TPM 2.0 Library, part 3, TPM2_CreatePrimary): the TPM makes it from a
//! seed of its own and from a template, the same key of the same template each time. In the template are 32 random
//! bytes, and these are all that is kept; nothing is stored in the TPM, and whoever has the bytes has nothing without
//! it. It is made anew when it is first used after a start, which takes a TPM some tenths of a second, and stays loaded
//! from then on. `TPM2_Clear` gives the TPM another seed: what is made then is another key, which is noticed.
//!
//! Needs an owner's hierarchy without a password, as systems come with. Commands are put together and read by
//! tpm2-protocol, and go to the kernel's resource manager, so that others can use the TPM beside the agent.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use aws_lc_rs::{
    rand,
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use tpm2_protocol::{
    TpmWriter,
    basic::TpmHandle,
    constant::TPM_MAX_COMMAND_SIZE,
    data::{
        Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bPublic, Tpm2bSensitiveCreate, TpmAlgId,
        TpmEccCurve, TpmRc, TpmRcBase, TpmRh, TpmSt, TpmaObject, TpmaSession, TpmlPcrSelection,
        TpmsAuthCommand, TpmsEccParms, TpmsEccPoint, TpmsSchemeHash, TpmtEccScheme, TpmtPublic,
        TpmtSigScheme, TpmtSymDefObject, TpmtTkHashcheck, TpmuAsymScheme, TpmuPublicId,
        TpmuPublicParms, TpmuSignature,
    },
    frame::{
        TpmCreatePrimaryCommand, TpmCreatePrimaryResponse, TpmFlushContextCommand,
        TpmFlushContextResponse, TpmFrame, TpmResponse, TpmSignCommand, TpmSignResponse,
        TpmUnmarshalBody, tpm_marshal_command,
    },
};
use zeroize::Zeroizing;

/// The kernel's resource manager, below the root of the system. Only a TPM 2.0 has one.
const DEVICE: &str = "dev/tpmrm0";

/// What a text of such a key begins with.
const KIND: &str = "tpm2";

/// A header, by which an answer tells how long it is.
const HEADER: usize = 10;

/// How often a TPM that wants it is asked again, and how long after the first time; each pause is twice the one
/// before.
const ATTEMPTS: u32 = 7;
const PAUSE: Duration = Duration::from_millis(20);

/// How long a TPM behind a socket may take; the kernel has times of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// A key that is in a TPM.
pub struct TpmKey {
    device: Utf8PathBuf,
    /// What makes it this key.
    unique: Zeroizing<[u8; 32]>,
    /// The point, uncompressed.
    public: [u8; 65],
    /// None before it is used, and after something went wrong.
    loaded: Mutex<Option<Loaded>>,
}

/// Why a TPM does not do its part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    #[error("could not open the TPM at `{path}`")]
    Open { path: Utf8PathBuf, source: io::Error },
    #[error("the TPM does not answer")]
    Talk(#[from] io::Error),
    #[error("the TPM's answer to {command} makes no sense")]
    Malformed { command: &'static str, source: tpm2_protocol::TpmError },
    #[error("the TPM refuses {command}: {reason}")]
    Refused { command: &'static str, reason: TpmRc },
    #[error("the TPM's signatures cannot be verified")]
    Useless,
    #[error("there is no random number for the key")]
    Random,
    #[error("the TPM has no longer this device's key: it was cleared, or is another one")]
    OtherKey,
}

impl TpmError {
    /// Whether there is no TPM at all.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Debug for TpmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TpmKey").field(&hex::encode(self.public)).finish()
    }
}

impl TpmKey {
    /// Has the TPM of the system below `system` make a key, and tries it out. Blocks for as long as that
    /// takes.
    pub fn make(system: &Utf8Path) -> Result<Self, TpmError> {
        let device = system.join(DEVICE);
        let mut unique = Zeroizing::new([0; 32]);
        rand::fill(unique.as_mut_slice()).map_err(|_| TpmError::Random)?;
        let (loaded, public) = Loaded::open(&device, &unique)?;
        let key = Self { device, unique, public, loaded: Mutex::new(Some(loaded)) };
        let signature = key.sign(KIND.as_bytes())?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
            .verify(KIND.as_bytes(), &signature)
            .map_err(|_| TpmError::Useless)?;
        Ok(key)
    }

    /// The key that [`TpmKey::text`] is of, in the TPM of the system below `system`, which is not asked yet; none of
    /// other texts.
    #[must_use]
    pub fn from_text(text: &str, system: &Utf8Path) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        words.next().filter(|kind| *kind == KIND)?;
        let (mut unique, mut public) = (Zeroizing::new([0; 32]), [0; 65]);
        hex::decode_to_slice(words.next()?, unique.as_mut_slice()).ok()?;
        hex::decode_to_slice(words.next()?, &mut public).ok()?;
        let device = system.join(DEVICE);
        words.next().is_none().then(|| Self { device, unique, public, loaded: Mutex::new(None) })
    }

    /// What is to be kept of it.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let unique = Zeroizing::new(hex::encode(self.unique.as_slice()));
        Zeroizing::new(format!("{KIND} {} {}", *unique, hex::encode(self.public)))
    }

    /// The public half: a point, uncompressed.
    #[must_use]
    pub const fn public(&self) -> &[u8] {
        &self.public
    }

    /// Makes room in the TPM, until the key is used again.
    pub fn rest(&self) {
        drop(self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// `r` and `s` of a signature over the SHA-256 of `message`, 32 bytes each. Blocks for as long as the TPM takes; what
    /// it has forgotten meanwhile, as in sleep, it makes again.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        let digest = Sha256::digest(message);
        let mut kept = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut loaded) = kept.take() {
            match loaded.sign(&digest) {
                Ok(signature) => {
                    *kept = Some(loaded);
                    return Ok(signature);
                }
                Err(error) => tracing::debug!("the key is loaded into the TPM again: {error}"),
            }
        }
        let (mut loaded, public) = Loaded::open(&self.device, &self.unique)?;
        if public != self.public {
            return Err(TpmError::OtherKey);
        }
        let signature = loaded.sign(&digest)?;
        *kept = Some(loaded);
        Ok(signature)
    }
}

impl Drop for TpmKey {
    /// Another program's command may keep the TPM for long, and whoever ends is not to wait for that.
    fn drop(&mut self) {
        let kept = self.loaded.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Without a thread it is forgotten here.
        let _ = thread::Builder::new().spawn(move || drop(kept));
    }
}

/// A key that the TPM has at hand, until this is dropped.
struct Loaded {
    line: Line,
    handle: TpmHandle,
}

impl Loaded {
    /// Opens the TPM and has it make the key of `unique`; gives its public half, too.
    fn open(device: &Utf8Path, unique: &[u8; 32]) -> Result<(Self, [u8; 65]), TpmError> {
        const COMMAND: &str = "TPM2_CreatePrimary";
        let malformed = |source| TpmError::Malformed { command: COMMAND, source };
        let mut line = Line::open(device)
            .map_err(|source| TpmError::Open { path: device.to_owned(), source })?;
        let command = TpmCreatePrimaryCommand {
            handles: [TpmHandle::new(TpmRh::Owner.value())],
            in_sensitive: Tpm2bSensitiveCreate::default(),
            in_public: Tpm2bPublic { inner: template(unique).map_err(malformed)? },
            outside_info: Tpm2bData::default(),
            creation_pcr: TpmlPcrSelection::default(),
        };
        let made: TpmCreatePrimaryResponse = line.run(COMMAND, &command, &[without_password()])?;
        // From here on it is flushed whatever comes.
        let loaded = Self { line, handle: made.handles[0] };
        let TpmuPublicId::Ecc(point) = made.out_public.inner.unique else {
            return Err(TpmError::Useless);
        };
        let (x, y) = (number(&point.x)?, number(&point.y)?);
        let mut public = [4; 65];
        public[1..33].copy_from_slice(&x);
        public[33..].copy_from_slice(&y);
        Ok((loaded, public))
    }

    fn sign(&mut self, digest: &[u8]) -> Result<Vec<u8>, TpmError> {
        const COMMAND: &str = "TPM2_Sign";
        let digest = Tpm2bDigest::try_from(digest)
            .map_err(|source| TpmError::Malformed { command: COMMAND, source })?;
        let command = TpmSignCommand {
            handles: [self.handle],
            digest,
            // The key's own.
            in_scheme: TpmtSigScheme::default(),
            // A digest that the TPM has not made itself: only a restricted key needs another ticket.
            validation: TpmtTkHashcheck {
                tag: TpmSt::HashCheck,
                hierarchy: TpmRh::Null,
                digest: Tpm2bDigest::default(),
            },
        };
        let made: TpmSignResponse = self.line.run(COMMAND, &command, &[without_password()])?;
        let TpmuSignature::Ecdsa(signature) = made.signature.signature else {
            return Err(TpmError::Useless);
        };
        let (r, s) = (number(&signature.signature_r)?, number(&signature.signature_s)?);
        Ok([r, s].concat())
    }
}

impl Drop for Loaded {
    /// The resource manager does so, too, once the device is closed; a TPM without one would run out of room.
    fn drop(&mut self) {
        let command = TpmFlushContextCommand { handles: [], flush_handle: self.handle };
        let flushed: Result<TpmFlushContextResponse, _> =
            self.line.run("TPM2_FlushContext", &command, &[]);
        if let Err(error) = flushed {
            tracing::debug!("the TPM may have forgotten the key by itself: {error}");
        }
    }
}

/// What makes the key what it is: bound to this TPM, for signatures by ECDSA with SHA-256, without a password, and
/// used however often somebody has guessed others' passwords.
fn template(unique: &[u8; 32]) -> tpm2_protocol::TpmResult<TpmtPublic> {
    let digest = TpmsSchemeHash { hash_alg: TpmAlgId::Sha256 };
    Ok(TpmtPublic {
        object_type: TpmAlgId::Ecc,
        name_alg: TpmAlgId::Sha256,
        object_attributes: TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::USER_WITH_AUTH
            | TpmaObject::NO_DA
            | TpmaObject::SIGN_ENCRYPT,
        auth_policy: Tpm2bDigest::default(),
        parameters: TpmuPublicParms::Ecc(TpmsEccParms {
            symmetric: TpmtSymDefObject { algorithm: TpmAlgId::Null, ..Default::default() },
            scheme: TpmtEccScheme {
                scheme: TpmAlgId::Ecdsa,
                details: TpmuAsymScheme::Hash(digest),
            },
            curve_id: TpmEccCurve::NistP256,
            kdf: Default::default(),
        }),
        unique: TpmuPublicId::Ecc(TpmsEccPoint {
            x: Tpm2bEccParameter::try_from(unique.as_slice())?,
            y: Tpm2bEccParameter::try_from([0u8; 32].as_slice())?,
        }),
    })
}

/// Neither the hierarchy nor the key has one.
fn without_password() -> TpmsAuthCommand {
    TpmsAuthCommand {
        session_handle: TpmHandle::new(TpmRh::Pw.value()),
        session_attributes: TpmaSession::CONTINUE_SESSION,
        ..Default::default()
    }
}

/// A number as it comes from a TPM, which may leave out zeros before it.
fn number(digits: &[u8]) -> Result<[u8; 32], TpmError> {
    let mut number = [0; 32];
    let start = number.len().checked_sub(digits.len()).ok_or(TpmError::Useless)?;
    number[start..].copy_from_slice(digits);
    Ok(number)
}

/// A connection to a TPM.
enum Line {
    Device(File),
    /// As one has that is made of software.
    Socket(UnixStream),
}

impl Line {
    fn open(path: &Utf8Path) -> io::Result<Self> {
        if fs::metadata(path)?.file_type().is_socket() {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            return Ok(Self::Socket(socket));
        }
        File::options().read(true).write(true).open(path).map(Self::Device)
    }

    /// Sends a command, again where the TPM asks for that, and reads what it has done.
    fn run<A: TpmUnmarshalBody>(
        &mut self,
        name: &'static str,
        command: &impl TpmFrame,
        sessions: &[TpmsAuthCommand],
    ) -> Result<A, TpmError> {
        let malformed = |source| TpmError::Malformed { command: name, source };
        let mut buffer = [0; TPM_MAX_COMMAND_SIZE];
        let mut writer = TpmWriter::new(&mut buffer);
        let tag = if sessions.is_empty() { TpmSt::NoSessions } else { TpmSt::Sessions };
        tpm_marshal_command(command, tag, sessions, &mut writer).map_err(malformed)?;
        let mut pauses = (0..ATTEMPTS).map(|attempt| PAUSE * 2u32.pow(attempt));
        loop {
            let answer = match self {
                Self::Device(device) => exchange(device, writer.as_bytes())?,
                Self::Socket(socket) => exchange(socket, writer.as_bytes())?,
            };
            let answer = TpmResponse::cast(&answer).map_err(malformed)?;
            let reason = answer.rc().map_err(malformed)?;
            if reason == TpmRc::Fmt0(TpmRcBase::Success) {
                return answer.unmarshal().map_err(malformed);
            }
            let passes =
                [TpmRcBase::Retry, TpmRcBase::Yielded, TpmRcBase::Testing].contains(&reason.base());
            let Some(pause) = pauses.next().filter(|_| passes) else {
                return Err(TpmError::Refused { command: name, reason });
            };
            thread::sleep(pause);
        }
    }
}

/// Sends one command in one piece, as the device wants it, and reads the answer.
fn exchange(line: &mut (impl Read + Write), command: &[u8]) -> io::Result<Vec<u8>> {
    line.write_all(command)?;
    let mut answer = vec![0; TPM_MAX_COMMAND_SIZE];
    let mut length = 0;
    while length < expected(&answer[..length]) {
        match line.read(&mut answer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    answer.truncate(length);
    Ok(answer)
}

/// How long an answer is that begins so: its size is behind its tag.
fn expected(start: &[u8]) -> usize {
    match start {
        [_, _, size @ ..] if start.len() >= HEADER => {
            let size = size.first_chunk().map_or(u32::MAX, |size| u32::from_be_bytes(*size));
            usize::try_from(size).unwrap_or(usize::MAX)
        }
        _ => HEADER,
    }
}
