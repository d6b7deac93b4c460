//! Crashes, simulated: `simulated` does what the store asks of the disk and keeps a log of it, `crash` makes any state that a crash at some
//! point of that log may leave, and `crashes` opens the store in it.

mod crash;
mod crashes;
mod simulated;
