//! From draft to spec.

use packager::{Compression, Draft, PackageSpec, SpecError};

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
        cpu_quota: Some(0),
        ..Draft::default()
    });
    let text = found.iter().map(|error| format!("{error}\n")).collect::<String>();
    snapbox::assert_data_eq!(
        text,
        snapbox::str![[r#"
the Fleet URL cannot be used: its scheme is `ftp`, not https
the update URL cannot be used: relative URL without a base
the proxy URL cannot be used: its scheme is `socks5`, not http
a server certificate contradicts insecure: it would not be looked at
the no-proxy list cannot be used: it is empty
the osquery database cannot be used: it is not an absolute path
the enroll secret cannot be used
a client certificate goes together with its key
the client certificate is not PEM: no certificate in it
the update root is not JSON: EOF while parsing an object at line 1 column 1
a CPU quota of 0 % is not within 1 and 10000 %

"#]]
    );
}

#[test]
fn url_and_secret_go_together() {
    let alone = Draft { fleet_url: Some("fleet.example.com".into()), ..Draft::default() };
    assert_eq!(errors(alone), [SpecError::UrlWithoutSecret]);
    let alone = Draft { enroll_secret: Some("secret".into()), ..Draft::default() };
    assert_eq!(errors(alone), [SpecError::SecretWithoutUrl]);
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
