//! The same work for each of some items, on a bounded number of threads.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `work` for each item, at most `at_once` at the same time. After the first failure no further item is begun: that failure.
pub fn fan_out<T: Sync, E: Send>(items: &[T], at_once: usize, work: impl Fn(&T) -> Result<(), E> + Sync) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let has_failed = || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !has_failed()) {
                    if let Err(error) = work(item) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What `ask` answers for each item, in the order of the items; at most `at_once` are asked at the same time.
pub fn ask_all<T: Sync, A: Send>(items: &[T], at_once: usize, ask: impl Fn(&T) -> A + Sync) -> Vec<A> {
    let numbered: Vec<(usize, &T)> = items.iter().enumerate().collect();
    let answers = Mutex::new(Vec::with_capacity(items.len()));
    let Ok(()) = fan_out(&numbered, at_once, |(number, item)| {
        let answer = ask(item);
        answers.lock().unwrap_or_else(PoisonError::into_inner).push((*number, answer));
        Ok::<(), Infallible>(())
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_unstable_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_in_the_order_of_what_was_asked() {
        let slow_first = |item: &u64| {
            std::thread::sleep(std::time::Duration::from_millis(20 - item * 2));
            item * 10
        };
        assert_eq!(ask_all(&[1, 2, 3, 4, 5], 4, slow_first), [10, 20, 30, 40, 50]);
        assert_eq!(ask_all(&[], 4, slow_first), [0; 0]);
    }

    #[test]
    fn every_item_is_worked_on_once_and_never_more_at_once_than_allowed() {
        let (running, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (1..=100).collect();
        let work = |item: &usize| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            done.fetch_add(*item, Ordering::SeqCst);
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        assert_eq!(fan_out(&items, 3, work), Ok(()));
        assert_eq!(done.into_inner(), 5050);
        assert!(most.into_inner() <= 3);
        assert_eq!(fan_out(&[] as &[()], 3, |()| Err(1)), Ok(()));
    }

    #[test]
    fn after_a_failure_nothing_more_is_begun() {
        let begun = AtomicUsize::new(0);
        let failed = fan_out(&[1, 2, 3], 1, |item| {
            begun.fetch_add(1, Ordering::SeqCst);
            if *item == 2 { Err("two") } else { Ok(()) }
        });
        assert_eq!((failed, begun.into_inner()), (Err("two"), 2));
    }
}
