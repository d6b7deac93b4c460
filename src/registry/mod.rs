//! The client of the OCI distribution spec 1.1: what brik says to registries, and what `ADD https://…` fetches.
//!
//! The only asynchronous room. [`Client`] is a blocking door: clone it, call it from any number of plain threads.
//!
//! | file | does |
//! |---|---|
//! | `client` | [`Client`], its options and its runtime |
//! | `manifests`, `tags`, `pull`, `push`, `copy`, `delete`, `preflight`, `greet`, `fetch` | the operations, one `impl Client` each |
//! | `session` | one authorised, retried conversation with an endpoint |
//! | `endpoint` | registry name → URL, TLS trust, mirrors |
//! | `auth`, `challenge`, `token` | 401 → token; which scopes; who remembers them |
//! | `credentials`, `docker_config`, `helper` | who we are, and from where we know it |
//! | `unusable`, `places` | what of it cannot be used, and why; where all of it is |
//! | `login_file`, `json_fields` | docker's configuration, changed by a login |
//! | `http`, `connector`, `redirect`, `pace` | one HTTP exchange: connections, redirects, silence and dripping, byte counts |
//! | `retry`, `budget`, `long_wait` | when to ask again, how often at all, and what is told of it |
//! | `error`, `refusal`, `reply`, `repeated` | what went wrong, in the registry's own words, and what of them is not told |

mod auth;
mod budget;
mod challenge;
mod client;
mod connector;
mod copy;
mod counters;
mod credentials;
mod delete;
mod docker_config;
mod endpoint;
mod error;
mod fetch;
mod greet;
mod helper;
mod http;
mod json_fields;
mod login_file;
mod long_wait;
mod manifests;
mod pace;
mod places;
mod preflight;
mod pull;
mod push;
mod redirect;
mod refusal;
mod repeated;
mod reply;
mod retry;
mod session;
mod tags;
mod token;
mod unusable;

#[cfg(test)]
mod tests;

pub use challenge::{Challenge, parse as parse_challenges};
pub use client::{Client, ClientOptions, Proxies, RegistryOptions};
pub use counters::Counts;
pub use credentials::{Credential, Credentials, Login, Secret};
pub use error::{At, Error, Shown};
pub use fetch::FetchResponse;
pub use greet::Greeting;
pub use login_file::{Kept, LoginFile};
pub use long_wait::LongWait;
pub use manifests::Resolved;
pub use places::Place;
pub use push::{Offer, Pushed, Upload};
pub use reply::Reply;
pub use retry::RetryPolicy;
pub use token::Token;
pub use unusable::{Flaw, Unusable};
