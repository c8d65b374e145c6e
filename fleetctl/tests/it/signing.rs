//! `fleetctl package` with certificates: what is signed, judged by osslsigncode, and what is refused.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::{
    macho,
    run::{Ended, Home, program, tool},
};

const PASSPHRASE: &str = "correct_horse";

/// A home with a program for Windows and the certificate and key of who may sign code.
fn home() -> Home {
    let home = Home::new();
    let mut orbit = crate::package::windows_program(0x8664);
    // The number of entries of its header, one of which is for a signature.
    orbit[0xc4] = 16;
    home.write("bin/orbit.exe", orbit);
    certify(&home, "code", "codeSigning");
    openssl(
        &home,
        &format!(
            "pkcs12 -export -in code.crt -inkey code.key -out code.pfx -passout pass:{}",
            PASSPHRASE
        ),
    );
    home
}

pub(crate) fn certify(home: &Home, name: &str, usage: &str) {
    openssl(
        home,
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.crt -days 30 \
             -subj /O=Example/CN={name} -addext extendedKeyUsage=critical,{usage} \
             -addext basicConstraints=critical,CA:false"
        ),
    );
}

pub(crate) fn openssl(home: &Home, args: &str) -> String {
    let folder = home.path("");
    let env = ["-C", folder.to_str().unwrap(), "openssl"];
    tool("env", env.into_iter().chain(args.split_whitespace()))
}

fn package(home: &Home, flags: &[&str]) -> Ended {
    let common = ["package", "--components=bin", "--package-version=1.2.3", "--output=json"];
    home.fleetctl(common.iter().chain(flags))
}

/// What osslsigncode says of a file.
pub(crate) fn judge(home: &Home, file: &Path) -> String {
    let mut command = program(Path::new("osslsigncode"));
    command.args(["verify", "-CAfile"]).arg(home.path("code.crt"));
    command.arg("-TSA-CAfile").arg(home.path("time.crt")).arg("-in").arg(file);
    let output = command.output().expect("osslsigncode is installed");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn signer(json: &str) -> String {
    let artifacts: Value = serde_json::from_str(json).unwrap();
    artifacts[0]["signer"].as_str().unwrap().to_owned()
}

fn fingerprint(home: &Home, name: &str) -> String {
    let line = openssl(home, &format!("x509 -in {name} -noout -fingerprint -sha256"));
    line.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

#[test]
fn an_msi_and_the_programs_in_it_are_signed() {
    let home = home().with("FLEETCTL_WINDOWS_PASSPHRASE", PASSPHRASE);
    let made = package(&home, &["--type=msi", "--windows-certificate=code.pfx"]).ok();
    assert_eq!(signer(&made), fingerprint(&home, "code.crt"));
    let msi = home.path("fleetd-1.2.3-x64.msi");
    let said = judge(&home, &msi);
    assert!(said.contains("Succeeded"), "{said}");
    tool(
        "7z",
        [
            "x".as_ref(),
            "-y".as_ref(),
            msi.as_os_str(),
            format!("-o{}", home.path("out").display()).as_ref(),
        ],
    );
    let programs: Vec<_> = std::fs::read_dir(home.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"MZ")))
        .collect();
    assert!(!programs.is_empty());
    for program in programs {
        let said = judge(&home, &program);
        assert!(said.contains("Succeeded"), "{}: {said}", program.display());
    }
}

#[test]
fn a_program_that_is_named_signs_and_a_key_in_another_file_gives_the_same() {
    let home = home();
    let script = "#!/bin/sh\nread -r protocol scheme certificate\n\
        [ \"$protocol $scheme\" = 'fleetd-sign-1 rsa-sha256' ] || exit 1\n\
        exec openssl dgst -sha256 -sign code.key\n";
    home.write("kms", script);
    tool("chmod", ["755".as_ref(), home.path("kms").as_os_str()]);
    let flags = ["--type=msi", "--windows-certificate=code.crt"];
    let read = || std::fs::read(home.path("fleetd-1.2.3-x64.msi")).unwrap();
    package(&home, &[&flags[..], &["--sign-command=./kms"]].concat()).ok();
    let by_program = read();
    package(&home, &[&flags[..], &["--windows-key=code.key"]].concat()).ok();
    assert!(by_program == read());
    let said = package(&home, &[&flags[..], &["--sign-command=/bin/false"]].concat()).fails(2);
    assert!(said.contains("`/bin/false` ended with exit status: 1"), "{said}");
}

