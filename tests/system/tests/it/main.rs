//! The system tests; see the crate's documentation.

#[cfg(test)]
mod access;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod eras;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod operation;
#[cfg(test)]
mod pinning;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod tour;
#[cfg(test)]
mod upstreams;
