//! Which service needs which: edges inferred from Dockerfiles, contexts and `needs`, and an order to plan them in.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;

use petgraph::Direction;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graphmap::DiGraphMap;
use petgraph::visit::Reversed;

use crate::oci::Reference;

/// Why a service needs another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeReason {
    From,
    CopyFrom,
    MountFrom,
    Context,
    Needs,
}

/// `service` needs `dependency`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Edge {
    pub service: String,
    pub dependency: String,
    pub reason: EdgeReason,
}

/// Names by which Dockerfiles may mean a service of this run.
#[derive(Debug, Default)]
pub struct ServiceNames {
    services: BTreeMap<String, (Reference, Vec<String>)>,
}

impl ServiceNames {
    /// `tags` are those that this run produces for the service.
    pub fn insert(&mut self, service: &str, image: &Reference, tags: Vec<String>) {
        self.services.insert(service.to_owned(), (image.clone(), tags));
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// The service that `name`, as it stands in a `FROM` or a `--from`, means for a Dockerfile of `asking`.
    ///
    /// It is one if it is a service's name, or if the repository matches and the tag is absent, `latest` or one that this run
    /// produces. A digest or another tag is a pull. No service means itself: its Dockerfile then asks for the published image.
    pub fn service_of(&self, name: &str, asking: &str) -> Option<&str> {
        let other = |service: &&String| service.as_str() != asking;
        if let Some((service, _)) = self.services.get_key_value(name) {
            return Some(service).filter(other).map(String::as_str);
        }
        let reference: Reference = name.parse().ok()?;
        if reference.digest.is_some() {
            return None;
        }
        let (service, (_, tags)) = self.services.iter().find(|(_, (image, _))| image.same_repository(&reference))?;
        let ours = reference.tag.as_deref().is_none_or(|tag| tag == "latest" || tags.iter().any(|t| t == tag));
        Some(service).filter(|_| ours).filter(other).map(String::as_str)
    }
}

/// The services in an order in which each comes after those that it needs and else by name, or a cycle as a path of names that ends where it began.
pub fn order<'a>(services: impl Iterator<Item = &'a str>, edges: &'a [Edge]) -> Result<Vec<&'a str>, Vec<String>> {
    let mut graph: DiGraphMap<&str, ()> = DiGraphMap::new();
    for service in services {
        graph.add_node(service);
    }
    for edge in edges {
        graph.add_edge(&edge.dependency, &edge.service, ());
    }
    // From those that need to what is needed: a depth-first order then ends with the first names, and is read from its end.
    let mut order = toposort(Reversed(&graph), None).map_err(|_| cycle(&graph).into_iter().map(str::to_owned).collect::<Vec<_>>())?;
    order.reverse();
    Ok(order)
}

/// Those of `services` that `wanted` picks, in waves: each stands in a later one than all others of them that it needs, directly or not.
/// `services` are in the order of their needs.
pub fn waves<'a>(services: impl Iterator<Item = &'a str>, edges: &[Edge], wanted: impl Fn(&str) -> bool) -> Vec<Vec<&'a str>> {
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    edges.iter().for_each(|edge| needs.entry(&edge.service).or_default().push(&edge.dependency));
    let mut waves: Vec<Vec<&str>> = Vec::new();
    // How many waves there are up to and with each service.
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for service in services {
        let before = needs.get(service).into_iter().flatten().filter_map(|needed| depths.get(needed)).max().copied().unwrap_or(0);
        let own = wanted(service);
        if own {
            waves.resize(waves.len().max(before + 1), Vec::new());
            waves[before].push(service);
        }
        depths.insert(service, before + usize::from(own));
    }
    waves
}

/// A shortest way round within the first strongly connected component, in the direction "needs"; nothing if there is no cycle.
pub(super) fn cycle<N: Copy + Ord + Hash>(graph: &DiGraphMap<N, ()>) -> Vec<N> {
    let components = kosaraju_scc(graph);
    let Some(component) = components.into_iter().find(|c| c.len() > 1 || graph.contains_edge(c[0], c[0])) else { return Vec::new() };
    let component: BTreeSet<N> = component.into_iter().collect();
    let Some(&start) = component.first() else { return Vec::new() };
    let mut previous: BTreeMap<N, N> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut needed: Vec<N> = graph.neighbors_directed(node, Direction::Incoming).filter(|n| component.contains(n)).collect();
        needed.sort_unstable();
        for next in needed {
            if next == start {
                let mut path = vec![start];
                let mut at = node;
                while at != start {
                    path.push(at);
                    at = previous[&at];
                }
                path.push(start);
                path.reverse();
                return path;
            }
            if let Entry::Vacant(first) = previous.entry(next) {
                first.insert(node);
                queue.push_back(next);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(service: &str, dependency: &str) -> Edge {
        Edge { service: service.into(), dependency: dependency.into(), reason: EdgeReason::From }
    }

    #[test]
    fn dependencies_come_first() {
        let edges = [edge("api", "base"), edge("web", "api")];
        let order = order(["web", "api", "base"].into_iter(), &edges).unwrap();
        assert_eq!(order, ["base", "api", "web"]);
    }

    #[test]
    fn services_that_need_nothing_of_each_other_stand_by_name() {
        assert_eq!(order(["a", "b", "c"].into_iter(), &[edge("a", "c")]).unwrap(), ["c", "a", "b"]);
    }

    #[test]
    fn a_wave_comes_after_all_that_it_needs_also_through_those_that_are_not_wanted() {
        let edges = [edge("api", "base"), edge("web", "api"), edge("docs", "web")];
        let services = ["base", "api", "cron", "web", "docs"];
        for (wanted, expected) in [
            (&services[..], vec![vec!["base", "cron"], vec!["api"], vec!["web"], vec!["docs"]]),
            (&["base", "web", "cron"], vec![vec!["base", "cron"], vec!["web"]]),
            (&["docs"], vec![vec!["docs"]]),
            (&[], vec![]),
        ] {
            assert_eq!(waves(services.into_iter(), &edges, |service| wanted.contains(&service)), expected);
        }
    }

    #[test]
    fn a_cycle_is_a_path_of_names() {
        let edges = [edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a")];
        assert_eq!(order(["a", "b", "c", "d"].into_iter(), &edges).unwrap_err(), ["a", "b", "c", "a"]);
        assert_eq!(order(["a"].into_iter(), &[edge("a", "a")]).unwrap_err(), ["a", "a"]);
    }

    #[test]
    fn a_name_means_a_service_only_where_this_run_makes_it() {
        let mut names = ServiceNames::default();
        names.insert("base", &"ghcr.io/org/base".parse().unwrap(), vec!["sha-1".into()]);
        for (name, service) in [
            ("base", Some("base")),
            ("ghcr.io/org/base", Some("base")),
            ("ghcr.io/org/base:latest", Some("base")),
            ("ghcr.io/org/base:sha-1", Some("base")),
            ("ghcr.io/org/base:v1.0.0", None),
            ("ghcr.io/other/base", None),
            ("debian", None),
        ] {
            assert_eq!(names.service_of(name, "api"), service, "{name}");
        }
        let pinned = format!("ghcr.io/org/base@{}", crate::oci::Digest::of(b""));
        assert_eq!(names.service_of(&pinned, "api"), None);
        assert_eq!(names.service_of("base", "base"), None);
    }
}
