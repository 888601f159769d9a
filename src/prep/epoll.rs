//! Epoll instances.
