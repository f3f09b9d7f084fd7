//! Where to listen: `--gdb ADDRESS`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where GDB connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "give PORT, 127.0.0.1:PORT, [::1]:PORT, or the path of a Unix socket";
        if text.is_empty() {
            return Err(FORMS.to_owned());
        }
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let port = |digits: &str| {
            digits.parse().map_err(|_| format!("'{digits}' is no port: it is a number from 0 to 65535"))
        };
        let loopback = |port| Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return port(text).map(loopback);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        match text.rsplit_once(':') {
            Some(("" | "localhost", digits)) => port(digits).map(loopback),
            Some((host, _)) => Err(format!("'{host}' is no address: {FORMS}")),
            None => Ok(Self::Unix(text.into())),
        }
    }
}

impl fmt::Display for Address {
    /// As GDB's `target remote` wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            // Without a slash it would be a host's name.
            Self::Unix(path) if path.components().count() == 1 && path.is_relative() => {
                write!(f, "./{}", path.display())
            }
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for local in ["1234", ":1234", "localhost:1234", "127.0.0.1:1234"] {
            assert_eq!(shown(local).as_deref(), Ok("127.0.0.1:1234"));
        }
        assert_eq!(shown("[::1]:0").as_deref(), Ok("[::1]:0"));
        assert_eq!(shown("/tmp/a:b").as_deref(), Ok("/tmp/a:b"));
        assert_eq!(shown("vm.sock").as_deref(), Ok("./vm.sock"));
        for wrong in ["", "65536", ":", ":x", "host:1", "1.2.3:4", "::1:1"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
        let local = |text: &str| text.parse::<Address>().is_ok_and(|address| address.is_local());
        assert!(local("1") && local("[::1]:1") && local("127.8.8.8:1") && local("./x"));
        assert!(!local("0.0.0.0:1") && !local("[::]:1") && !local("192.168.0.1:1"));
    }
}
