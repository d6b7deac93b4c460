//! Answers by question, each asked once: by whichever thread of this process comes first, or by the process that handed them over.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::{Digest, Platform, Reference};
use crate::plan::{BaseImage, Checkout, Download};
use crate::source::GitRef;

/// What servers have said. Questions can hold credentials, as URLs do: never to be written to a disk.
#[derive(Default, Serialize, Deserialize)]
pub struct Answers {
    pub(super) bases: Asked<(Reference, Platform), BaseImage>,
    pub(super) layouts: Asked<(PathBuf, Option<String>, Platform), BaseImage>,
    /// By service too: another one may have no right to see it.
    pub(super) downloads: Asked<(String, String, Option<Digest>), Download>,
    pub(super) checkouts: Asked<(String, GitRef, bool), Checkout>,
}

/// Whoever asks while an answer is under way waits for it.
pub(super) struct Asked<K, T>(Mutex<HashMap<K, Answer<T>>>);

type Answer<T> = Arc<OnceLock<Result<Arc<T>, String>>>;

impl<K, T> Default for Asked<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Asked<K, T> {
    pub(super) fn ask(&self, key: K, find: impl FnOnce() -> Result<Arc<T>, String>) -> Result<Arc<T>, String> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        answer.get_or_init(find).clone()
    }
}

impl<K: Serialize, T: Serialize> Serialize for Asked<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serializer.collect_seq(asked.iter().filter_map(|(key, answer)| Some((key, answer.get()?.as_deref()))))
    }
}

impl<'de, K: Deserialize<'de> + Eq + Hash, T: Deserialize<'de>> Deserialize<'de> for Asked<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let known = Vec::<(K, Result<T, String>)>::deserialize(deserializer)?;
        let answered = |(key, answer): (K, Result<T, String>)| (key, Arc::new(OnceLock::from(answer.map(Arc::new))));
        Ok(Self(Mutex::new(known.into_iter().map(answered).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_is_not_asked_again_whatever_the_answer_was() {
        let asked: Asked<String, u32> = Asked::default();
        for (key, answer) in [("known", Ok(Arc::new(7))), ("refused", Err("no".to_owned()))] {
            let _ = asked.ask(key.to_owned(), || answer);
        }
        let handed: Asked<String, u32> = serde_json::from_slice(&serde_json::to_vec(&asked).unwrap()).unwrap();
        assert_eq!(handed.ask("known".to_owned(), || panic!("asked again")), Ok(Arc::new(7)));
        assert_eq!(handed.ask("refused".to_owned(), || panic!("asked again")), Err("no".to_owned()));
        assert_eq!(handed.ask("new".to_owned(), || Ok(Arc::new(8))), Ok(Arc::new(8)));
    }
}
