//! What must hold of any input, however odd. `tests/suite` checks it on the committed corpus and on random values, `fuzz/` on whatever
//! libFuzzer comes up with; so nothing here uses more than brik and the standard library.
//!
//! - `dockerfile`: a file's spans, lines and errors, and all that is read of its words later; `words`: expansion.
//! - `print`: a Dockerfile's text from what was parsed; `meaning`: what is left of a Dockerfile without its layout.
//! - `ignore`: `.dockerignore` against `reference`, the slow and obvious matcher.

pub mod dockerfile;
pub mod ignore;
pub mod meaning;
pub mod print;
pub mod reference;
pub mod words;
