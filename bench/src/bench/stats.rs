//! What many windows come to.

use std::time::Duration;

/// The middle of some values, and how far they go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let [min, max] = [*values.first()?, *values.last()?];
        let median = match count % 2 {
            1 => values[count / 2],
            _ => (values[count / 2 - 1] + values[count / 2]) / 2.0,
        };
        Some(Self {
            median,
            min,
            max,
            count,
        })
    }
}

/// How far the CPUs are apart, by the round trip of a cache line.
///
/// Two CPUs of one die take 60 to 150 ns, those that a host has placed on two sockets 300 and
/// more; contended designs differ by up to three times between the two. What lies between is
/// a machine of its own: one with a mesh, or a host that moved a CPU meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distance {
    Near,
    Middle,
    Far,
}

pub const NEAR: Duration = Duration::from_nanos(90);
pub const FAR: Duration = Duration::from_nanos(200);

impl Distance {
    pub const ALL: [Self; 3] = [Self::Near, Self::Middle, Self::Far];

    pub fn of(round_trip: Duration) -> Self {
        match round_trip {
            near if near < NEAR => Self::Near,
            far if far > FAR => Self::Far,
            _ => Self::Middle,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Middle => "middle",
            Self::Far => "far",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(Spread::of(vec![]), None);
        let odd = Spread::of(vec![9.0, 1.0, 2.0]).expect("values");
        assert_eq!(
            (odd.median, odd.min, odd.max, odd.count),
            (2.0, 1.0, 9.0, 3)
        );
        let even = Spread::of(vec![4.0, 100.0, 1.0, 2.0]).expect("values");
        assert_eq!(even.median, 3.0);
    }

    #[test]
    fn distances_split_at_their_bounds() {
        let at = |nanos| Distance::of(Duration::from_nanos(nanos));
        assert_eq!([60, 89].map(at), [Distance::Near; 2]);
        assert_eq!([90, 121, 200].map(at), [Distance::Middle; 3]);
        assert_eq!([201, 350].map(at), [Distance::Far; 2]);
    }
}
