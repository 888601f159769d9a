//! Making and connecting sockets.
