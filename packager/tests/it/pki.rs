//! Authorities, keys and certificates made by openssl, and an authority of timestamps.

use std::{fs, io::Write as _, sync::Arc};

use packager::sign::{Certificate, CodeSigner, Identity, Timestamper, Trust};
use tempfile::TempDir;

use crate::fixture::run;

/// When the tests take place, in seconds since 1970: the certificates are from 2020 to 2040.
pub(crate) const NOW: u64 = 1_790_000_000;

/// A folder with a root, and with what it has certified.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: TempDir,
}

/// The extensions of each certificate.
const CONFIG: &str = "
[req]
distinguished_name = dn
prompt = no
[dn]
O = Example Inc.
[ca]
default_ca = own
[own]
new_certs_dir = .
database = index.txt
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = none
unique_subject = no
[any]
organizationName = optional
organizationalUnitName = optional
commonName = optional
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
1.2.840.113635.100.6.2.6 = ASN1:NULL
[code]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, codeSigning
[installer]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, 1.2.840.113635.100.4.13
1.2.840.113635.100.6.1.14 = critical, ASN1:NULL
[application]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, codeSigning
1.2.840.113635.100.6.1.13 = critical, ASN1:NULL
[server]
extendedKeyUsage = serverAuth
[time]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = tsa1
[tsa1]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
";

impl Pki {
    /// One with a root and an authority of timestamps.
    pub(crate) fn new() -> Self {
        let pki = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(pki.path("config"), CONFIG).unwrap();
        fs::write(pki.path("index.txt"), "").unwrap();
        fs::write(pki.path("serial"), "01").unwrap();
        pki.key("root", "rsa:2048");
        let (key, csr) = (pki.path("root.key"), pki.path("root.csr"));
        let request = ["-new", "-key", &key, "-subj", "/O=Example Inc./CN=Root", "-out", &csr];
        pki.openssl(&[&["req", "-config", &pki.path("config")], request.as_slice()].concat());
        pki.sign("root", &["-selfsign", "-extensions", "root"], ["20200101", "20400101"]);
        pki.certify("time", "rsa:2048", "time");
        pki
    }

    /// Makes `name.key`, `name.crt` with its root's, and `name.pem` with all.
    pub(crate) fn certify(&self, name: &str, algorithm: &str, kind: &str) {
        self.certify_from(name, (algorithm, kind), ["20200101", "20400101"]);
    }

    /// Like [`Self::certify`], for some days.
    pub(crate) fn certify_from(
        &self,
        name: &str,
        (algorithm, kind): (&str, &str),
        days: [&str; 2],
    ) {
        self.key(name, algorithm);
        let team = if kind == "application" { "/OU=TEAM012345" } else { "" };
        let subject = format!("/O=Example Inc.{team}/CN={name}");
        let (key, csr) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.csr")));
        let request = ["-new", "-key", &key, "-subj", &subject, "-out", &csr];
        self.openssl(&[&["req", "-config", &self.path("config")], request.as_slice()].concat());
        self.sign(name, &["-cert", &self.path("root.crt"), "-extensions", kind], days);
        let files = [format!("{name}.crt"), "root.crt".into(), format!("{name}.key")];
        let all: Vec<_> =
            files.iter().map(|it| fs::read_to_string(self.path(it)).unwrap()).collect();
        fs::write(self.path(&format!("{name}.pem")), all.concat()).unwrap();
        fs::write(self.path(&format!("{name}.crt")), all[..2].concat()).unwrap();
    }

    fn key(&self, name: &str, algorithm: &str) {
        let key = self.path(&format!("{name}.key"));
        let (kind, size) = algorithm.split_once(':').unwrap();
        let option = if kind == "rsa" { "rsa_keygen_bits" } else { "ec_paramgen_curve" };
        let option = format!("{option}:{size}");
        self.openssl(&["genpkey", "-algorithm", kind, "-pkeyopt", &option, "-out", &key]);
    }

    fn sign(&self, name: &str, args: &[&str], [from, until]: [&str; 2]) {
        let (from, until) = (format!("{from}000000Z"), format!("{until}000000Z"));
        let (csr, crt) = (self.path(&format!("{name}.csr")), self.path(&format!("{name}.crt")));
        let (config, key) = (self.path("config"), self.path("root.key"));
        let folder = self.path("");
        let common = [
            "ca",
            "-batch",
            "-notext",
            "-config",
            &config,
            "-keyfile",
            &key,
            "-in",
            &csr,
            "-out",
            &crt,
            "-startdate",
            &from,
            "-enddate",
            &until,
            "-outdir",
            &folder,
        ];
        self.openssl(&[&common, args].concat());
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs openssl in the folder; gives what it prints.
    pub(crate) fn openssl(&self, args: &[&str]) -> String {
        let folder = self.folder.path().to_str().unwrap();
        run("env", &[&["-C", folder, "openssl"], args].concat())
    }

    /// Signs with `name.pem`.
    pub(crate) fn signer(&self, name: &str) -> CodeSigner {
        let identity = Identity::from_file(&self.read(&format!("{name}.pem")), &|| None).unwrap();
        CodeSigner { identity, timestamper: None }
    }

    /// Like [`Self::signer`], with timestamps.
    pub(crate) fn stamped(self: &Arc<Self>, name: &str) -> CodeSigner {
        CodeSigner { timestamper: Some(Arc::new(Authority(self.clone()))), ..self.signer(name) }
    }

    /// Trusts the root.
    pub(crate) fn trust(&self) -> Trust {
        let roots = Some(Certificate::all_from_pem(&self.read("root.crt")).unwrap());
        Trust { timestamp_roots: roots.clone(), roots, now: NOW }
    }
}

/// `openssl ts` behind our interface.
#[derive(Debug)]
struct Authority(Arc<Pki>);

impl Timestamper for Authority {
    fn timestamp(
        &self,
        request: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut query = tempfile::NamedTempFile::new()?;
        query.write_all(request)?;
        let answer = query.path().with_extension("tsr");
        let pki = &self.0;
        let (signer, key, config) =
            (pki.path("time.crt"), pki.path("time.key"), pki.path("config"));
        let (query, out) = (query.path().to_str().unwrap(), answer.to_str().unwrap());
        let keys = ["-signer", &signer, "-inkey", &key, "-config", &config, "-section", "tsa1"];
        pki.openssl(
            &[&["ts", "-reply", "-queryfile", query, "-out", out], keys.as_slice()].concat(),
        );
        let bytes = fs::read(&answer)?;
        fs::remove_file(answer)?;
        Ok(bytes)
    }
}