#[test]
fn a_pkg_is_signed_with_fleets_variable() {
    let home = Home::new();
    home.write("bin/orbit", "#!/bin/sh\n");
    certify(&home, "installer", "1.2.840.113635.100.4.13");
    let read = |name| std::fs::read_to_string(home.path(name)).unwrap();
    let pem = read("installer.crt") + &read("installer.key");
    let expected = fingerprint(&home, "installer.crt");
    let home = home.with("FLEETCTL_MACOS_DEVID_PEM_CONTENT", pem);
    let flags = ["--type=pkg", "--without-osqueryd"];
    assert_eq!(signer(&package(&home, &flags).ok()), expected);
    let members = tool("bsdtar", ["-tf".as_ref(), home.path("fleetd-1.2.3.pkg").as_os_str()]);
    assert!(members.contains("Distribution"), "{members}");
}

#[test]
fn the_programs_in_a_pkg_are_signed_and_verify_tells_by_whom() {
    let home = Home::new();
    let program = |length| {
        macho::universal(&[
            (macho::X86_64, macho::thin(macho::X86_64, length)),
            (macho::ARM64, macho::thin(macho::ARM64, length)),
        ])
    };
    home.write("bin/orbit", program(1_000));
    let info = "<plist version=\"1.0\"><dict><key>CFBundleIdentifier</key><string>io.osquery.agent</string>\
                <key>CFBundleExecutable</key><string>osqueryd</string></dict></plist>";
    home.write("app/osquery.app/Contents/Info.plist", info);
    home.write("app/osquery.app/Contents/MacOS/osqueryd", program(2_000));
    home.write("app/osquery.app/Contents/Resources/text", "text");
    let (app, archive) = (home.path("app"), home.path("bin/osqueryd.app.tar.gz"));
    tool(
        "tar",
        [
            "-czf".as_ref(),
            archive.as_os_str(),
            "-C".as_ref(),
            app.as_os_str(),
            "osquery.app".as_ref(),
        ],
    );
    certify(&home, "app", "codeSigning");
    certify(&home, "installer", "1.2.840.113635.100.4.13");
    home.write("kms", "#!/bin/sh\nread -r line\nexec openssl dgst -sha256 -sign app.key\n");
    tool("chmod", ["755".as_ref(), home.path("kms").as_os_str()]);
    let flags = [
        "--type=pkg",
        "--macos-certificate=app.crt",
        "--macos-key=exec:./kms",
        "--macos-installer-certificate=installer.crt",
        "--macos-installer-key=installer.key",
    ];
    package(&home, &flags).ok();
    let pkg = "fleetd-1.2.3.pkg";
    let trust = ["package", "verify", "--root=app.crt", "--root=installer.crt", pkg];
    let said = home.fleetctl(trust).ok();
    for line in [
        "signature by CN=installer,O=Example",
        "/opt/orbit/bin/orbit/packaged/orbit: com.fleetdm.orbit by CN=app,O=Example",
        "/opt/orbit/bin/osqueryd/packaged/osquery.app/Contents/MacOS/osqueryd: io.osquery.agent by CN=app,O=Example",
    ] {
        assert!(said.lines().any(|it| it.contains("good") && it.contains(line)), "{line}: {said}");
    }
    let said = home.fleetctl(["package", "verify", "--root=installer.crt", "--output=json", pkg]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.stdout.matches("nobody who is trusted has signed it").count(),
        2,
        "{}",
        said.stdout
    );
}

