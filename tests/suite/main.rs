//! Tests of the binary: each runs `brik` as a user would, in a directory, home and store of its own, against a real registry
//! on loopback. One file, one subject. As root they take the root rung of the sandbox, else the rootless one.
//! `support` is what they are written in.

mod auth;
mod base;
mod build;
mod cache;
mod check;
mod chroot;
mod config;
mod confinement;
mod copy;
mod errors;
mod house;
mod monorepo;
mod options;
mod output;
mod push;
mod readers;
mod rootless;
mod run;
mod secrets;
mod support;
