//! Stable ids. The console holds these, never row numbers.

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.trim_start_matches('#').parse().map(Self)
            }
        }
    };
}

number_id!(
    /// An alert in this store: a short number people can say on the telephone.
    AlertId
);
number_id!(
    /// A case.
    CaseId
);
number_id!(
    /// One undoable act.
    UndoId
);
number_id!(
    /// A dead letter.
    DeadLetterId
);
number_id!(
    /// A suppression.
    SuppressionId
);

macro_rules! word_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// `None` unless it is 1 to 64 of `A-Z a-z 0-9 . _ - @ :`, so that an id is always safe to show.
            pub fn new(s: impl Into<String>) -> Option<Self> {
                let s = s.into();
                let ok = (1..=64).contains(&s.len())
                    && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:".contains(&b));
                ok.then_some(Self(s))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

word_id!(
    /// A person of the roster, such as `alice`.
    PersonId
);
word_id!(
    /// A request to run an action: a ULID.
    RequestId
);
