//! TUF repositories.
