//! brik.lock.

use brik::config::{Lock, Source};

use super::findings;

pub fn check(text: &str) {
    let source = Source::new("brik.lock", text);
    let lock = match Lock::parse(&source) {
        Ok(lock) => lock,
        Err(found) => {
            assert!(found.has_errors());
            return findings::check(&found.0);
        }
    };
    let written = lock.to_text();
    let again = Lock::parse(&Source::new("brik.lock", written.clone())).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again.bases, lock.bases);
    assert_eq!(again.to_text(), written);
    assert_eq!(lock.pins().len(), lock.bases.len());
    for name in lock.bases.keys() {
        let place = lock.place(name).expect("what was read has a place");
        findings::inside(place);
        assert_eq!(name.tagged().as_ref(), Some(name), "a tag is held, nothing else");
    }
}
