//! Sets of flags as types.

use std::fmt;

/// Declares a type of flags: a number, its named values, and `|`.
macro_rules! flags {
    (
        $(#[$type_doc:meta])*
        $name:ident: $bits:ty {
            $($(#[$doc:meta])* $flag:ident = $value:expr,)*
        }
    ) => {
        $(#[$type_doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) $bits);

        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);
            $($(#[$doc])* pub const $flag: Self = Self($value);)*

            /// These bits, whether they have a name here or not: for the flags of a later
            /// kernel.
            pub const fn from_bits(bits: $bits) -> Self {
                Self(bits)
            }

            /// The bits as the kernel takes them.
            pub const fn bits(self) -> $bits {
                self.0
            }

            /// Whether all of these flags are set.
            pub const fn contains(self, flags: Self) -> bool {
                self.0 & flags.0 == flags.0
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                *self = *self | other;
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let named: &[(&str, $bits)] = &[$((stringify!($flag), $value)),*];
                let named = named.iter().map(|&(name, bits)| (name, bits.into()));
                $crate::flags::names(f, self.0.into(), named)
            }
        }
    };
}
pub(crate) use flags;

/// The names of what is set, with `|` in between; what has no name as a number.
pub(crate) fn names(
    f: &mut fmt::Formatter<'_>,
    mut bits: u64,
    named: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let mut between = "";
    for (name, flag) in named {
        if flag != 0 && bits & flag == flag {
            bits &= !flag;
            write!(f, "{between}{name}")?;
            between = " | ";
        }
    }
    match (bits, between) {
        (0, "") => f.write_str("NONE"),
        (0, _) => Ok(()),
        _ => write!(f, "{between}{bits:#x}"),
    }
}

#[cfg(test)]
mod tests {
    flags! {
        /// For the test.
        Two: u16 {
            /// The first.
            ONE = 1,
            /// The other.
            HIGH = 1 << 15,
        }
    }

    #[test]
    fn flags_add_up_and_say_what_they_are() {
        let mut both = Two::ONE | Two::HIGH;
        assert_eq!(both.bits(), 0x8001);
        assert!(both.contains(Two::HIGH) && !Two::ONE.contains(both));
        assert_eq!(format!("{both:?}"), "ONE | HIGH");
        both |= Two::from_bits(6);
        assert_eq!(format!("{both:?}"), "ONE | HIGH | 0x6");
        assert_eq!(
            format!("{:?} {:?}", Two::NONE, Two::from_bits(2)),
            "NONE 0x2"
        );
        assert_eq!(Two::default(), Two::NONE);
    }
}
