//! Networks that an organization lets its people and keys ask from.

use std::net::IpAddr;

use ipnet::IpNet;

/// How many an organization may name.
const MAX: usize = 100;

/// Networks, each once; none of them means anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads networks (`203.0.113.0/24`) and addresses; tells what is none.
    pub(super) fn read(texts: &[String]) -> Result<Self, String> {
        if texts.len() > MAX {
            return Err(format!("must be at most {MAX}"));
        }
        let mut networks = Vec::new();
        for text in texts {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let network: IpNet = network.map_err(|_| format!("`{text}` is no network"))?;
            networks.push(network.trunc());
        }
        networks.sort();
        networks.dedup();
        Ok(Self(networks))
    }

    /// Whether `address` is in one of them. IPv4 addresses in IPv6's clothes are IPv4.
    pub(super) fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.is_empty() || self.0.iter().any(|network| network.contains(&address))
    }

    pub(super) fn to_list(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Networks, String> {
        Networks::read(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// Rows: T9
    #[test]
    fn an_address_is_in_a_network_or_not() {
        let some = read(&["203.0.113.77/24", "2001:db8::/32", "198.51.100.7"]).unwrap();
        assert_eq!(some.to_list(), ["198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"]);
        for (address, admitted) in [
            ("203.0.113.1", true),
            ("::ffff:203.0.113.1", true),
            ("2001:db8:1::1", true),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db9::1", false),
        ] {
            assert_eq!(some.admit(address.parse().unwrap()), admitted, "{address}");
        }
        assert!(read(&[]).unwrap().admit("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "x", "203.0.113.0/33", "203.0.113", "*"] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
        assert!(read(&["192.0.2.1"; MAX + 1]).is_err());
    }
}
