//! `/etc/default/orbit`: the settings, each under a line that tells what it does.

use wire::{envfile, settings::vars};

use crate::{
    spec::PackageSpec,
    template::{Environment, Setting, rendered},
    tree::InstallPath,
};

pub(super) fn render(spec: &PackageSpec, service: &str, secret: &InstallPath) -> String {
    let settings = spec.settings().to_vars().into_iter().map(|(name, value)| Setting {
        meaning: meaning(name),
        line: envfile::render([(name, value.as_str())]).trim_end_matches('\n').to_owned(),
    });
    rendered(&Environment { service, secret, settings: settings.collect() })
}

fn meaning(name: &str) -> &'static str {
    match name {
        vars::FLEET_URL => "The server's address.",
        vars::INSECURE => "Do not check the server's certificate. For trials only.",
        vars::DEBUG => "Log more.",
        vars::HOST_IDENTIFIER => "What names this device: uuid (of the hardware) or instance.",
        vars::OSQUERY_DB => "Where osqueryd keeps its database.",
        vars::END_USER_EMAIL => "Whose device this is.",
        vars::ENABLE_SCRIPTS => "Let administrators run scripts and install software.",
        vars::DISABLE_SETUP_EXPERIENCE => "Skip what the server sets up on new devices.",
        vars::DISABLE_KEYSTORE => "Keep secrets in files for root alone, not encrypted by systemd.",
        vars::DEVICE_KEY => "Sign every request with a key that this device makes when it enrolls.",
        vars::BYPASS_END_USER_AUTH => "Enroll without asking the user to sign in.",
        vars::FLEET_DESKTOP => "Show the tray icon to users who are logged in.",
        vars::BROWSER_HOST => "The server's address in links that the tray icon opens.",
        vars::UPDATE_URL => "Where updates come from, if not from the server.",
        vars::UPDATE_INTERVAL => "How often to look for updates: 90s, 15m, 1h.",
        vars::UPDATE_RATE => "The most bytes a second to download updates with: 500k, 2M.",
        vars::DISABLE_UPDATES => "Never look for updates.",
        vars::ORBIT_CHANNEL => "Channel of the agent: stable, edge, or a version.",
        vars::OSQUERYD_CHANNEL => "Channel of osqueryd.",
        vars::DESKTOP_CHANNEL => "Channel of the tray icon.",
        vars::HTTPS_PROXY => "Proxy of the agent and osqueryd.",
        vars::NO_PROXY => "What is reached without the proxy: localhost,.example.com,10.0.0.0/8.",
        _ => "A setting of the agent.",
    }
}
