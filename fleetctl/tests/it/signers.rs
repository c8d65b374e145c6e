//! Keys of a repository of updates that are not in its folder: with programs, and of another repository.

use crate::{
    run::{Home, tool},
    updates::{ADD, updates, with_passphrases},
};

pub(crate) fn executable(home: &Home, name: &str, text: &str) {
    let path = home.write(name, text);
    tool("chmod", ["755", path.to_str().unwrap()]);
}

#[test]
fn a_program_signs_in_place_of_a_key_file() {
    let home = with_passphrases();
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let (private, public) = (home.path("elsewhere.pem"), home.path("osq.pub"));
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    tool("openssl", [&["genpkey"], &curve[..], &["-out", private]].concat());
    tool("openssl", ["pkey", "-in", private, "-pubout", "-out", public]);
    let script = "#!/bin/sh\nread -r protocol scheme key\n\
        [ \"$protocol $scheme ${#key}\" = 'fleetd-sign-1 ecdsa-p256-sha256 64' ] || exit 1\n\
        exec openssl dgst -sha256 -sign elsewhere.pem\n";
    executable(&home, "sign", script);
    executable(&home, "lie", "#!/bin/sh\ncat\n");
    let delegate = ["roles delegate", "osquery", "osq.pub", "--paths", "osqueryd/*/*/*"];
    let with = |signer: &str| updates(&home, &[&delegate[..], &["--signer", signer]].concat());
    let said = updates(&home, &delegate).fails(1);
    assert!(said.contains("0 of its keys are here") && said.contains("--signer"), "{said}");
    let said = with("osq.pub=exec:./lie").fails(1);
    assert!(said.contains("what came is no signature by the key"), "{said}");
    let said = with("osq.pub").fails(2);
    assert!(said.contains("it is not FILE=exec:PROGRAM or FILE=pkcs11:KEY"), "{said}");
    with("osq.pub=exec:./sign").ok();
    updates(&home, &["verify"]).ok();
    updates(&home, &["renew", "osquery", "--signer", "osq.pub=exec:./sign"]).ok();
    updates(&home, &["renew", "osquery", "--stage"]).ok();
    updates(&home, &["change sign", "--signer", "osq.pub=exec:./sign"]).ok();
    updates(&home, &["change apply"]).ok();
}

#[test]
fn another_repository_is_gone_on_with() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\necho orbit\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    home.fleetctl([&ADD[..], &["--tag", "stable"]].concat()).ok();
    let from = ["updates", "migrate", "--path", "new", "--from"];
    let said = home.fleetctl([&from[..], &["nowhere"]].concat()).fails(2);
    assert!(said.contains("`nowhere` is not the folder of a TUF repository"), "{said}");
    let targets = ["tuf", "--key", "tuf/keys/targets.pem"];
    let said = home.fleetctl([&from[..], &targets].concat()).fails(1);
    assert!(
        said.contains("0 of the 1 keys are here that must sign the next root\nhelp: "),
        "{said}"
    );
    let both = [&from[..], &targets, &["--key", "tuf/keys/root.pem"]].concat();
    let made = home.fleetctl(both);
    assert!(made.stderr.contains("the keys of snapshot are not here"), "{}", made.stderr);
    made.ok();
    home.fleetctl(["updates", "verify", "--path", "new"]).ok();
    home.fleetctl(["updates", "timestamp", "--path", "new"]).ok();
    let package = [
        "package",
        "--type",
        "deb",
        "--without-osqueryd",
        "--update-url",
        "new/repository",
        "--update-roots",
        "tuf/repository/1.root.json",
    ];
    home.fleetctl(package).ok();
}
