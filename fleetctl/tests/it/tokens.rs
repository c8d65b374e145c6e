//! Keys in a token, which is SoftHSM's: what they sign, and what is told when they cannot. Its library is loaded by fleetctl,
//! and by OpenSC's pkcs11-tool, as a fleetctl that is one static program has it.

use std::path::Path;

use crate::{
    run::{Ended, Home, tool},
    signers::executable,
    signing::{certify, judge, openssl},
    updates::updates,
};

const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The variable that names a program to load the library, where fleetctl could do it.
const TOOL: &str = "FLEETCTL_PKCS11_TOOL";

/// That program: pkcs11-tool, after its arguments have been added to the file `asked`, and what it was told of fleetctl's
/// variables but the PIN's.
const WITNESS: &str = "./pkcs11";

/// A home with a token that has the keys `code`, `p256` and `p384`, and their certificates.
fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path("tokens")).unwrap();
    let tokens = home.path("tokens");
    home.write(
        "softhsm.conf",
        format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()),
    );
    let mut orbit = crate::package::windows_program(0x8664);
    orbit[0xc4] = 16;
    home.write("bin/orbit.exe", orbit);
    certify(&home, "code", "codeSigning");
    for (name, curve) in [("p256", "P-256"), ("p384", "P-384")] {
        openssl(
            &home,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes -keyout {name}.key \
                 -out {name}.crt -days 30 -subj /O=Example/CN={name} \
                 -addext extendedKeyUsage=critical,codeSigning -addext basicConstraints=critical,CA:false"
            ),
        );
    }
    softhsm(&home, "--init-token --free --label Office --pin 1234 --so-pin 123456");
    for (name, id) in [("code", "01"), ("p256", "02"), ("p384", "06")] {
        openssl(&home, &format!("pkcs8 -topk8 -nocrypt -in {name}.key -out {name}.p8"));
        import(&home, name, id);
        std::fs::remove_file(home.path(&format!("{name}.key"))).unwrap();
        std::fs::remove_file(home.path(&format!("{name}.p8"))).unwrap();
    }
    executable(
        &home,
        WITNESS,
        "#!/bin/sh\necho \"$*\" >>asked\nenv | grep -v ^FLEETCTL_TOKEN_PIN= | grep ^FLEET >>asked\n\
         exec pkcs11-tool \"$@\"\n",
    );
    let conf = home.path("softhsm.conf").to_str().unwrap().to_owned();
    home.with("SOFTHSM2_CONF", conf)
}

fn softhsm(home: &Home, args: &str) {
    let conf = format!("SOFTHSM2_CONF={}", home.path("softhsm.conf").display());
    tool("env", [conf.as_str(), "softhsm2-util"].into_iter().chain(args.split_whitespace()));
}

/// Brings the key in `NAME.p8` into the token, where it has that name.
fn import(home: &Home, name: &str, id: &str) {
    let path = home.path(&format!("{name}.p8"));
    let import = format!("--import {} --token Office --pin 1234", path.display());
    softhsm(home, &format!("{import} --label {name} --id {id}"));
}

/// What pkcs11-tool was asked, a line each time.
fn asked(home: &Home) -> String {
    std::fs::read_to_string(home.path("asked")).unwrap()
}

fn key(rest: &str) -> String {
    format!("--windows-key=pkcs11:{rest}?module-path={LIBRARY}")
}

fn package(home: &Home, flags: &[&str]) -> Ended {
    let common = ["package", "--type=msi", "--components=bin", "--package-version=1.2.3"];
    home.fleetctl(common.iter().chain(flags))
}

#[test]
fn keys_in_a_token_sign_installers_and_their_programs() {
    let home = home().with("FLEETCTL_WINDOWS_PASSPHRASE", "1234");
    let signed = |home: &Home, name: &str| {
        let certificate = format!("--windows-certificate={name}.crt");
        package(home, &[&certificate, &key(&format!("token=Office;object={name}"))]).ok();
        let msi = home.path("fleetd-1.2.3-x64.msi");
        let said = verify(home, name, &msi);
        assert!(said.contains("Succeeded"), "{name}: {said}");
        std::fs::read(msi).unwrap()
    };
    let [by_library, ..] = ["code", "p256", "p384"].map(|name| signed(&home, name));
    home.write("pin", "1234\n");
    let pin = home.path("pin");
    let by_file = format!("{}&pin-source=file:{}", key("id=%01;type=private"), pin.display());
    package(&home, &["--windows-certificate=code.crt", &by_file]).ok();
    let said = judge(&home, &home.path("fleetd-1.2.3-x64.msi"));
    assert!(said.contains("Succeeded"), "{said}");
    let home = home.with(TOOL, WITNESS);
    let [by_tool, ..] = ["code", "p256", "p384"].map(|name| signed(&home, name));
    assert!(by_library == by_tool, "RSA does not sign the same by either way");
    let asked = asked(&home);
    for mechanism in ["RSA-PKCS", "ECDSA"] {
        assert!(asked.contains(&format!("--sign --mechanism {mechanism} ")), "{asked}");
    }
    assert!(!asked.split([' ', '=', '\n']).any(|word| word == "1234"), "the PIN in {asked}");
    let others = asked.replace("env:FLEETCTL_TOKEN_PIN", "");
    assert!(!others.contains("FLEET"), "variables of fleetctl's in {asked}");
}

