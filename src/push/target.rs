//! Whom events may be posted to: what the configuration names, and nobody else, whatever a name resolves to.
//!
//! The usual advice against forged requests, to block internal networks, is turned around here: all receivers are inside. So the
//! default is loopback and private networks (RFC 1918, RFC 4193), and whatever lies outside must be named. An address is looked at when
//! the connection is made, after the name was resolved, so a name that changes its address gains nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Networks inside a hospital.
const INSIDE: [&str; 6] = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Whom may be posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Network(IpNet),
    /// One port of an address.
    Port(SocketAddr),
    /// A host by its name, on one port or any.
    Host(String, Option<u16>),
}

/// Text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a network such as 10.0.0.0/8, or an address or host, with or without a port, such as 10.0.0.7:9000 or crm.hospital"
)]
pub struct AllowedError;

/// Why a URL cannot be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No URL of HTTP with a host.
    #[error("not a URL of HTTP, for example https://crm.hospital:9000/heyi")]
    NotHttp,
    /// User or password in it.
    #[error("holds credentials: the receiver knows Heyi by the signature, or by a client certificate")]
    Credentials,
    /// A fragment, which is never sent.
    #[error("holds a fragment (#…), which is never sent")]
    Fragment,
    /// The address is not on the list.
    #[error("the address is not on the list of [push] allow")]
    NotAllowed,
}

impl Default for Allowed {
    fn default() -> Self {
        Self(INSIDE.iter().filter_map(|network| network.parse().ok()).map(Entry::Network).collect())
    }
}

impl FromIterator<Allowed> for Allowed {
    fn from_iter<I: IntoIterator<Item = Allowed>>(lists: I) -> Self {
        Self(lists.into_iter().flat_map(|list| list.0).collect())
    }
}

impl FromStr for Allowed {
    type Err = AllowedError;

    /// One entry.
    fn from_str(text: &str) -> Result<Self, AllowedError> {
        if let Ok(network) = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            return Ok(Self(vec![Entry::Network(network)]));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(vec![Entry::Port(address)]));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| AllowedError)?)),
            None => (text, None),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        // `10.0.0` is a mistyped network and no name.
        let is_name = host.chars().all(legal) && host.chars().any(|c| c.is_ascii_alphabetic());
        if !is_name {
            return Err(AllowedError);
        }
        Ok(Self(vec![Entry::Host(host.to_ascii_lowercase(), port)]))
    }
}

impl Allowed {
    /// Checks all of a URL that can be known without resolving its name.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn check(&self, url: &Url) -> Result<(), TargetError> {
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(TargetError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let is_refused = address(url).is_some_and(|address| !self.takes(address, port)) || self.can_name_nobody(url);
        if is_refused { Err(TargetError::NotAllowed) } else { Ok(()) }
    }

    /// The part of the list that holds for this URL's host.
    fn of_host(&self, url: &Url) -> HostAllowed {
        let is_named = self.names(url);
        let networks = self.0.iter().filter_map(|entry| match entry {
            Entry::Network(network) => Some(*network),
            Entry::Port(_) | Entry::Host(..) => None,
        });
        HostAllowed { is_named, networks: networks.collect() }
    }

    fn names(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        self.0.iter().any(|entry| match entry {
            Entry::Network(_) | Entry::Port(_) => false,
            Entry::Host(name, port) => {
                name == host && port.is_none_or(|port| Some(port) == url.port_or_known_default())
            }
        })
    }

    fn takes(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|entry| match entry {
            Entry::Network(network) => network.contains(&address),
            Entry::Port(named) => (named.ip().to_canonical(), named.port()) == (address, port),
            Entry::Host(..) => false,
        })
    }

    /// A host by name that is not on the list, where the list has no networks it could be in.
    fn can_name_nobody(&self, url: &Url) -> bool {
        let has_networks = self.0.iter().any(|entry| matches!(entry, Entry::Network(_)));
        address(url).is_none() && !has_networks && !self.names(url)
    }
}

/// The address that a URL names directly.
fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

#[derive(Debug, Clone)]
struct HostAllowed {
    is_named: bool,
    networks: Vec<IpNet>,
}

impl HostAllowed {
    /// A host that is named may be anywhere but where no receiver is: link-local addresses are of cloud platforms' own services.
    fn takes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_nowhere = address.is_unspecified()
            || address.is_multicast()
            || match address {
                IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
        !is_nowhere && (self.is_named || self.networks.iter().any(|network| network.contains(&address)))
    }
}

