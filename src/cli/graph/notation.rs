//! The graph in the notations of programs that draw it. Names have neither quotes nor backslashes: their grammars know none.

use super::Graph;

/// For graphviz.
pub fn dot(graph: &Graph) -> String {
    let mut text = "digraph brik {\n  rankdir = LR;\n  node [shape = box];\n".to_owned();
    graph.services.iter().for_each(|service| text += &format!("  \"{service}\";\n"));
    graph.bases.iter().for_each(|base| text += &format!("  \"{base}\" [shape = ellipse, style = dashed];\n"));
    for need in &graph.edges {
        text += &format!("  \"{}\" -> \"{}\" [label = \"{}\"];\n", need.service, need.needs, need.words());
    }
    text + "}\n"
}

/// For Markdown. Nodes go by numbers: some names are words of the notation.
pub fn mermaid(graph: &Graph) -> String {
    let names: Vec<&String> = graph.services.iter().chain(&graph.bases).collect();
    let id = |name: &String| names.iter().position(|known| *known == name).map_or_else(String::new, |at| format!("n{at}"));
    let mut text = "graph LR\n".to_owned();
    graph.services.iter().for_each(|service| text += &format!("  {}[\"{service}\"]\n", id(service)));
    graph.bases.iter().for_each(|base| text += &format!("  {}([\"{base}\"])\n", id(base)));
    for need in &graph.edges {
        text += &format!("  {} -->|\"{}\"| {}\n", id(&need.service), need.words(), id(&need.needs));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::graph;
    use super::*;

    #[test]
    fn services_and_bases_look_different() {
        let text = dot(&graph());
        assert!(text.contains("  \"api\";\n") && text.contains("  \"docker.io/library/busybox:1\" [shape = ellipse, style = dashed];\n"));
        assert!(text.contains("  \"web\" -> \"api\" [label = \"COPY --from, needs\"];\n"), "{text}");
    }

    #[test]
    fn mermaid_numbers_its_nodes() {
        let expected = "graph LR\n  n0[\"base\"]\n  n1[\"api\"]\n  n2[\"web\"]\n  n3[\"docs\"]\n  n4([\"docker.io/library/busybox:1\"])\n  \
                        n1 -->|\"FROM\"| n0\n  n0 -->|\"FROM\"| n4\n  n2 -->|\"COPY --from, needs\"| n1\n  n2 -->|\"FROM\"| n0\n";
        assert_eq!(mermaid(&graph()), expected);
    }
}
