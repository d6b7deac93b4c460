//! The graph as trees, as `cargo tree` draws them.

use std::collections::BTreeSet;

use super::{Graph, Need};

/// A tree from each root. What was drawn before with all that it needs is not drawn again, but marked.
pub fn draw(graph: &Graph) -> String {
    let (mut text, mut drawn) = (String::new(), BTreeSet::new());
    for root in &graph.roots {
        let seen = mark(graph, root, &mut drawn);
        text += &format!("{root}{}\n", seen.unwrap_or_default());
        // What is still to be drawn, the next one last, each behind the lines of those above it.
        let mut pending = if seen.is_none() { below(graph, root, "") } else { Vec::new() };
        while let Some((need, prefix, last)) = pending.pop() {
            let mark = mark(graph, &need.needs, &mut drawn);
            let branch = if last { "└── " } else { "├── " };
            text += &format!("{prefix}{branch}{} ({}){}\n", need.needs, need.words(), mark.unwrap_or_default());
            if mark.is_none() {
                let prefix = format!("{prefix}{}", if last { "    " } else { "│   " });
                pending.extend(below(graph, &need.needs, &prefix));
            }
        }
    }
    if drawn.is_empty() { "brik.toml has no service\n".to_owned() } else { text }
}

/// What a service needs, the first one last, and whether it is the last to be drawn.
fn below<'g>(graph: &'g Graph, service: &'g str, prefix: &str) -> Vec<(&'g Need, String, bool)> {
    let needs: Vec<&Need> = graph.needs_of(service).collect();
    let count = needs.len();
    needs.into_iter().enumerate().map(|(at, need)| (need, prefix.to_owned(), at + 1 == count)).rev().collect()
}

/// ` (*)` for what was drawn before, where that saves something.
fn mark<'g>(graph: &'g Graph, name: &'g str, drawn: &mut BTreeSet<&'g str>) -> Option<&'static str> {
    let fresh = drawn.insert(name);
    (!fresh && graph.needs_of(name).next().is_some()).then_some(" (*)")
}

#[cfg(test)]
mod tests {
    use super::super::tests::graph;
    use super::*;

    #[test]
    fn what_was_drawn_is_marked_and_not_drawn_again() {
        let expected = "web\n\
                        ├── api (COPY --from, needs)\n\
                        │   └── base (FROM)\n\
                        │       └── docker.io/library/busybox:1 (FROM)\n\
                        └── base (FROM) (*)\n\
                        docs\n";
        assert_eq!(draw(&graph()), expected);
        assert_eq!(draw(&Graph::default()), "brik.toml has no service\n");
    }

    #[test]
    fn a_long_chain_of_services_is_drawn() {
        let name = |n: usize| format!("s{n:04}");
        let need = |n: usize| Need { service: name(n), needs: name(n + 1), reasons: BTreeSet::from([crate::plan::EdgeReason::From]) };
        let graph = Graph { roots: vec![name(0)], edges: (0..2000).map(need).collect(), ..Graph::default() };
        assert_eq!(draw(&graph).lines().count(), 2001);
    }
}