#[test]
fn a_key_in_a_token_signs_for_a_role_of_a_repository_of_updates() {
    let home = ["ROOT", "TARGETS", "SNAPSHOT", "TIMESTAMP"]
        .iter()
        .fold(home(), |home, role| home.with(&format!("FLEET_{role}_PASSPHRASE"), "correct horse"))
        .with("FLEET_P256_PASSPHRASE", "1234");
    updates(&home, &["init"]).ok();
    openssl(&home, "x509 -in p256.crt -pubkey -noout -out p256.pub");
    let signer = |key: &str| format!("--signer=p256.pub=pkcs11:{key}?module-path={LIBRARY}");
    let right = signer("token=Office;object=p256");
    let delegate = ["roles delegate", "orbit", "p256.pub", "--paths", "orbit/*/*/*"];
    updates(&home, &[&delegate[..], &[&right]].concat()).ok();
    let mut home = home;
    for tool in ["", WITNESS] {
        home = home.with(TOOL, tool).with("FLEET_P256_PASSPHRASE", "1234");
        let renew = |signer: &str| updates(&home, &["renew", "orbit", signer]);
        renew(&right).ok();
        updates(&home, &["verify"]).ok();
        let said = renew(&signer("token=Home;object=p256")).fails(2);
        assert!(said.contains("the key p256: there is no such token"), "{said}");
        let said = renew(&signer("token=Office;object=code")).fails(1);
        assert!(said.contains("could not sign the orbit metadata"), "{said}");
        home = home.with("FLEET_P256_PASSPHRASE", "4321");
        let said = updates(&home, &["renew", "orbit", &right]).fails(2);
        let wrong = said.contains("the key p256: the PIN is wrong");
        assert!(wrong && !said.contains("4321"), "{said}");
    }
    assert!(asked(&home).contains("--sign --mechanism ECDSA "), "pkcs11-tool was not asked");
}

fn verify(home: &Home, name: &str, msi: &Path) -> String {
    let authority = home.path(&format!("{name}.crt"));
    let args = [
        "verify".as_ref(),
        "-CAfile".as_ref(),
        authority.as_os_str(),
        "-in".as_ref(),
        msi.as_os_str(),
    ];
    tool("osslsigncode", args)
}

#[test]
fn a_key_in_a_token_signs_as_openpgp_has_it() {
    let home = home().with("FLEETCTL_OPENPGP_PASSPHRASE", "1234");
    let gnupg = home.path("gnupg");
    std::fs::create_dir(&gnupg).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&gnupg, mode).unwrap();
    let gpg = |args: &[&str]| {
        let common = ["--homedir", gnupg.to_str().unwrap(), "--batch", "--pinentry-mode=loopback"];
        tool("gpg", common.iter().chain(&["--passphrase", ""]).chain(args))
    };
    gpg(&["--quick-generate-key", "Example <it@example.com>", "rsa2048", "sign", "never"]);
    let secret = home.path("secret.asc");
    gpg(&["--armor", "--output", secret.to_str().unwrap(), "--export-secret-keys"]);
    home.write("public.asc", gpg(&["--armor", "--export"]));
    let ids = gpg(&["--with-keygrip", "--with-colons", "--list-secret-keys"]);
    let grip = ids.lines().find_map(|line| line.strip_prefix("grp:::::::::")).unwrap();
    import_openpgp(
        &home,
        &gnupg.join(format!("private-keys-v1.d/{}.key", grip.trim_end_matches(':'))),
    );
    home.write("bin/orbit", "#!/bin/sh\n");
    let command = format!("--openpgp-sign-command=pkcs11:object=gpg?module-path={LIBRARY}");
    let flags = [
        "package",
        "--type=deb",
        "--components=bin",
        "--without-osqueryd",
        "--openpgp-key=public.asc",
        &command,
    ];
    home.fleetctl(flags.into_iter().chain(["--outfile=a.deb"])).ok();
    home.fleetctl(["package", "verify", "--key=public.asc", "a.deb"]).ok();
    let home = home.with(TOOL, WITNESS);
    home.fleetctl(flags.into_iter().chain(["--outfile=b.deb"])).ok();
    assert!(asked(&home).contains("--sign --mechanism RSA-PKCS "), "pkcs11-tool was not asked");
    let [by_library, by_tool] = ["a.deb", "b.deb"].map(|it| std::fs::read(home.path(it)).unwrap());
    assert!(by_library == by_tool, "RSA does not sign the same by either way");
}

