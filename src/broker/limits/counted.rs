//! Kinds of things that are counted: each has one name, in logs and metrics alike, and one counter.

/// Makes an enum of kinds, with every kind's name, and the struct of how often each came.
macro_rules! counted {
    (
        $(#[$doc:meta])*
        enum $Kind:ident {
            $($(#[$kind_doc:meta])* $kind:ident $name:literal,)+
        }
        $(#[$counts_doc:meta])*
        struct $Counts:ident;
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Kind {
            $($(#[$kind_doc])* $kind,)+
        }

        impl $Kind {
            /// Every kind.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$kind),+];

            /// Its name in logs, metrics and documentation.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }

        $(#[$counts_doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $Counts([u64; $Kind::ALL.len()]);

        impl $Counts {
            /// How many there were of one kind.
            pub fn of(&self, kind: $Kind) -> u64 {
                self.0[kind as usize]
            }

            /// Each kind's name, and how many there were.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                $Kind::ALL.into_iter().map(|kind| (kind.name(), self.of(kind)))
            }
        }
    };
}

pub(crate) use counted;
