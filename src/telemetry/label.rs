//! The macro behind every enum whose variants are counters: one index, one metric label and one line of help each.

/// Defines an enum of counted things: `/// Help. Variant = "label",`. The doc comment is also the help text that
/// operators read.
macro_rules! labelled_enum {
    ($(#[$attribute:meta])* $enum:ident { $($(#[doc = $help:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $enum {
            $($(#[doc = $help])+ $variant,)+
        }

        impl $enum {
            /// Every one, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it means and what to do about it.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii_start()),+ }
            }
        }
    };
}

pub(super) use labelled_enum;
