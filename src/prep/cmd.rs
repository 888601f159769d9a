//! Commands to a device or a socket.
