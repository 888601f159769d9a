//! Moving data between pipes and files, and making pipes.
