//! From draft to spec.

use packager::{
    Compression, Draft, PackageSpec, SpecError,
    spec::{Field, Publisher},
};

use crate::fixture::{draft, spec};

fn errors(draft: Draft) -> Vec<SpecError> {
    PackageSpec::try_from(draft).expect_err("the draft contradicts itself").0
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let found = errors(Draft {
        fleet_url: Some("ftp://fleet".into()),
        enroll_secret: Some("two\nlines".into()),
        fleet_certificate: Some("no pem".into()),
        insecure: true,
        client_certificate: Some("no pem either".into()),
        update_url: Some("not a url".into()),
        update_root: Some("{".into()),
        proxy: Some("socks5://proxy".into()),
        no_proxy: Some(String::new()),
        osquery_db: Some("relative".into()),
        cpu_quota: Some(70_000),
        maintainer: "Example Inc.".into(),
        homepage: Some("example.com".into()),
        ..Draft::default()
    });
    let text = found.iter().map(|error| format!("{error}\n")).collect::<String>();
    snapbox::assert_data_eq!(
        text,
        snapbox::str![[r#"
the Fleet URL cannot be used: its scheme is `ftp`, not https
the update URL cannot be used: relative URL without a base
the proxy URL cannot be used: its scheme is `socks5`, not http
the homepage cannot be used: relative URL without a base
the server certificate contradicts insecure: it would not be looked at
the no-proxy list cannot be used: it is empty
the osquery database cannot be used: it is not an absolute path
the enroll secret cannot be used: it contains a control character
the client certificate goes together with the client key, which is missing
the client certificate cannot be used: no certificate in it
the update root cannot be used: it is not JSON: EOF while parsing an object at line 1 column 1
the maintainer cannot be used: it is not of the form `Name <user@example.com>`
the CPU quota cannot be used: 70000 % is not within 1 % and 10000 %

"#]]
    );
}

#[test]
fn url_and_secret_go_together() {
    let alone = Draft { fleet_url: Some("fleet.example.com".into()), ..Draft::default() };
    assert_eq!(
        errors(alone),
        [SpecError::Alone { field: Field::FleetUrl, with: Field::EnrollSecret }]
    );
    let alone = Draft { enroll_secret: Some("secret".into()), ..Draft::default() };
    assert_eq!(
        errors(alone),
        [SpecError::Alone { field: Field::EnrollSecret, with: Field::FleetUrl }]
    );
    assert!(spec(Draft::default()).settings().fleet_url.is_none());
}

#[test]
fn neither_drafts_nor_specs_print_secrets() {
    let secret = "s3cret with";
    assert!(!format!("{:?}", draft()).contains(secret));
    assert!(!format!("{:?}", spec(draft())).contains(secret));
}

#[test]
fn compressions_are_read_as_they_are_written() {
    for text in ["none", "gzip:1", "gzip:9", "xz:0", "zstd:19"] {
        assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
    }
    assert_eq!("zstd".parse::<Compression>().unwrap().to_string(), "zstd:3");
    for bad in ["", "gz", "gzip:0", "gzip:10", "zstd:20", "zstd:", "none:1", "xz:-1"] {
        assert!(bad.parse::<Compression>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_maintainer_is_a_name_and_an_address() {
    for good in ["IT <it@example.com>", "Jörg d'Example (IT) <joerg.d+it@example.co.uk>"] {
        assert_eq!(Publisher::new(good.into(), None).unwrap().maintainer(), good);
    }
    assert_eq!(Publisher::new("A B <a@b>".into(), None).unwrap().vendor(), "A B");
    for bad in [
        "",
        "IT",
        "it@example.com",
        "<it@example.com>",
        "IT <it>",
        "IT <a@b> <c@d>",
        "A, B <a@b>",
        "IT <a@b>\nDepends: x",
        "I\nT <a@b>",
        "IT <@b>",
        "IT <a@>",
    ] {
        assert!(Publisher::new(bad.into(), None).is_err(), "{bad:?}");
    }
}
