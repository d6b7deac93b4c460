//! Runs tasks on scoped threads, each after those that it needs. Tasks are of lanes, each with threads of its own: what computes and
//! what waits for the network do not take each other's place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, PoisonError};

use petgraph::Direction;
use petgraph::graphmap::{DiGraphMap, NodeTrait};

/// An edge leads from a task to one that needs it. Lesser tasks of a lane are started first.
pub type TaskGraph<T> = DiGraphMap<T, ()>;

struct Queue<T, E> {
    ready: BTreeSet<T>,
    /// How many others each is waiting for.
    waiting: BTreeMap<T, usize>,
    running: usize,
    /// A task has panicked: nobody waits for what it would have made ready.
    broken: bool,
    /// A task has failed after which none is started.
    ended: bool,
    errors: Vec<E>,
}

/// Wakes the other threads up if a task panics, so that the panic is told instead of waited for.
struct Alarm<'a, T, E>(&'a Mutex<Queue<T, E>>, &'a Condvar);

impl<T, E> Drop for Alarm<'_, T, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).broken = true;
            self.1.notify_all();
        }
    }
}

/// Runs every task once: those for which `in_second` holds on the second number of threads, the others on the first. What needs a task
/// that failed is not run; after an error for which `ends` holds no task is started any more, and those under way are finished. The errors
/// of all tasks that failed.
pub fn run<T: NodeTrait + Send + Sync, E: Send>(
    graph: &TaskGraph<T>,
    threads: (usize, usize),
    ends: impl Fn(&E) -> bool + Sync,
    in_second: impl Fn(T) -> bool + Sync,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), Vec<E>> {
    let needs = |task| graph.neighbors_directed(task, Direction::Incoming).count();
    let (ready, waiting): (Vec<_>, Vec<_>) = graph.nodes().map(|task| (task, needs(task))).partition(|&(_, n)| n == 0);
    let queue = Mutex::new(Queue {
        ready: ready.into_iter().map(|(task, _)| task).collect(),
        waiting: waiting.into_iter().collect(),
        running: 0,
        broken: false,
        ended: false,
        errors: Vec::new(),
    });
    let changed = Condvar::new();
    let goes_on = |q: &Queue<T, E>| !q.broken && !q.ended;
    let worker = |second: bool| {
        let mut q = queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = q.ready.iter().copied().find(|&task| in_second(task) == second);
            match next {
                Some(task) if goes_on(&q) => {
                    q.ready.remove(&task);
                    q.running += 1;
                    drop(q);
                    let alarm = Alarm(&queue, &changed);
                    let result = work(task);
                    drop(alarm);
                    q = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    q.running -= 1;
                    match result {
                        Ok(()) => release(graph, &mut q, task),
                        Err(error) => {
                            q.ended |= ends(&error);
                            q.errors.push(error);
                        }
                    }
                    changed.notify_all();
                }
                _ if !goes_on(&q) || (q.running == 0 && q.ready.is_empty()) => return,
                _ => q = changed.wait(q).unwrap_or_else(PoisonError::into_inner),
            }
        }
    };
    std::thread::scope(|scope| {
        let most = graph.node_count().max(1);
        for second in std::iter::repeat_n(false, threads.0.clamp(1, most)).chain(std::iter::repeat_n(true, threads.1.clamp(1, most))) {
            scope.spawn(move || worker(second));
        }
    });
    let errors = queue.into_inner().unwrap_or_else(PoisonError::into_inner).errors;
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Makes ready what waited only for `task`.
fn release<T: NodeTrait, E>(graph: &TaskGraph<T>, queue: &mut Queue<T, E>, task: T) {
    for next in graph.neighbors(task) {
        if let Some(left) = queue.waiting.get_mut(&next) {
            *left -= 1;
            if *left == 0 {
                queue.waiting.remove(&next);
                queue.ready.insert(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_task_runs_after_those_it_needs() {
        let graph = TaskGraph::from_edges([(0, 2), (1, 2), (2, 3)]);
        for jobs in [1, 2, 8] {
            let done = Mutex::new(Vec::new());
            run::<_, ()>(
                &graph,
                (jobs, 1),
                |_| true,
                |task| task == 3,
                |task| {
                    done.lock().unwrap().push(task);
                    Ok(())
                },
            )
            .unwrap();
            let done = done.into_inner().unwrap();
            assert_eq!(done.len(), 4);
            assert_eq!(&done[2..], [2, 3], "with {jobs} jobs");
        }
    }

    #[test]
    fn after_a_failure_nothing_new_is_started() {
        let graph = TaskGraph::from_edges([(0, 1), (1, 2), (0, 3)]);
        let started = AtomicUsize::new(0);
        let errors = run(
            &graph,
            (1, 1),
            |_| true,
            |_| false,
            |task| {
                started.fetch_add(1, Ordering::SeqCst);
                if task == 1 { Err(task) } else { Ok(()) }
            },
        );
        assert_eq!(errors, Err(vec![1]));
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_does_not_need_what_failed_goes_on_where_that_is_asked_for() {
        let graph = TaskGraph::from_edges([(0, 1), (1, 2), (0, 3), (3, 4), (2, 5), (4, 5), (0, 6)]);
        for jobs in [1, 4] {
            let ran = Mutex::new(BTreeSet::new());
            let work = |task| {
                ran.lock().unwrap().insert(task);
                if task == 1 || task == 6 { Err(task) } else { Ok(()) }
            };
            let mut errors = run(&graph, (jobs, 1), |_| false, |_| false, work).unwrap_err();
            errors.sort_unstable();
            assert_eq!((errors, ran.into_inner().unwrap()), (vec![1, 6], BTreeSet::from([0, 1, 3, 4, 6])), "with {jobs} jobs");
        }
    }

    #[test]
    fn a_panic_is_passed_on_and_keeps_nobody_waiting() {
        let graph = TaskGraph::from_edges([(0, 1), (1, 2)]);
        let panicking = |task| if task == 1 { panic!("on purpose") } else { Ok::<(), ()>(()) };
        let outcome = std::panic::catch_unwind(|| run(&graph, (2, 2), |_| true, |task| task == 2, panicking));
        assert!(outcome.is_err());
    }

    #[test]
    fn lanes_do_not_take_each_others_threads() {
        let graph = TaskGraph::from_edges([(0, 2), (1, 2)]);
        let barrier = std::sync::Barrier::new(2);
        run::<_, ()>(
            &graph,
            (1, 1),
            |_| true,
            |task| task == 1,
            |task| {
                if task < 2 {
                    barrier.wait();
                }
                Ok(())
            },
        )
        .unwrap();
    }

    #[test]
    fn independent_tasks_overlap() {
        let graph = TaskGraph::from_edges([(0, 2), (1, 2)]);
        let barrier = std::sync::Barrier::new(2);
        run::<_, ()>(
            &graph,
            (2, 1),
            |_| true,
            |_| false,
            |task| {
                if task < 2 {
                    barrier.wait();
                }
                Ok(())
            },
        )
        .unwrap();
    }
}
