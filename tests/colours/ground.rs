//! Where the colours live: network namespaces on a bridge, or, for who is not root, addresses of their own on this machine.

use crate::hosts::{self, Hosts};

pub enum Ground {
    Hosts(Hosts),
    Here,
}

impl Ground {
    pub fn new() -> Self {
        if hosts::can_be_made() { Self::Hosts(Hosts::make(2)) } else { Self::Here }
    }

    pub fn address(&self, i: usize) -> String {
        match self {
            Self::Hosts(hosts) => hosts.address(i),
            Self::Here => format!("127.0.0.{}", i + 2),
        }
    }

    /// Where nginx and the stores are, as the colours see them.
    pub fn middle(&self) -> String {
        match self {
            Self::Hosts(hosts) => hosts.stores(),
            Self::Here => "127.0.0.1".into(),
        }
    }

    /// What runs a command in colour `i`'s namespace.
    pub fn prefix(&self, i: usize) -> String {
        match self {
            Self::Hosts(hosts) => format!("ip netns exec {} ", hosts.namespace(i)),
            Self::Here => String::new(),
        }
    }

    /// Nothing goes to host `i` any more, and nothing comes from it; or all does again.
    pub fn vanish(&self, i: usize, has_vanished: bool) {
        if let Self::Hosts(hosts) = self {
            hosts.plug(i, !has_vanished);
        }
    }
}
