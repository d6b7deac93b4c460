//! Registry faults: every fault at every request of a push and of the pulls in it, once and for good. Either the push succeeds with the
//! images that there are without the fault, or it ends with one clear error; what the registry holds is whole in any case; and the same
//! push without the fault ends well.
//!
//! | file | does |
//! |---|---|
//! | `monorepo` | what is pushed |
//! | `kind` | the faults, and where brik may not fail for them |
//! | `trial` | one push with one fault, and how it is judged |
//! | `kept` | what a registry holds, read from its disk |
//!
//! `BRIK_TRIALS` is how many are tried (0: all), `BRIK_FAULT` the name of one kind to try no other, as in `slow-loris`.
//! Who hears a secret, and who must not, is tested in `src/registry/tests/strangers.rs`.

mod kept;
mod kind;
mod monorepo;
mod trial;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kind::{Kind, is_optional, kinds};
use monorepo::{Flow, Monorepo, registry, undisturbed};
use trial::{Figures, Outcome, Target, Trial, Undisturbed};

use crate::support::scripted::{Answer, Server};
use crate::support::{Ask, Fault, Proxy, Registry, proxy, random, trials};

/// So many pushes of a sweep are under way at once: most of a push with a fault is waiting.
const AT_ONCE: usize = 4;

fn flow(registry: &Registry, flow: Flow) -> Undisturbed {
    let stdout_of = |name: &str, moved: bool| {
        let namespace = format!("{name}-{flow:?}").to_lowercase();
        let (proxy, run) = undisturbed(registry, flow, &namespace, moved);
        assert_eq!(kept::broken(registry, &namespace), [""; 0]);
        let stdout = run.stdout.replace(proxy.host(), "HOST").replace(&format!("{namespace}/"), "NS/");
        (stdout, Target::list(&proxy, &namespace))
    };
    let ((stdout, targets), (moved, _)) = (stdout_of("undisturbed", false), stdout_of("moved", true));
    assert_ne!(stdout, moved);
    Undisturbed { flow, stdout: vec![stdout, moved], targets }
}

/// Every fault at every request, in an order in which each kind of fault meets each kind of request once before any does again.
fn every_trial<'a>(flows: &'a [Undisturbed], kinds: &[Kind]) -> Vec<(&'a Undisturbed, Trial)> {
    let mut all = Vec::new();
    for (flow, target) in flows.iter().flat_map(|flow| flow.targets.iter().map(move |target| (flow, target))) {
        for (kind, for_good) in kinds.iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            if kind.concerns(target, for_good) {
                all.push((flow, Trial { flow: flow.flow, target: target.clone(), kind: kind.clone(), for_good }));
            }
        }
    }
    random().shuffle(&mut all);
    let mut met: BTreeMap<_, usize> = BTreeMap::new();
    all.sort_by_cached_key(|(_, trial)| {
        let Trial { flow, target, kind, for_good } = trial;
        let times = met.entry((*flow, target.ask, is_optional(target), kind.name, *for_good)).or_default();
        *times += 1;
        *times
    });
    all
}

#[test]
fn a_fault_at_any_request_of_a_push_costs_nothing_but_time_or_is_one_clear_error() {
    let registry = registry();
    let upstream = registry.host().to_owned();
    let elsewhere = Server::start(move |_, request| proxy::forward(&upstream, request).into());
    let stranger = Server::start(|_, _| Answer::new(401).header("WWW-Authenticate", "Basic realm=\"who are you?\""));
    let flows = [Flow::Cold, Flow::Warm].map(|one| flow(&registry, one));
    for flow in &flows {
        println!("{:?}: {} requests", flow.flow, flow.targets.len());
        flow.targets.iter().for_each(|target| println!("  {target}"));
    }
    let mut all = every_trial(&flows, &kinds(&elsewhere.host, &stranger.host));
    if let Ok(name) = std::env::var("BRIK_FAULT") {
        all.retain(|(_, trial)| trial.kind.name == name);
    }
    let there_are = all.len();
    all.truncate(match trials(16) {
        0 => there_are,
        number => number,
    });
    let wanted = all.len();

    let (next, tried, started) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    let (figures, wrong) = (Mutex::new(BTreeMap::<String, Vec<(Figures, String)>>::new()), Mutex::new(Vec::new()));
    let work = || {
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some((flow, trial)) = all.get(number)
        {
            let name = format!("{}, {}", trial.kind.name, if trial.for_good { "for good" } else { "once" });
            let what = format!("{:?} {}", trial.flow, trial.target);
            match trial.run(&registry, &format!("t{number}"), flow) {
                Ok(found) => figures.lock().unwrap().entry(name).or_default().push((found, what)),
                Err(how) => {
                    println!("WRONG {name}: {what}: {how}");
                    wrong.lock().unwrap().push(format!("{name}: {what}"));
                }
            }
            let tried = tried.fetch_add(1, Ordering::Relaxed) + 1;
            if tried % 100 == 0 {
                println!("{tried} of {wanted} tried in {:.0?}, {} wrong", started.elapsed(), wrong.lock().unwrap().len());
            }
        }
    };
    let at_once = if wanted > 100 { 3 * AT_ONCE } else { AT_ONCE };
    std::thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));

    for (name, found) in figures.into_inner().unwrap() {
        let of = |outcome: Outcome| found.iter().filter(|(one, _)| one.outcome == outcome).count();
        let (more, most) = (found.iter().max_by_key(|(one, _)| one.more).unwrap(), found.iter().max_by_key(|(one, _)| one.most).unwrap());
        println!(
            "{name}: {} succeeded, {} failed with one clear error, {} unmet; at most {} times to one request ({}), {} requests more ({})",
            of(Outcome::Succeeded),
            of(Outcome::Failed),
            of(Outcome::Unmet),
            most.0.most,
            most.1,
            more.0.more,
            more.1,
        );
    }
    for server in [&elsewhere, &stranger] {
        let told: Vec<_> = server.requests().into_iter().filter(|request| !request.header("authorization").is_empty()).collect();
        assert!(told.is_empty(), "credentials went to another host: {told:#?}");
    }
    let wrong = wrong.into_inner().unwrap();
    println!("registry faults: {wanted} of {there_are} trials in {:.0?}, {} wrong", started.elapsed(), wrong.len());
    assert!(wrong.is_empty(), "told above: {wrong:#?}");
}

#[test]
fn a_base_whose_tag_moves_meanwhile_is_the_same_for_all_platforms() {
    let registry = registry();
    let digests = |namespace: &str, moves: bool| {
        let proxy = Proxy::plain(&registry);
        if moves {
            // The first read is that of one platform; after it the tag is another's.
            proxy.fault(Ask::ReadManifest.at("seed/base").since(2), Fault::Moved);
        }
        let digests = Monorepo::new(&registry, &proxy, namespace).push().succeeds().digests();
        assert_eq!(moves, proxy.dealt() > 0, "{:#?}", proxy.lines());
        digests
    };
    assert_eq!(digests("still", false), digests("moving", true));
}
