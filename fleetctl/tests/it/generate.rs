//! What follows from the command line's description, read by those it is for.

use crate::run::{Home, tool};

#[test]
fn completions_are_there_for_every_shell_and_bash_can_load_its_own() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.fleetctl(["generate", "completions", shell]).ok();
        assert!(script.contains("enroll-secrets"), "{shell}");
        home.write(shell, script);
    }
    let bash = home.path("bash");
    tool("bash", ["-n".as_ref(), bash.as_os_str()]);
    let asked = format!(
        "source {}; COMP_WORDS=(fleetctl devices li); COMP_CWORD=2; _fleetctl fleetctl li devices; \
         echo \"${{COMPREPLY[@]}}\"",
        bash.display()
    );
    assert_eq!(tool("bash", ["-c", &asked]).trim(), "list");
}

#[test]
fn groff_reads_every_manual_page_without_a_warning() {
    let home = Home::new();
    home.fleetctl(["generate", "man", "--out-dir", "man1"]).ok();
    let pages: Vec<_> =
        std::fs::read_dir(home.path("man1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 30, "{}", pages.len());
    for page in &pages {
        let output = crate::run::program("groff".as_ref())
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .arg(page)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
    assert!(home.path("man1/fleetctl-devices-list.1").is_file());
}

#[test]
fn the_reference_names_every_command_and_no_hidden_flag() {
    let text = Home::new().fleetctl(["generate", "markdown"]).ok();
    for command in ["package", "api-keys rotate", "debug connection", "updates add"] {
        assert!(text.contains(&format!("\n## `fleetctl {command}`\n")), "{command}");
    }
    assert!(text.contains("| `--enroll-secret-file <FILE>` |"));
    assert!(!text.contains("--local-wix-dir"));
    assert_eq!(text.matches("| `--color <WHEN>` |").count(), 1, "global options are told once");
}
