//! Whether the server is reached through the proxy: `NO_PROXY` in curl's notation.

use std::net::IpAddr;

use url::{Host, Url};

/// Whether `no_proxy`, a list separated by commas, exempts `server`.
///
/// An entry is `*`, a domain (itself and everything below it, with or without a leading dot), an
/// address, or a network like `10.0.0.0/8`; a port after a domain or address must match too.
#[must_use]
pub fn exempts(no_proxy: &str, server: &Url) -> bool {
    no_proxy.split(',').map(str::trim).any(|entry| entry_matches(entry, server))
}

fn entry_matches(entry: &str, server: &Url) -> bool {
    if entry == "*" {
        return true;
    }
    let address = match server.host() {
        Some(Host::Domain(domain)) => return domain_matches(entry, domain, server),
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        None => return false,
    };
    if let Some((network, bits)) = entry.split_once('/') {
        return network_contains(network, bits, address);
    }
    if let Ok(entry) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return entry == address;
    }
    entry.parse().is_ok_and(|entry: std::net::SocketAddr| {
        entry.ip() == address && Some(entry.port()) == server.port_or_known_default()
    })
}

fn domain_matches(entry: &str, domain: &str, server: &Url) -> bool {
    let (name, port) = entry.split_once(':').map_or((entry, None), |(n, p)| (n, Some(p)));
    let name = name.trim_start_matches('.').to_ascii_lowercase();
    let domain = domain.trim_end_matches('.');
    let port_fits = port
        .is_none_or(|port| port.parse() == Ok(server.port_or_known_default().unwrap_or_default()));
    let name_fits = domain == name
        || domain.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.') && !name.is_empty());
    port_fits && name_fits
}

fn network_contains(network: &str, bits: &str, address: IpAddr) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let same = |difference: u128, width: u32| {
        bits <= width && difference.checked_shr(width - bits).unwrap_or(0) == 0
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(u128::from(network.to_bits() ^ address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            same(network.to_bits() ^ address.to_bits(), 128)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(no_proxy: &str, server: &str, expected: bool) {
        let server = Url::parse(server).unwrap();
        assert_eq!(exempts(no_proxy, &server), expected, "{no_proxy:?} {server}");
    }

    #[test]
    fn no_proxy_is_read_as_curl_reads_it() {
        check("", "https://fleet.example.com", false);
        check("*", "https://fleet.example.com", true);
        check("localhost, example.com", "https://fleet.example.com", true);
        check(".EXAMPLE.com", "https://fleet.example.com", true);
        check(".example.com", "https://example.com", true);
        check("example.com", "https://badexample.com", false);
        check("example.com:8443", "https://fleet.example.com", false);
        check("example.com:443", "https://fleet.example.com", true);
        check("10.0.0.0/8", "https://10.1.2.3", true);
        check("10.0.0.0/8", "https://11.1.2.3", false);
        check("10.1.2.3", "https://10.1.2.3:8080", true);
        check("10.1.2.3:8080", "https://10.1.2.3:8080", true);
        check("10.1.2.3:80", "https://10.1.2.3:8080", false);
        check("0.0.0.0/0", "https://10.1.2.3", true);
        check("fd00::/8", "https://[fd00::1]:1", true);
        check("[::1]", "https://[::1]:1", true);
        check("10.0.0.0/99", "https://10.1.2.3", false);
    }
}
