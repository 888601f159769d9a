//! Arithmetic on ring counters: pure, wrapping, without order.
//!
//! The kernel's counters are 32 bits and wrap; the private ones are 64 bits and do
//! not. Nothing here compares two counters with `<`.

/// The 64-bit counter that `low` is the lower half of, nearest to `near`.
///
/// Exact while the two are less than 2^31 apart.
#[inline(always)]
pub(crate) fn extend(low: u32, near: u64) -> u64 {
    let distance = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add(distance as i64 as u64)
}

/// How far `to` is ahead of `from`; negative when it is behind.
#[inline(always)]
pub(crate) fn ahead(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from) as i64
}

/// The stamp of one ticket: 48 bits of ticket, 16 bits of batch length.
///
/// Length 0 says that a submitter found the ticket unready with others behind it,
/// and left them to whoever makes it ready. Only the first ticket of a batch is
/// stamped. Tickets repeat after 2^48 pushes, half a year at 16 million a second,
/// and then matter only if the cell was never stamped in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) u64);

/// What a stamp says about the ticket that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch of this length is ready.
    Ready(u32),
    /// Of an earlier lap, or wanted: not ready.
    Older,
    /// Of a later lap: the looker's tail is stale.
    Newer,
}

const LEN_BITS: u32 = 16;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;

impl Stamp {
    pub(crate) fn ready(ticket: u64, len: u32) -> Self {
        debug_assert!(len > 0 && u64::from(len) <= LEN_MASK);
        Self(ticket << LEN_BITS | u64::from(len))
    }

    pub(crate) fn wanted(ticket: u64) -> Self {
        Self(ticket << LEN_BITS)
    }

    /// A stamp that is older than `ticket` and all that follow it.
    pub(crate) fn before(ticket: u64) -> Self {
        Self::wanted(ticket.wrapping_sub(1))
    }

    #[inline(always)]
    pub(crate) fn look(self, ticket: u64) -> Found {
        // Of the ticket itself this is the length; else it is out of a length's range.
        match self.0.wrapping_sub(Self::wanted(ticket).0) {
            len @ 1..=LEN_MASK => Found::Ready(len as u32),
            behind if behind as i64 <= 0 => Found::Older,
            _ => Found::Newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extend_is_exact_on_both_sides_of_every_border() {
        let borders = [0u64, 1 << 31, 1 << 32, 3 << 32, u64::MAX - 5];
        for border in borders {
            for a in 0..20u64 {
                for b in 0..20u64 {
                    let near = border.wrapping_add(a).wrapping_sub(10);
                    let value = border.wrapping_add(b).wrapping_sub(10);
                    assert_eq!(extend(value as u32, near), value);
                }
            }
        }
        assert_eq!(extend(0x7fff_ffff, 0), 0x7fff_ffff);
        assert_eq!(extend(0x8000_0001, 1 << 32), (1 << 32) - 0x7fff_ffff);
    }

    #[test]
    fn stamps_tell_ready_older_and_newer_apart_across_the_48_bit_border() {
        for base in [0u64, u64::from(u32::MAX), (1 << 48) - 2, u64::MAX - 3] {
            for i in 0..8 {
                let ticket = base.wrapping_add(i);
                assert_eq!(Stamp::ready(ticket, 1).look(ticket), Found::Ready(1));
                assert_eq!(
                    Stamp::ready(ticket, 32768).look(ticket),
                    Found::Ready(32768)
                );
                assert_eq!(Stamp::wanted(ticket).look(ticket), Found::Older);
                let next = ticket.wrapping_add(256);
                assert_eq!(Stamp::ready(ticket, 3).look(next), Found::Older);
                assert_eq!(Stamp::ready(next, 3).look(ticket), Found::Newer);
                assert_eq!(Stamp::before(ticket).look(ticket), Found::Older);
            }
        }
    }
}