#[test]
fn programs_may_do_what_the_file_says_that_is_named() {
    let home = Home::new();
    let both = [macho::X86_64, macho::ARM64].map(|cpu| (cpu, macho::thin(cpu, 1_000)));
    home.write("bin/orbit", macho::universal(&both));
    certify(&home, "app", "codeSigning");
    let list = |content: &str| format!("<plist version=\"1.0\"><dict>{content}</dict></plist>");
    home.write("may", list("<key>com.apple.security.cs.allow-jit</key><true/>"));
    home.write("real", list("<key>a</key><real>1.5</real>"));
    let flags =
        ["--type=pkg", "--without-osqueryd", "--macos-certificate=app.crt", "--macos-key=app.key"];
    let with = |flag: &str| package(&home, &[&flags[..], &[flag]].concat());
    with("--macos-orbit-entitlements=may").ok();
    let script = "bsdtar -xOf fleetd-1.2.3.pkg fleetd.pkg/Payload | bsdtar -xOf - ./opt/orbit/bin/orbit/packaged/orbit";
    let sh = program(Path::new("sh")).current_dir(home.path("")).args(["-c", script]).output();
    let packed = sh.unwrap().stdout;
    let key = b"com.apple.security.cs.allow-jit";
    // As XML and as DER, for each processor.
    assert_eq!(packed.windows(key.len()).filter(|it| it == key).count(), 4);
    for (flag, problem) in [
        ("--macos-orbit-entitlements=real", "whole numbers"),
        ("--macos-orbit-entitlements=none", "--macos-orbit-entitlements `none`"),
        ("--macos-desktop-entitlements=may", "the package has no desktop"),
        ("--macos-osqueryd-entitlements=may", "the package has no osqueryd"),
    ] {
        let said = with(flag);
        assert_eq!(said.code, 2, "{}", said.stderr);
        assert!(said.stderr.contains(problem), "{}", said.stderr);
    }
    let said = package(&home, &["--type=pkg", "--macos-orbit-entitlements=may"]);
    assert!(said.stderr.contains("goes together with --macos-certificate"), "{}", said.stderr);
    home.write("bin/orbit", "#!/bin/sh\n");
    let said = with("--macos-orbit-entitlements=may");
    assert!(said.stderr.contains("it cannot have entitlements"), "{}", said.stderr);
}

#[test]
fn programs_for_one_processor_each_make_a_universal_package() {
    let home = Home::new();
    home.write("bin/orbit/macos-amd64/orbit", macho::thin(macho::X86_64, 1_000));
    home.write("bin/orbit/macos-arm64/orbit", macho::thin(macho::ARM64, 1_000));
    package(&home, &["--type=pkg"]).ok();
    let listed = home.fleetctl(["package", "inspect", "fleetd-1.2.3.pkg"]).ok();
    assert!(listed.contains("/opt/orbit/bin/orbit/packaged/orbit"), "{listed}");
    home.write("bin/orbit/macos-arm64/orbit", macho::thin(macho::X86_64, 9));
    let said = package(&home, &["--type=pkg"]).fails(2);
    assert!(said.contains("cannot be one program: two of the programs are for the same"), "{said}");
    home.write("bin/orbit/macos-arm64/orbit", crate::package::windows_program(0xaa64));
    let said = package(&home, &["--type=pkg"]).fails(2);
    assert!(said.contains("none for a single processor of a Mac"), "{said}");
}

