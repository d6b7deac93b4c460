//! Services in waves -> jobs.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::StepId;

/// GitHub's limit of jobs that one matrix makes.
pub const MOST_JOBS: usize = 256;

/// A service that is to be built.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub service: String,
    /// What has to run for it, and how many seconds that takes.
    pub steps: BTreeMap<StepId, f64>,
}

/// What one machine builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// From 1.
    pub wave: usize,
    pub services: Vec<String>,
    pub seconds: Option<f64>,
}

impl Job {
    /// Each service is in one job only: its first tells it from the others.
    pub fn name(&self) -> String {
        match &self.services[..] {
            [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second} and {} more", rest.len()),
            services => services.join(", "),
        }
    }
}

/// A job for each service.
pub fn one_each(waves: &[Vec<&str>]) -> Vec<Job> {
    let of = |(wave, services): (usize, &Vec<&str>)| {
        let job = move |service: &&str| Job { wave: wave + 1, services: vec![(*service).to_owned()], seconds: None };
        services.iter().map(job).collect::<Vec<_>>()
    };
    waves.iter().enumerate().flat_map(of).collect()
}

/// At most `shards` jobs a wave, and [`MOST_JOBS`] in all.
pub fn divide(mut waves: Vec<Vec<Work>>, shards: Option<usize>) -> Vec<Job> {
    // A chain that is longer than that ends in one job, which builds what is left in its order.
    if waves.len() > MOST_JOBS {
        let rest = waves.split_off(MOST_JOBS - 1);
        waves.push(rest.into_iter().flatten().collect());
    }
    let caps = caps(&waves.iter().map(Vec::len).collect::<Vec<_>>(), shards);
    let of =
        |(wave, (services, cap)): (usize, (Vec<Work>, usize))| balance(services, cap).into_iter().map(move |shard| shard.job(wave + 1));
    waves.into_iter().zip(caps).enumerate().flat_map(of).collect()
}

/// How many jobs each wave may have: of `sizes`, the largest give way first. There are no more than [`MOST_JOBS`] waves.
pub fn caps(sizes: &[usize], shards: Option<usize>) -> Vec<usize> {
    let mut caps: Vec<usize> = sizes.iter().map(|size| shards.map_or(*size, |shards| shards.min(*size))).collect();
    let mut excess = caps.iter().sum::<usize>().saturating_sub(MOST_JOBS);
    while excess > 0 {
        let Some(largest) = caps.iter_mut().max().filter(|cap| **cap > 1) else { break };
        *largest -= 1;
        excess -= 1;
    }
    caps
}

#[derive(Default)]
struct Shard {
    services: Vec<String>,
    /// What services share runs once.
    steps: BTreeSet<StepId>,
    seconds: f64,
}

impl Shard {
    /// What it takes with one more service.
    fn with(&self, work: &Work) -> f64 {
        self.seconds + work.steps.iter().filter(|(step, _)| !self.steps.contains(step)).map(|(_, seconds)| seconds).sum::<f64>()
    }

    fn take(&mut self, work: Work) {
        self.seconds = self.with(&work);
        self.steps.extend(work.steps.into_keys());
        self.services.push(work.service);
    }

    fn job(mut self, wave: usize) -> Job {
        self.services.sort();
        Job { wave, services: self.services, seconds: Some(self.seconds) }
    }
}

/// The longest first, each to the shard that is done first with it.
fn balance(mut services: Vec<Work>, shards: usize) -> Vec<Shard> {
    let total = |work: &Work| work.steps.values().sum::<f64>();
    services.sort_by(|a, b| total(b).total_cmp(&total(a)).then_with(|| a.service.cmp(&b.service)));
    let mut all: Vec<Shard> = std::iter::repeat_with(Shard::default).take(shards).collect();
    for work in services {
        let sooner =
            |a: &&mut Shard, b: &&mut Shard| a.with(&work).total_cmp(&b.with(&work)).then_with(|| a.services.len().cmp(&b.services.len()));
        if let Some(shard) = all.iter_mut().min_by(sooner) {
            shard.take(work);
        }
    }
    all.retain(|shard| !shard.services.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(service: &str, steps: &[(StepId, f64)]) -> Work {
        Work { service: service.to_owned(), steps: steps.iter().copied().collect() }
    }

    fn services(jobs: &[Job]) -> Vec<(usize, String)> {
        jobs.iter().map(|job| (job.wave, job.services.join("+"))).collect()
    }

    #[test]
    fn shards_take_equally_long_and_what_is_shared_runs_once() {
        let wave = vec![
            work("a", &[(1, 60.0)]),
            work("b", &[(2, 20.0)]),
            // Both need step 4, which takes nearly all of their time.
            work("d", &[(4, 40.0), (5, 1.0)]),
            work("e", &[(4, 40.0), (6, 1.0)]),
        ];
        let jobs = divide(vec![wave], Some(2));
        assert_eq!(services(&jobs), [(1, "a".into()), (1, "b+d+e".into())]);
        assert_eq!(jobs.iter().map(|job| job.seconds).collect::<Vec<_>>(), [Some(60.0), Some(62.0)]);
    }

    #[test]
    fn nothing_known_is_divided_by_number() {
        let wave: Vec<Work> = ["a", "b", "c", "d"].map(|service| work(service, &[])).to_vec();
        assert_eq!(services(&divide(vec![wave], Some(2))), [(1, "a+c".into()), (1, "b+d".into())]);
    }

    #[test]
    fn there_are_never_more_jobs_than_github_runs() {
        for sizes in [vec![256], vec![257], vec![300, 1, 1], vec![1000, 1000], vec![1; 256], vec![2; 256], vec![1; 300], vec![300; 300]] {
            let of = |(wave, size): (usize, &usize)| (0..*size).map(|n| work(&format!("s{wave:03}-{n:03}"), &[])).collect::<Vec<_>>();
            let waves: Vec<Vec<Work>> = sizes.iter().enumerate().map(of).collect();
            let jobs = divide(waves, None);
            assert!(jobs.len() <= MOST_JOBS, "{} jobs for {} waves", jobs.len(), sizes.len());
            assert_eq!(jobs.iter().map(|job| job.services.len()).sum::<usize>(), sizes.iter().sum::<usize>());
            assert!(jobs.is_sorted_by_key(|job| job.wave));
        }
        assert_eq!(caps(&[300, 1, 5], None), [250, 1, 5]);
        assert_eq!(caps(&[300, 1, 5], Some(4)), [4, 1, 4]);
    }

    #[test]
    fn a_name_says_what_is_built_and_how_much_more() {
        for (services, name) in [(&["a"][..], "a"), (&["a", "b"], "a, b"), (&["a", "b", "c", "d"], "a, b and 2 more")] {
            let services = services.iter().map(|&service| service.to_owned()).collect();
            assert_eq!(Job { wave: 1, services, seconds: None }.name(), name);
        }
    }
}