/// Brings a key of gpg's, whose numbers are in an S-expression, into the token.
fn import_openpgp(home: &Home, path: &Path) {
    const CONVERT: &str = "
import re, subprocess, sys
text = open(sys.argv[1]).read().replace('\\n ', '')
def number(name):
    found = re.search(r'\\(' + name + r'\\s*#([0-9A-Fa-f\\s]+)#', text)
    return int(re.sub(r'\\s', '', found.group(1)), 16)
n, e, d, p, q = (number(name) for name in 'nedpq')
fields = {'version': 0, 'n': n, 'e': e, 'd': d, 'p': p, 'q': q, 'e1': d % (p - 1), 'e2': d % (q - 1), 'c': pow(q, -1, p)}
lines = ['asn1=SEQUENCE:key', '[key]'] + [f'{name}=INTEGER:{hex(value)}' for name, value in fields.items()]
open('asn1', 'w').write('\\n'.join(lines))
subprocess.run(['openssl', 'asn1parse', '-genconf', 'asn1', '-noout', '-out', 'gpg.der'], check=True)
subprocess.run(['openssl', 'pkcs8', '-topk8', '-nocrypt', '-inform', 'DER', '-in', 'gpg.der', '-out', 'gpg.p8'], check=True)
";
    let folder = home.path("");
    let args = [
        "-C".as_ref(),
        folder.as_os_str(),
        "python3".as_ref(),
        "-c".as_ref(),
        CONVERT.as_ref(),
        path.as_os_str(),
    ];
    tool("env", args);
    let import = format!("--import {} --token Office --pin 1234", home.path("gpg.p8").display());
    softhsm(home, &format!("{import} --label gpg --id 03"));
}

#[test]
fn what_is_wrong_with_a_token_is_told_before_any_work_and_never_the_pin() {
    let mut home = home();
    openssl(&home, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out twin.p8");
    import(&home, "twin", "04");
    import(&home, "twin", "05");
    for tool in ["", WITNESS] {
        home = home.with(TOOL, tool).with("FLEETCTL_WINDOWS_PASSPHRASE", "9876");
        refusals(&home);
        home = home.with("FLEETCTL_WINDOWS_PASSPHRASE", "1234");
        let refused = |name: &str, key: &str| {
            package(&home, &[&format!("--windows-certificate={name}.crt"), key]).fails(2)
        };
        let other = refused("code", &key("token=Office;object=nothing"));
        assert!(other.contains("there is no such key in the token"), "{other}");
        let other = refused("p256", &key("token=Office;object=twin"));
        assert!(other.contains("there are several such keys in the token: add id="), "{other}");
        let other = refused("p256", &key("token=Office;object=code"));
        assert!(other.contains("cannot be used"), "{other}");
    }
    let home = home.with(TOOL, "/nowhere");
    let flags = ["--windows-certificate=code.crt", &key("object=code")];
    let said = package(&home, &flags).fails(2);
    assert!(said.contains("there is no program `/nowhere`") && said.contains("opensc"), "{said}");
}

/// What is refused where the PIN is wrong.
fn refusals(home: &Home) {
    let with = |flags: &[&str], problem: &str| {
        let certificate = "--windows-certificate=code.crt";
        let said = package(home, &[&[certificate], flags].concat()).fails(2);
        assert!(said.contains(problem), "{problem:?} is missing in {said}");
        assert!(!said.contains("9876") && !said.contains("panicked"), "{said}");
    };
    with(&[&key("token=Office;object=code")], "the PIN is wrong");
    with(&[&key("token=Home;object=code")], "there is no such token");
    with(
        &["--windows-key=pkcs11:object=code?module-path=/nowhere.so"],
        "the library `/nowhere.so`",
    );
    let shown = format!("{}&pin-value=9876", key("object=code"));
    with(&[&shown], "the PIN in it");
}