#[test]
fn what_cannot_sign_is_told_before_any_work() {
    let home = home();
    certify(&home, "server", "serverAuth");
    certify(&home, "other", "codeSigning");
    openssl(&home, "pkcs8 -topk8 -in code.key -out locked.key -passout pass:secret");
    openssl(&home, "rsa -aes128 -traditional -in code.key -out old.key -passout pass:secret");
    home.write("not.pem", "certainly not");
    home.write("passphrase", "wrong\n");
    expired(&home);
    let with = |flags: &str, problem: &str| {
        let flags: Vec<_> = flags.split_whitespace().collect();
        let said = package(&home, &[&["--type=msi"], flags.as_slice()].concat()).fails(2);
        assert!(said.contains(problem), "{problem:?} is missing in {said}");
        assert!(!said.contains("panicked"), "{said}");
    };
    with("--windows-certificate=nowhere.pem", "`nowhere.pem` cannot be read");
    with("--windows-certificate=not.pem", "there is no certificate in it");
    with("--windows-certificate=code.crt", "no private key in it; give --windows-key");
    with("--windows-key=code.key", "--windows-key goes together with --windows-certificate");
    with("--windows-certificate=code.crt --windows-key=other.key", "no certificate in it belongs");
    with("--windows-certificate=server.crt --windows-key=server.key", "not for signing code");
    with("--windows-certificate=expired.crt --windows-key=expired.key", "expired on 2021-");
    with("--windows-certificate=code.pfx", "no passphrase for it; give --windows-passphrase-file");
    let wrong = "--windows-passphrase-file=passphrase";
    with(&format!("--windows-certificate=code.pfx {wrong}"), "the passphrase is wrong");
    let locked = "--windows-certificate=code.crt --windows-key=locked.key";
    with(&format!("{locked} {wrong}"), "the passphrase is wrong");
    with("--windows-certificate=code.crt --windows-key=old.key", "openssl pkcs8 -topk8");
    with("--timestamp-url=ftp://x", "no http:// or https:// address");
    with("--sign-command=./kms", "--sign-command needs the certificate");
    with("--windows-certificate=code.crt --windows-key=exec:/bin/false", "`/bin/false` ended with");
    let said = package(&home, &["--type=deb", "--macos-certificate=code.pfx"]).fails(2);
    assert!(said.contains("--macos-certificate is for packages of type pkg"), "{said}");
    openssl(
        &home,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.key -out ec.crt \
         -subj /CN=ec -addext extendedKeyUsage=codeSigning",
    );
    let flags = ["--type=pkg", "--macos-certificate=ec.crt", "--macos-key=ec.key"];
    let said = package(&home, &flags).fails(2);
    assert!(said.contains("macOS does not take: it wants RSA"), "{said}");
    openssl(
        &home,
        "req -x509 -newkey rsa:2048 -nodes -keyout lone.key -out lone.crt -subj /CN=lone \
         -addext extendedKeyUsage=codeSigning -addext 1.2.840.113635.100.6.1.13=critical,DER:0500",
    );
    let flags = ["--type=pkg", "--macos-certificate=lone.crt", "--macos-key=lone.key"];
    let said = package(&home, &flags).fails(2);
    assert!(said.contains("comes without its issuer's: add Apple's"), "{said}");
    let said = package(&home, &["--type=deb", "--windows-certificate=code.pfx"]).fails(2);
    assert!(said.contains("--windows-certificate is for packages of type msi"), "{said}");
    assert!(!home.path("fleetd-1.2.3-x64.msi").exists());
}

fn expired(home: &Home) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    home.write("expired.crt", params.self_signed(&key).unwrap().pem());
    home.write("expired.key", key.serialize_pem());
}

#[test]
fn an_authority_tells_the_time_and_without_it_nothing_is_made() {
    let home = home();
    let flags = ["--type=msi", "--windows-certificate=code.crt", "--windows-key=code.key"];
    let mut gone = String::new();
    with_authority(&home, |url| {
        package(&home, &[&flags[..], &[url]].concat()).ok();
        url.clone_into(&mut gone);
    });
    let msi = "fleetd-1.2.3-x64.msi";
    let said = judge(&home, &home.path(msi));
    assert!(said.contains("Succeeded") && said.contains("Timestamp"), "{said}");
    let shown = verify(&home, msi, &["--root=code.crt", "--timestamp-root=time.crt"]).ok();
    assert!(shown.contains("there since 20"), "{shown}");
    for flags in [&["--root=code.crt"][..], &["--root=code.crt", "--timestamp-root=code.crt"]] {
        let shown = verify(&home, msi, flags).stdout;
        assert!(!shown.contains("there since"), "nobody named that authority: {shown}");
    }
    std::fs::remove_file(home.path("fleetd-1.2.3-x64.msi")).unwrap();
    let said = package(&home, &[&flags[..], &[&gone]].concat()).fails(1);
    assert!(said.contains("no timestamp to be had"), "{said}");
    assert!(!home.path("fleetd-1.2.3-x64.msi").exists());
}