/// Resolves names as the system does, and gives only addresses that may be posted to.
#[derive(Debug, Clone)]
pub(super) struct Resolver(Arc<HostAllowed>);

impl Resolver {
    pub(super) fn new(allowed: &Allowed, url: &Url) -> Self {
        Self(Arc::new(allowed.of_host(url)))
    }
}

/// Said where a name resolves to addresses of which none may be posted to.
#[derive(Debug)]
struct NoneAllowed;

impl fmt::Display for NoneAllowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name resolves to no address that [push] allow takes")
    }
}

impl std::error::Error for NoneAllowed {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is the URL's; the resolver's is not looked at.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|found| allowed.takes(found.ip())).collect();
            if found.is_empty() {
                return Err(Box::new(NoneAllowed) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Allowed {
        entries.iter().map(|entry| entry.parse::<Allowed>().unwrap()).collect()
    }

    #[test]
    fn by_default_only_what_is_inside_is_posted_to() {
        let check = |text: &str| Allowed::default().check(&text.parse().unwrap());
        for url in ["http://127.0.0.1:9000/heyi", "https://10.1.2.3", "http://[::1]:9000/", "http://crm.hospital/x?y=1"]
        {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in [
            "http://8.8.8.8/",
            "http://169.254.169.254/",
            "http://[2001:db8::1]/",
            "http://0.0.0.0/",
            "http://[::ffff:8.8.8.8]/",
        ] {
            assert_eq!(check(url), Err(TargetError::NotAllowed), "{url}");
        }
        assert_eq!(check("ftp://10.0.0.1/"), Err(TargetError::NotHttp));
        assert_eq!(check("http://u:p@10.0.0.1/"), Err(TargetError::Credentials));
        assert_eq!(check("http://10.0.0.1/#x"), Err(TargetError::Fragment));
    }

    #[test]
    fn a_list_takes_what_it_names_and_nothing_else() {
        let list = allowed(&["10.1.0.0/16", "CRM.hospital:9000", "192.168.0.7", "172.16.0.9:9000", "[fd00::1]:9000"]);
        let check = |text: &str| list.check(&text.parse().unwrap()).is_ok();
        assert!(check("http://10.1.2.3/") && check("http://192.168.0.7/") && check("https://crm.hospital:9000/"));
        assert!(!check("http://10.2.0.1/") && !check("http://127.0.0.1/"));
        assert!(check("http://172.16.0.9:9000/x") && check("http://[fd00::1]:9000/"));
        assert!(!check("http://172.16.0.9/") && !check("http://172.16.0.9:9001/") && !check("http://[fd00::1]/"));
        let names = allowed(&["crm.hospital:9000"]);
        assert!(names.check(&"https://crm.hospital:9000/".parse().unwrap()).is_ok());
        for url in ["https://crm.hospital/", "https://other.hospital:9000/"] {
            assert!(names.check(&url.parse().unwrap()).is_err(), "{url}");
        }
        for text in ["10.0.0.0/99", "10.0.0", "crm hospital", "crm:port", "", "*"] {
            assert_eq!(text.parse::<Allowed>(), Err(AllowedError), "{text}");
        }
    }

    #[test]
    fn what_a_name_resolves_to_must_be_allowed_too() {
        let takes = |list: &Allowed, url: &str, address: &str| {
            list.of_host(&url.parse().unwrap()).takes(address.parse().unwrap())
        };
        let named = allowed(&["crm.example"]);
        assert!(takes(&named, "http://crm.example/", "203.0.113.7"));
        assert!(!takes(&named, "http://crm.example/", "169.254.169.254"));
        assert!(!takes(&named, "http://other.example/", "203.0.113.7"));
        let inside = Allowed::default();
        assert!(takes(&inside, "http://crm.hospital/", "10.0.0.9"));
        assert!(takes(&inside, "http://crm.hospital/", "::ffff:10.0.0.9"));
        assert!(!takes(&inside, "http://crm.hospital/", "203.0.113.7"));
    }

    #[tokio::test]
    async fn a_name_that_resolves_elsewhere_is_not_connected_to() {
        let resolver = Resolver::new(&allowed(&["10.0.0.0/8"]), &"http://localhost:1/".parse().unwrap());
        let refused = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.to_string().contains("[push] allow"), "{refused}");
        let resolver = Resolver::new(&Allowed::default(), &"http://localhost:1/".parse().unwrap());
        assert!(resolver.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
