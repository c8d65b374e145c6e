//! `tests/cmd/*.trycmd`: the help of every command, and sessions that need no server.

#[test]
fn transcripts_are_as_written() {
    trycmd::TestCases::new()
        .env("FLEET_CONFIG", "/nonexistent/config.yaml")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .case("tests/cmd/*.trycmd")
        .case("tests/cmd/help/*.trycmd");
}

#[test]
fn every_command_has_a_transcript_of_its_help() {
    let reference = crate::run::Home::new().fleetctl(["generate", "markdown"]).stdout;
    for line in reference.lines().filter_map(|line| line.strip_prefix("## `")) {
        let command = line.trim_end_matches('`');
        let file = format!("tests/cmd/help/{}.trycmd", command.replace(' ', "-"));
        let transcript = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no {file}"));
        assert!(transcript.contains(&format!("$ {command} --help\n")), "{file}");
        assert!(transcript.contains("Examples:"), "{file} shows no example");
    }
}
