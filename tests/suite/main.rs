//! Tests of the binary: each runs `brik` as a user would, in a directory, home and store of its own, against a real registry
//! on loopback. One file, one subject. As root they take the root rung of the sandbox, else the rootless one.
//! `support` is what they are written in.

mod auth;
mod base;
mod build;
mod cache;
mod cache_mounts;
mod check;
mod check_formats;
mod chroot;
mod config;
mod confinement;
mod contexts;
mod copy;
mod corpus;
mod counters;
mod differential;
mod doctor;
mod errors;
mod explain;
mod forges;
mod ghcr;
mod git;
mod handover;
mod help;
mod house;
mod inspect;
mod labels;
mod lazy_copy;
mod lint;
mod lock;
mod login;
mod monorepo;
mod options;
mod output;
mod pipeline;
mod policy;
mod progress;
#[path = "../properties/mod.rs"]
mod properties;
mod push;
mod random;
mod readers;
mod remote_cache_commands;
mod report;
mod rootless;
mod roundtrip;
mod run;
mod screen;
mod secrets;
mod shared_cache;
mod since;
mod source_date_epoch;
mod support;
mod tags;
mod why;
