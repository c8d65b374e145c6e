//! The rules of `cargo xtask tidy`, as a test.

#[test]
#[expect(clippy::disallowed_methods, reason = "it starts the program under test")]
fn the_checkout_is_tidy() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_xtask")).arg("tidy").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
}
