//! Messages to rings.
