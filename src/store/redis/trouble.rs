//! What an answer of Redis says of the connection that it came on, and of the node at its other end.

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The slot has gone to another node.
    Moved,
    /// It is a replica, or became one.
    Replica,
    /// It reads its data, and serves nobody meanwhile.
    Loading,
    /// The cluster serves nobody, as this node sees it.
    ClusterDown,
    /// It has fewer replicas than it was told to have for a write: it may be the one that was left behind.
    Alone,
    /// Its replicas did not confirm what it did: nobody may hear of it.
    Unconfirmed,
    /// No answer came within the time, or none that can be read: what comes next on it may be anyone's.
    Broken,
}

impl Trouble {
    pub fn why(self) -> &'static str {
        match self {
            Self::Moved => "the keys have moved to another node",
            Self::Replica => "it answers as a replica does",
            Self::Loading => "it is loading its data",
            Self::ClusterDown => "its cluster is down",
            Self::Alone => "it has too few replicas for a write",
            Self::Unconfirmed => "its replicas did not confirm what it did",
            Self::Broken => "it gave no answer within the time, or broke",
        }
    }

    /// Whether all connections to that node are of no use, not this one alone.
    pub fn is_of_node(self) -> bool {
        self != Self::Broken
    }

    /// What the error says of the connection. While a slot moves (ASK, TRYAGAIN) its keys are on two nodes, and no script
    /// that names them all runs on either: the connection stays, and whoever asks tries again.
    pub fn of_error(error: &RedisError) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(kind) => Self::of_kind(kind),
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => Some(Self::Broken),
            _ => error.code().and_then(Self::of_code),
        }
    }

    /// An error that the server gave comes as a value, alone or among others.
    pub fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::ServerError(error) => Self::of_server(error),
            Value::Array(values) => values.iter().find_map(Self::of_value),
            _ => None,
        }
    }

    fn of_server(error: &ServerError) -> Option<Self> {
        error.kind().map_or_else(|| Self::of_code(error.code()), Self::of_kind)
    }

    fn of_kind(kind: ServerErrorKind) -> Option<Self> {
        match kind {
            ServerErrorKind::Moved => Some(Self::Moved),
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown => Some(Self::Replica),
            ServerErrorKind::BusyLoading => Some(Self::Loading),
            ServerErrorKind::ClusterDown => Some(Self::ClusterDown),
            _ => None,
        }
    }

    fn of_code(code: &str) -> Option<Self> {
        (code == "NOREPLICAS").then_some(Self::Alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_by_its_meaning() {
        for (line, trouble) in [
            ("-MOVED 1 h:1", Some(Trouble::Moved)),
            ("-ASK 1 h:1", None),
            ("-TRYAGAIN Multiple keys request during rehashing of slot", None),
            ("-CLUSTERDOWN Hash slot not served", Some(Trouble::ClusterDown)),
            ("-READONLY You can't write against a read only replica.", Some(Trouble::Replica)),
            ("-MASTERDOWN Link with MASTER is down", Some(Trouble::Replica)),
            ("-LOADING Redis is loading the dataset in memory", Some(Trouble::Loading)),
            ("-NOREPLICAS Not enough good replicas to write.", Some(Trouble::Alone)),
            ("-MISCONF Errors writing to the AOF file", None),
            ("-MISSING the sale is not installed", None),
            ("-ERR WAIT cannot be used with replica instances", None),
        ] {
            let value = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
            assert_eq!(Trouble::of_value(&value), trouble, "{line}");
            let error = value.extract_error().unwrap_err();
            assert_eq!(Trouble::of_error(&error), trouble, "{line}");
        }
    }
}