/// Does `work` while an authority of timestamps, whose flag it is given, is there.
pub(crate) fn with_authority(home: &Home, work: impl FnOnce(&str)) {
    certify(home, "time", "timeStamping");
    home.write(
        "ts.conf",
        "[tsa]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256\n",
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("--timestamp-url=http://{}/", listener.local_addr().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| while answer(home, &listener) {});
        work(&url);
        // Whoever says nothing ends it.
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
}

fn verify(home: &Home, file: &str, flags: &[&str]) -> Ended {
    home.fleetctl([&["package", "verify", file], flags].concat())
}

/// Puts `after` where `before` is for the first time in a file.
fn tamper(home: &Home, file: &str, [before, after]: [&str; 2]) {
    let mut bytes = std::fs::read(home.path(file)).unwrap();
    let at = bytes.windows(before.len()).position(|it| it == before.as_bytes()).unwrap();
    bytes.splice(at..at + before.len(), after.bytes());
    home.write(&format!("tampered-{file}"), bytes);
}

/// Verifies `file`, signed by the key of `own`, against that and others, and after a change.
fn holds_for_its_signer_alone(home: &Home, file: &str, own: &str, change: [&str; 2]) {
    let root = format!("--root={own}");
    let shown = verify(home, file, &[&root]).ok();
    assert!(shown.contains("signature by"), "{shown}");
    verify(home, file, &["--root=other.crt", &root]).ok();
    let bad = |file: &str, flags: &[&str], reason: &str| {
        let ended = verify(home, file, flags);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stdout.contains(reason), "{reason:?} is missing in {ended:?}");
    };
    bad(file, &["--root=other.crt"], "nobody who is trusted has signed it");
    bad(file, &[], "no --root says whose it may be");
    tamper(home, file, change);
    bad(&format!("tampered-{file}"), &[&root], "it was changed after it was signed");
    bad(&format!("tampered-{file}"), &[], "it was changed after it was signed");
}

#[test]
fn a_signed_msi_is_verified_against_the_authority_that_is_named() {
    let home = home();
    certify(&home, "other", "codeSigning");
    let flags = ["--type=msi", "--windows-certificate=code.crt", "--windows-key=code.key"];
    package(&home, &flags).ok();
    let msi = "fleetd-1.2.3-x64.msi";
    holds_for_its_signer_alone(&home, msi, "code.crt", ["OrbitConfigure", "OrbitConfigurf"]);
    package(&home, &["--type=msi", "--outfile=unsigned.msi"]).ok();
    let unsigned = verify(&home, "unsigned.msi", &["--root=code.crt"]);
    assert!(unsigned.code == 1 && unsigned.stdout.contains("is not signed"), "{unsigned:?}");
}

#[test]
fn a_signed_pkg_is_verified_against_the_authority_that_is_named() {
    let home = Home::new();
    home.write("bin/orbit", "#!/bin/sh\n");
    certify(&home, "installer", "1.2.840.113635.100.4.13");
    certify(&home, "other", "1.2.840.113635.100.4.13");
    let read = |name| std::fs::read_to_string(home.path(name)).unwrap();
    let pem = read("installer.crt") + &read("installer.key");
    let home = home.with("FLEETCTL_MACOS_DEVID_PEM_CONTENT", pem);
    package(&home, &["--type=pkg", "--without-osqueryd"]).ok();
    let pkg = "fleetd-1.2.3.pkg";
    let change = ["<title>fleetd<", "<title>fleetx<"];
    holds_for_its_signer_alone(&home, pkg, "installer.crt", change);
    let said = verify(&home, pkg, &["--timestamp-root=other.crt"]).fails(2);
    assert!(said.contains("--root"), "{said}");
}

/// Answers one request as RFC 3161 says, by `openssl ts`; false if there was none.
fn answer(home: &Home, listener: &TcpListener) -> bool {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    let body = loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).unwrap();
        if read == 0 {
            return false;
        }
        request.extend_from_slice(&chunk[..read]);
        let Some(end) = request.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        assert!(head.contains("application/timestamp-query"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if request.len() >= end + 4 + length {
            break request.split_off(end + 4);
        }
    };
    home.write("query.tsq", body);
    openssl(
        home,
        "ts -reply -config ts.conf -section tsa -queryfile query.tsq -signer time.crt -inkey time.key -out answer.tsr",
    );
    let bytes = std::fs::read(home.path("answer.tsr")).unwrap();
    let head =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", bytes.len());
    stream.write_all(&[head.as_bytes(), &bytes].concat()).unwrap();
    true
}
